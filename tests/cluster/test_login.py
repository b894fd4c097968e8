"""Showing a NATS server who we are."""

import base64
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import nkeys
import pytest
from reactor.turning import run_until

from bench.servers.nats import NatsServer
from encke.errors import BadSettings
from encke.reactor.loop import Reactor
from encke.wire.subjects import Subjects

from .member import Join, Member

USER = Subjects().user


def carries(member: Member, other: Member) -> bool:
    """Whether `other` gets what `member` publishes."""
    other.subscribe(USER(b"1"))
    member.link.publish([USER(b"1")], [b"hi"])
    return other.until_received(1) == [b"hi"]


def with_login(server: NatsServer, login: str) -> str:
    return f"nats://{login}@{server.address}"


def test_user_and_password(tmp_path: Path, join: Join) -> None:
    """They come from the URL, where odd characters are percent-encoded."""
    config = 'authorization { user: "a@b", password: "p:q/r%" }'
    with NatsServer(tmp_path, config) as server:
        url = with_login(server, "a%40b:p%3Aq%2Fr%25")
        assert carries(join(url), join(url))


def test_token(tmp_path: Path, join: Join) -> None:
    """A token is what stands alone before the @."""
    with NatsServer(tmp_path, 'authorization { token: "s3cret" }') as server:
        url = with_login(server, "s3cret")
        assert carries(join(url), join(url))


@pytest.mark.parametrize("login", ["ada:wrong", "s3cret", ""])
def test_a_wrong_login(
    tmp_path: Path, reactor: Reactor, join: Join, capfd: pytest.CaptureFixture[str], login: str
) -> None:
    """The log says that it's the login, without it; and the server isn't asked again and again,
    but it is, so that a server which is put right gets its link."""
    with NatsServer(tmp_path, "authorization { user: ada, password: s3cret }") as server:
        url = with_login(server, login) if login else server.url
        member = join(url, ready=False, retry_limit=0.8)
        began = time.monotonic()
        run_until(reactor, lambda: member.link.tally.failed == 3)
        assert time.monotonic() - began > 2 * 0.4  # half of the longest pause
        assert server.said.count("authentication error") == 3
        assert member.events == []
        error = capfd.readouterr().err
        assert f"level=error event=nats-unreachable server={server.address}" in error
        assert 'reason="Authorization Violation"' in error
        assert "s3cret" not in error
        assert "wrong" not in error


def new_key(prefix: int) -> nkeys.KeyPair:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefix)))


def test_an_nkey(tmp_path: Path, join: Join) -> None:
    """A file with a seed: the server's nonce is signed with it, the seed itself stays here."""
    key = new_key(nkeys.PREFIX_BYTE_USER)
    seed = tmp_path / "user.nk"
    seed.write_bytes(bytes(key.seed) + b"\n")
    config = f'authorization {{ users: [ {{ nkey: "{key.public_key.decode()}" }} ] }}'
    with NatsServer(tmp_path, config) as server:
        member = join(server.url, credentials=str(seed))
        assert carries(member, join(server.url, credentials=str(seed)))


def claims(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, name: str, nats: object) -> str:
    """A JWT as NATS has them, of `subject`, signed by `issuer`."""

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    body = {
        "jti": name,
        "iat": 1_700_000_000,
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": name,
        "nats": nats,
    }
    signed = part({"typ": "JWT", "alg": "ed25519-nkey"}) + b"." + part(body)
    signature = base64.urlsafe_b64encode(issuer.sign(signed)).rstrip(b"=")
    return (signed + b"." + signature).decode()


UNLIMITED = dict.fromkeys(
    ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage"), -1
)

CREDS = """-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------

*************************************************************
"""


