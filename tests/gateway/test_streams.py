"""Streams: their head, what reaches them in which form, and how they end."""

from collections.abc import Iterator

import pytest
from wire.protocols.test_contract import READERS

from encke.gateway import sockets
from encke.gateway.life import IDLE, LOGGING_IN, STREAM
from encke.gateway.port import Target
from encke.gateway.streams import UNASKED
from encke.ids import GENERATION_SHIFT
from encke.scoreboard import Field
from encke.settings import Settings
from encke.wire.message import Message, Messages
from encke.wire.protocols import PROTOCOLS, Protocol
from encke.wire.request import Request
from encke.wire.response import LAST_CHUNK, chunk

from .harness import Client, Server, get, post, running

REQUEST = Request(b"GET", b"/", {}, is_http_10=False)
every = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda it: it.name.decode())
versions = pytest.mark.parametrize("version", [b"1.1", b"1.0"])


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def ask(server: Server, path: bytes, version: bytes = b"1.1") -> Client:
    client = server.connect()
    client.say(get(path, version))
    return client


@every
@versions
def test_the_head_comes_once_the_user_is_reachable(
    server: Server, protocol: Protocol, version: bytes
) -> None:
    """Not before the router has said yes; then what it's like, in chunks unless it's HTTP/1.0."""
    client = ask(server, b"/%b/ada" % protocol.name, version)
    assert server.state(client) == LOGGING_IN
    assert client.take_all() == b""
    server.router.say_yes()
    head, _, rest = client.take_all().partition(b"\r\n\r\n")
    assert server.state(client) >= STREAM
    assert [*server.router.here.values()] == [b"ada"]
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert b"Cache-Control: no-cache, no-store, no-transform" in lines
    assert {b"%b: %b" % header for header in protocol.headers(REQUEST)} <= {*lines}
    framing = b"Transfer-Encoding: chunked" if version == b"1.1" else b"Connection: close"
    assert framing in lines
    assert (rest != b"") == (protocol.greeting(1.0) != b"")


@every
@versions
def test_messages_arrive_in_order(server: Server, protocol: Protocol, version: bytes) -> None:
    """Also several in one turn, and those that one publishes."""
    client = ask(server, b"/%b/ada" % protocol.name, version)
    server.router.say_yes()
    for number in range(3):
        assert server.router.deliver(b"ada", b"%d" % number) == 1
    client.take_all()
    server.router.deliver(b"ada", b"3", (b"ben",))
    client.take_all()
    body = client.answers[0].body
    published = protocol.encode(Message(b"3", b"ben"), 4)
    assert body.endswith(published)
    assert READERS[protocol.name](body.removesuffix(published)) == ["0", "1", "2"]
    assert not client.answers[0].whole


def test_connections_of_all_kinds(server: Server) -> None:
    """A user's connections get one message each in their own form; numbers are a connection's."""
    first = server.stream(b"ada", b"test")
    server.router.deliver(b"ada", b"1")
    others = [server.stream(b"ada", it.name) for it in PROTOCOLS for _ in range(2)]
    old = ask(server, b"/stream/ada", b"1.0")
    server.router.say_yes()
    assert server.router.deliver(b"ada", b"2") == len(others) + 2
    for client in (first, *others, old):
        client.take_all()
    for client, protocol in zip(others, [it for it in PROTOCOLS for _ in range(2)], strict=True):
        assert READERS[protocol.name](client.answers[0].body) == ["2"]
    assert first.answers[0].body == b"Recvd msg #1: '1'\nRecvd msg #2: '2'\n"
    assert others[0].answers[0].body == b"Recvd msg #1: '2'\n"
    assert old.raw.endswith(b'\r\n\r\n{"data":"2"}\n')


def test_who_has_gone_is_missed(server: Server) -> None:
    """A handle of an earlier generation, of a row that is no stream, or none at all: each is told
    as missed, by message, and nobody else gets it."""
    ada, ben = server.stream(b"ada"), server.connect()
    handle = server.connections.columns.handle
    gone = [handle[ada.fd] - (1 << GENERATION_SHIFT), handle[ben.fd]]
    messages = Messages([b"a", b"b", b"c", b"d"], [b"1", b"2", b"3", b"4"])
    targets: list[Target] = [gone[0], [*gone, handle[ada.fd]], None, handle[ada.fd]]
    assert server.gateway.deliver(messages, targets) == (2, {0: 1, 1: 2}, None)
    assert ada.take_all().count(b"data") == 2
    assert ben.take_all() == b""
    server.tick()
    assert (server.row[Field.DELIVERED], server.row[Field.UNDELIVERED]) == (2, 3)


