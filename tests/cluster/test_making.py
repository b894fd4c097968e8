"""Making a connection, to what is no server of NATS, or not a good one."""

import socket
import threading

import pytest
from reactor.turning import run_until

from bench.servers.nats import NatsServer
from encke.reactor.loop import Reactor
from encke.scoreboard import NatsLink

from .member import Join
from .scripted import INFO, Scripted

PONG = b"PONG\r\n"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "this is not NATS"),
        ((b"\x16\x03\x01\x02\x00",), "no connection within 0.3 s"),
        ((b"",), "no connection within 0.3 s"),
        ((None,), "closed the connection"),
        ((INFO,), "no connection within 0.3 s"),
        ((INFO, None), "closed the connection"),
        ((b"-ERR 'maximum connections exceeded'\r\n", None), "maximum connections exceeded"),
        ((PONG,), "out of turn"),
        ((INFO, b"MSG encke.user.1 1 2\r\nhi\r\n" + PONG), "out of turn"),
        ((INFO, b"+OK\r\n" + PONG), "out of turn"),
        ((INFO, b"INFO {}\r\nHELLO\r\n"), "this is not NATS"),
    ],
)
def test_what_is_no_good_server(
    reactor: Reactor,
    join: Join,
    capfd: pytest.CaptureFixture[str],
    lines: tuple[bytes | None, ...],
    reason: str,
) -> None:
    """The log says what is wrong with it, and it's tried again, not too often."""
    with Scripted(reactor, *lines) as server:
        member = join(server.url, ready=False, connect_timeout=0.3)
        run_until(reactor, lambda: member.link.tally.failed == 2)
        assert server.connections == 2
        assert member.events == []
        error = capfd.readouterr().err
        assert f"event=nats-unreachable server={server.address} reason=" in error
        assert reason in error


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (PONG + PONG, "a PONG came that answers nothing"),
        (b"HELLO\r\n", "what came is not the NATS protocol"),
        (b"-ERR 'Stale Connection'\r\n", "closed the connection: Stale Connection"),
        (None, "closed the connection"),
    ],
)
def test_a_server_that_goes_wrong(
    reactor: Reactor, join: Join, line: bytes | None, reason: str
) -> None:
    """A link that can't be trusted any more is lost, and made anew."""
    with Scripted(reactor, INFO, PONG, PONG, line, None) as server:
        member = join(server.url)
        member.link.flush(lambda _: None)
        run_until(reactor, lambda: len(member.events) > 2 or server.heard[-1] == b"PING\r\n")
        if line == b"-ERR 'Stale Connection'\r\n":  # it closes when it's spoken to again
            run_until(reactor, lambda: member.link.tally.complaints == 1)
            member.link.publish([b"a"], [b"hi"])
        run_until(reactor, lambda: member.link.tally.linked == 2)
        assert reason in member.events[2]


def test_a_server_that_pings(reactor: Reactor, join: Join) -> None:
    """Its PING is answered, while the connection is being made and afterwards."""
    with Scripted(reactor, INFO, b"PING\r\n", PONG + b"PING\r\n", PONG) as server:
        join(server.url)
        run_until(reactor, lambda: b"".join(server.heard).count(PONG) == 2)


def test_the_greeting_and_messages_at_once(reactor: Reactor, join: Join) -> None:
    """What comes behind the PONG in the same piece belongs to the link already."""
    message = b"MSG encke.user.1 1 2\r\nhi\r\n"
    changed = INFO.replace(b"1000", b"500")
    with Scripted(reactor, INFO, PONG, PONG + message + changed) as server:
        member = join(server.url)
        assert member.until_received(1) == [b"hi"]
        assert member.link.max_payload == 500


def test_the_next_server_is_tried_at_once(reactor: Reactor, join: Join, shared: NatsServer) -> None:
    """Where one server of several can't be reached, the other is tried before that one again,
    whichever comes first."""
    for _ in range(4):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        member = join(f"{nobody},{shared.url}", retry_limit=10.0)
        assert member.link.tally.failed <= 1
        assert str(member.link.server) == shared.address
        member.link.close()


def test_attempts_become_rarer(reactor: Reactor, join: Join) -> None:
    """The pauses between attempts grow to the limit, and are of random length."""
    member = join("127.0.0.1:9", ready=False, start=False, retry_limit=5.0)
    retries = member.link._retries
    pauses = []
    for failures in range(12):
        retries.failures = failures
        pauses.append([retries.pause(servers=1, refused=False) for _ in range(200)])
    assert max(pauses[0]) <= 0.1
    for failures, some in enumerate(pauses[1:], 1):
        longest = min(5.0, 0.1 * 2**failures)
        assert longest / 2 <= min(some) < max(some) <= longest
        assert max(some) - min(some) > longest / 4
    retries.failures = 1
    assert retries.pause(servers=1, refused=True) >= 2.5


# names


def look_up(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> list[bytes]:
    """Let every name have `addresses` (none: it's unknown); what is looked up."""
    asked: list[bytes] = []

    def getaddrinfo(
        host: bytes, port: int, type: socket.SocketKind
    ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        asked.append(host)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, type, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_of_several_addresses(
    monkeypatch: pytest.MonkeyPatch, reactor: Reactor, join: Join, shared: NatsServer
) -> None:
    """The first address that answers is taken: others refuse, or never say anything."""
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, socket.create_server(("127.0.0.1", 0)) as closed:
        addresses = [closed.getsockname(), silent.getsockname(), ("127.0.0.1", shared.port)]
        closed.close()
        asked = look_up(monkeypatch, *addresses)
        member = join("nats://nats.example.org", connect_timeout=0.3)
        assert asked == [b"nats.example.org"]
        assert member.link.tally.failed == 0


def test_an_unknown_name(
    monkeypatch: pytest.MonkeyPatch,
    reactor: Reactor,
    join: Join,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It's said in the log, and looked up again later."""
    asked = look_up(monkeypatch)
    join("nats://nats.example.org", ready=False)
    run_until(reactor, lambda: len(asked) == 2)
    assert 'reason="Name or service not known"' in capfd.readouterr().err


def test_a_slow_name_server_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, reactor: Reactor, join: Join, shared: NatsServer
) -> None:
    """While a name is looked up the loop turns; the attempt is given up in time, and what is
    found later is of no interest."""
    answer = threading.Event()
    ended = threading.Event()

    def getaddrinfo(host: bytes, port: int, type: socket.SocketKind) -> list[object]:
        answer.wait(10)
        ended.set()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    ticks: list[None] = []
    other = join(shared.url)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    member = join("nats://nats.example.org", ready=False, connect_timeout=0.3)
    reactor.every(0.05, lambda: ticks.append(None))
    run_until(reactor, lambda: member.link.tally.failed == 1)
    assert len(ticks) > 2
    member.link.close()
    answer.set()
    assert ended.wait(10)
    assert other.flushed()
    assert member.link.state is NatsLink.CLOSED
    assert member.link.tally.failed == 1
