"""TLS to a NATS server, with certificates of a test's own authority."""

from pathlib import Path

import pytest
import trustme
from reactor.turning import run_until

from bench.servers.nats import NatsServer
from encke.cluster.tls import PIECE
from encke.errors import BadSettings
from encke.reactor.loop import Reactor
from encke.wire.subjects import Subjects

from .member import Join
from .scripted import Scripted

USER = Subjects().user


class Authority:
    """Issues certificates, as files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca = trustme.CA()
        self.file = str(directory / "ca.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def certificate(self, name: str) -> str:
        """File with a certificate for `name`, and its key."""
        file = str(self._directory / f"{name}.pem")
        self._ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(file)
        return file

    def server(self, name: str = "127.0.0.1", more: str = "") -> NatsServer:
        """A server that wants TLS, with a certificate for `name`."""
        file = self.certificate(name)
        return NatsServer(
            self._directory, f'tls {{ cert_file: "{file}", key_file: "{file}", {more} }}'
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("scheme", ["tls", "nats"])
def test_tls_is_spoken(authority: Authority, join: Join, scheme: str) -> None:
    """Whether the URL or the server wants it; messages larger than a TLS record, and very many,
    come whole and in order, both ways."""
    with authority.server() as server:
        url = f"{scheme}://{server.address}"
        sender = join(url, tls_ca=authority.file)
        receiver = join(url, USER(b"1"), tls_ca=authority.file)
        payloads = [b"%d" % number for number in range(5000)] + [b"x" * PIECE * 5, b"end"]
        sender.link.publish([USER(b"1")] * len(payloads), payloads)
        assert receiver.until_received(len(payloads)) == payloads
        assert sender.flushed()


def test_a_server_whose_certificate_names_it(
    authority: Authority, join: Join, reactor: Reactor
) -> None:
    """A name in the URL is looked for in the certificate."""
    with authority.server("localhost") as server:
        join(f"tls://localhost:{server.port}", tls_ca=authority.file)


@pytest.mark.parametrize(
    ("name", "trusts", "reason"),
    [
        ("127.0.0.1", False, "certificate verify failed"),
        ("other.example.org", True, "certificate verify failed"),
    ],
)
def test_a_server_that_is_not_to_be_trusted(
    authority: Authority,
    join: Join,
    reactor: Reactor,
    capfd: pytest.CaptureFixture[str],
    name: str,
    trusts: bool,
    reason: str,
) -> None:
    """A certificate of an unknown authority, or for another name: nothing is said to it."""
    with authority.server(name) as server:
        member = join(
            f"tls://ada:secret@{server.address}",
            ready=False,
            tls_ca=authority.file if trusts else "",
        )
        run_until(reactor, lambda: member.link.tally.failed == 1)
        assert reason in capfd.readouterr().err
        assert member.events == []


def test_tls_is_insisted_on(
    shared: NatsServer, join: Join, reactor: Reactor, capfd: pytest.CaptureFixture[str]
) -> None:
    """tls:// and a server without: no login is shown to it."""
    member = join(f"tls://{shared.address}", ready=False)
    run_until(reactor, lambda: member.link.tally.failed == 1)
    assert "the server speaks no TLS" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["tls_ca", "tls_certificate"])
def test_files_for_tls_insist_on_it(
    authority: Authority, shared: NatsServer, join: Join, reactor: Reactor,
    capfd: pytest.CaptureFixture[str], option: str,
) -> None:  # fmt: skip
    """Who names an authority, or a certificate of theirs, wants TLS whatever the URL begins with:
    no login is shown to a server without."""
    file = authority.file if option == "tls_ca" else authority.certificate("encke.example.org")
    url = f"nats://ada:secret@{shared.address}"
    if option == "tls_ca":
        member = join(url, ready=False, tls_ca=file)
    else:
        member = join(url, ready=False, tls_certificate=file)
    run_until(reactor, lambda: member.link.tally.failed + member.link.tally.linked > 0)
    assert "the server speaks no TLS" in capfd.readouterr().err
    assert member.events == []


def test_a_client_with_a_certificate(authority: Authority, join: Join, reactor: Reactor) -> None:
    """A server that verifies its clients gets ours; without one there is no link."""
    with authority.server(more=f'ca_file: "{authority.file}", verify: true') as server:
        url = f"tls://{server.address}"
        mine = authority.certificate("encke.example.org")
        join(url, tls_ca=authority.file, tls_certificate=mine)
        without = join(url, ready=False, tls_ca=authority.file)
        run_until(reactor, lambda: without.link.tally.failed == 1)


def test_nothing_may_come_before_tls(
    join: Join, reactor: Reactor, capfd: pytest.CaptureFixture[str]
) -> None:
    """What stands behind INFO was written by whoever could: it isn't taken for the server's."""
    info = b'INFO {"tls_required":true}\r\n'
    for more in (b"PONG\r\n", b"MSG a 1 2\r\nhi\r\n", b"P"):
        with Scripted(reactor, info + more) as server:
            member = join(server.url, ready=False)
            run_until(reactor, lambda member=member: member.link.tally.failed == 1)  # type: ignore[misc]
            member.link.close()
            assert "something came between INFO and TLS" in capfd.readouterr().err
            assert server.heard == []


def test_a_server_that_cannot_speak_tls(
    join: Join, reactor: Reactor, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever promises TLS and speaks something else is left."""
    with Scripted(reactor, b'INFO {"tls_required":true}\r\n', b"hello, this is no TLS") as server:
        member = join(server.url, ready=False)
        run_until(reactor, lambda: member.link.tally.failed == 1)
        assert "WRONG_VERSION_NUMBER" in capfd.readouterr().err


def test_files_of_no_use(tmp_path: Path, join: Join) -> None:
    """Files that can't be read, or have no certificate, are found when the link is made."""
    file = tmp_path / "file"
    for _ in range(2):
        with pytest.raises(BadSettings, match="file"):
            join("nats://127.0.0.1", ready=False, tls_ca=str(file))
        with pytest.raises(BadSettings, match="file"):
            join("nats://127.0.0.1", ready=False, tls_certificate=str(file))
        file.write_text("hello", encoding="ascii")