def test_a_head_only(server: Server) -> None:
    """HEAD is told the same head, without a greeting, and logs nobody in."""
    client = server.connect()
    client.say(get(b"/events/ada").replace(b"GET", b"HEAD"))
    (head,) = client.take_all().split(b"\r\n\r\n")[:-1]
    assert b"text/event-stream" in head
    assert client.raw.endswith(b"\r\n\r\n")
    assert server.state(client) == IDLE
    assert server.router.asked == []


def test_a_stream_waits_for_earlier_answers(server: Server) -> None:
    """Its user is logged in only once they are on their way."""
    client = server.connect()
    client.say(post(b"/send/a", b"") + get(b"/test/ada"))
    assert server.router.asked == []
    server.router.answer()
    server.settle()
    assert [id for _, id in server.router.asked] == [b"ada"]
    server.router.say_yes()
    client.take_all()
    assert [it.status for it in client.answers] == [200, 200]


def test_who_is_turned_away(server: Server) -> None:
    """Is told so, and the connection ends; they can't be reached."""
    client = ask(server, b"/test/ada")
    server.router.say_no()
    client.take_all()
    assert [it.status for it in client.answers] == [503]
    assert client.ended


def test_logins(server: Server) -> None:
    """A router that knows nobody is told of everyone who is logged in, or waits for it."""
    ada, _ = server.stream(b"ada"), server.connect()
    ben = ask(server, b"/events/ben")
    handle = server.connections.columns.handle
    assert dict(server.gateway.logins()) == {handle[ada.fd]: b"ada", handle[ben.fd]: b"ben"}
    server.gateway.logged_in([handle[ada.fd], handle[ben.fd]])  # it says yes to both
    assert server.state(ben) >= STREAM
    assert ada.take_all() == b""


def test_a_slow_client_is_closed(server: Server) -> None:
    """With more waiting than the limit when another message comes; others aren't."""
    slow, quick = server.stream(b"ada"), server.stream(b"ada")
    for number in range(9):
        server.router.deliver(b"ada", b"%d" % number * 2000)
        quick.take_all()
    assert [*server.rows] == [quick.fd]
    assert len(READERS[b"stream"](quick.answers[0].body)) == 9
    slow.take_all()
    assert slow.ended
    server.tick()
    assert server.row[Field.SLOW_CLIENTS] == 1


def test_what_comes_on_a_stream(server: Server) -> None:
    """A line end too many does no harm; who sends more than a little is closed."""
    client = server.stream(b"ada")
    client.say(b"\r\n")
    assert server.router.deliver(b"ada", b"1") == 1
    client.say(b"x" * UNASKED)
    assert server.rows == {}


@every
def test_heartbeats(protocol: Protocol) -> None:
    """Each stream has one in a period."""
    with running(Settings(heartbeat=2, keepalive=0)) as server:
        clients = [server.stream(b"ada", protocol.name) for _ in range(5)]
        for client in clients:
            client.raw = b""
        server.tick(4 * 8)
        for client in clients:
            client.take_all()
            beat = protocol.heartbeat
            assert client.raw == 4 * (chunk(beat) if beat else b"")


@every
@pytest.mark.parametrize("seconds", [0, 0.5, 30])
def test_the_head_says_how_often_heartbeats_come(protocol: Protocol, seconds: float) -> None:
    """So that a client knows when it has heard nothing for too long."""
    with running(Settings(heartbeat=seconds)) as server:
        client = ask(server, b"/%b/ada" % protocol.name, b"1.1")
        server.router.say_yes()
        head = client.take_all()
        said = b"\r\nEncke-Heartbeat: %g\r\n" % seconds
        assert (said in head) == bool(protocol.heartbeat and seconds)
        assert (b"Encke-Heartbeat" in head) == bool(protocol.heartbeat and seconds)


def test_who_has_no_heartbeat_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By TCP; who has one isn't."""
    probed: list[int] = []
    monkeypatch.setattr(sockets, "probe", probed.append)
    with running(Settings(heartbeat=2, keepalive=4)) as server:
        text, _ = server.stream(b"ada", b"test"), server.stream(b"ada", b"events")
        server.tick(3 * 16)
        assert probed == [text.fd] * 3


@every
@versions
def test_a_stream_ends_properly(server: Server, protocol: Protocol, version: bytes) -> None:
    """With what was queued for it, its farewell, and the last chunk."""
    client = ask(server, b"/%b/ada" % protocol.name, version)
    server.router.say_yes()
    server.router.deliver(b"ada", b"last")
    server.gateway.drain()
    raw = client.take_all()
    assert READERS[protocol.name](client.answers[0].body) == ["last"]
    assert raw.endswith(LAST_CHUNK) == (version == b"1.1")
    assert client.ended
    assert not server.rows