def test_a_creds_file(tmp_path: Path, join: Join) -> None:
    """A .creds file, as `nsc` writes it: a JWT and the seed that belongs to it."""
    operator, account, user = map(
        new_key, (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    )
    operator_jwt = claims(operator, operator, "O", {"type": "operator", "version": 2})
    account_jwt = claims(
        operator,
        account,
        "A",
        {"type": "account", "version": 2, "limits": {**UNLIMITED, "wildcards": True}},
    )
    user_jwt = claims(
        account, user, "U", {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
    )
    creds = tmp_path / "user.creds"
    creds.write_text(CREDS.format(jwt=user_jwt, seed=bytes(user.seed).decode()), encoding="ascii")
    config = f"""
        operator: {operator_jwt}
        resolver: MEMORY
        resolver_preload: {{ {account.public_key.decode()}: {account_jwt} }}"""
    with NatsServer(tmp_path, config) as server:
        member = join(server.url, credentials=str(creds))
        assert carries(member, join(server.url, credentials=str(creds)))


def nothing(path: Path) -> None:
    """No such file."""


def a_directory(path: Path) -> None:
    path.mkdir()


def other_text(path: Path) -> None:
    path.write_text("hello", encoding="ascii")


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


def a_broken_seed(path: Path) -> None:
    path.write_text("SUAAAAAAAAAAAAAAAAAAAAAAAAAA", encoding="ascii")


@pytest.mark.parametrize("make", [nothing, a_directory, other_text, no_text, a_broken_seed])
def test_files_of_no_use(
    tmp_path: Path,
    shared: NatsServer,
    reactor: Reactor,
    join: Join,
    capfd: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
) -> None:
    """What is wrong with the file is in the log, and isn't tried every moment."""
    path = tmp_path / "creds"
    make(path)
    member = join(shared.url, ready=False, credentials=str(path), retry_limit=60.0)
    run_until(reactor, lambda: member.link.tally.failed == 1)
    assert f"level=error event=nats-unreachable server={shared.address} reason=" in (
        error := capfd.readouterr().err
    )
    assert str(path) in error
    assert member.link._retries.pause(servers=1, refused=True) >= 30


def test_bad_urls_are_found_at_once(join: Join) -> None:
    """Who makes a link with a URL of no use hears of it right then."""
    with pytest.raises(BadSettings):
        join("http://127.0.0.1", ready=False)


PERMISSIONS = """authorization { users: [
    { user: all, password: x },
    { user: some, password: x,
      permissions: { publish: "encke.>", subscribe: ["encke.user.1", "encke.user.10"] } },
] }"""


def test_interest_that_is_not_allowed(
    tmp_path: Path, reactor: Reactor, join: Join, capfd: pytest.CaptureFixture[str]
) -> None:
    """A node that may not subscribe to its users would miss messages: there is no link until
    the server allows it, and the log says why."""
    with NatsServer(tmp_path, PERMISSIONS) as server:
        url = with_login(server, "some:x")
        member = join(url, USER(b"1"), USER(b"2"), ready=False, retry_limit=60.0)
        run_until(reactor, lambda: member.link.tally.failed == 1)
        assert member.events == ["interest"]
        (line,) = capfd.readouterr().err.splitlines()
        assert "the server refused a subscription: Permissions Violation for Subscription" in line


def test_what_is_not_allowed_later(
    tmp_path: Path, reactor: Reactor, join: Join, capfd: pytest.CaptureFixture[str]
) -> None:
    """On a link that is ready, a flush says that a subscription was refused, and the next one
    that none was; a message that was refused leaves logins alone. Complaints are counted, and
    a thousand of them are one line in the log."""
    with NatsServer(tmp_path, PERMISSIONS) as server:
        member = join(with_login(server, "some:x"), USER(b"10"))
        assert member.flushed()
        member.link.subscribe([USER(b"2")])
        assert not member.flushed()
        assert member.flushed()
        member.link.publish([b"other.1"] * 1000, [b"hi"] * 1000)
        assert member.flushed()
        assert member.link.tally.complaints == 1001
        ticks: list[None] = []
        reactor.every(0.1, lambda: ticks.append(None))
        run_until(reactor, lambda: len(ticks) == 3)
        assert capfd.readouterr().err.count("event=nats-error") == 1
        assert member.events == ["interest", "linked"]
