"""A gateway as a whole: whom it accepts, who takes too long, and how it stops."""

import errno
import os
from collections.abc import Iterator

import msgspec
import pytest

from encke.gateway.gateway import ACCEPT_PAUSE, ACCEPTS_A_TURN
from encke.gateway.life import BODY, HEAD, IDLE, OWING, STREAM
from encke.scoreboard import Field, State
from encke.settings import Settings

from .harness import Client, Server, get, post, running

TIMES = Settings(head_timeout=2, body_timeout=3, idle_timeout=4, answer_timeout=5, keepalive=0)
A_SECOND = 4
"""Ticks; in so many all rows are looked at once."""


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def row(server: Server, field: Field) -> int:
    server.tick()
    return server.row[field]


# whom it accepts


def test_only_so_many_are_accepted_a_turn() -> None:
    """A crowd at the door doesn't keep those from their turn who are in."""
    with running(capacity=3 * ACCEPTS_A_TURN) as server:
        server.clients += [Client(server) for _ in range(90)]
        server.reactor.turn()
        assert len(server.rows) == ACCEPTS_A_TURN
        server.settle()
        assert len(server.rows) == 90


def test_as_many_as_it_can_hold(server: Server) -> None:
    """The others wait at the door until one of them goes."""
    with running(capacity=3) as small:
        clients = [Client(small) for _ in range(5)]
        small.clients += clients
        small.settle()
        assert len(small.rows) == 3
        assert row(small, Field.CONNECTIONS) == row(small, Field.CAPACITY) == 3
        clients[0].close()
        small.tick(2)
        assert len(small.rows) == 3
        assert row(small, Field.ACCEPTED) == 4


def test_without_descriptors_it_waits(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has none left: it isn't asked all the time, and is asked again after a while."""
    errors = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))]
    accept = server.listener.accept

    def refuse() -> object:
        if errors:
            raise errors.pop()
        return accept()

    monkeypatch.setattr(server.listener, "accept", refuse)
    client = Client(server)
    server.clients.append(client)
    server.settle()
    assert server.rows == {}
    assert row(server, Field.ACCEPT_PAUSES) == 1
    server.reactor.now += ACCEPT_PAUSE
    server.tick()
    assert len(server.rows) == 1


# who takes too long


@pytest.mark.parametrize(
    ("said", "state", "seconds", "status"),
    [
        (b"", None, 2, None),
        (get(b"/test/a")[:9], HEAD, 2, 408),
        (post(b"/send/a", b"12345")[:-1], BODY, 3, 408),
        (post(b"/nowhere", b""), IDLE, 4, None),
        (post(b"/send/a", b""), OWING, 5, 503),
    ],
)
def test_how_long_one_may_take(
    said: bytes, state: int | None, seconds: int, status: int | None
) -> None:
    """In each state as long as is set, and about a second more, until it's told so or closed."""
    with running(TIMES) as server:
        client = server.connect()
        client.say(said)
        client.take_all()
        if state is not None:
            assert server.state(client) == state
        answers = len(client.answers)
        server.tick(seconds * A_SECOND - 1)
        assert (client.take_all(), client.ended) == (b"", False)
        server.tick(2 + A_SECOND)
        client.take_all()
        assert client.ended
        assert [it.status for it in client.answers[answers:]] == ([status] if status else [])


def test_each_piece_of_a_body_has_its_time() -> None:
    """Where there's no least rate. Of a head all pieces have the same: who dribbles isn't waited
    for."""
    with running(msgspec.structs.replace(TIMES, body_rate=0)) as server:
        body, head = server.connect(), server.connect()
        body.say(post(b"/send/a", b"12345")[:-5])
        head.say(b"GET /test/")
        for piece in (b"1", b"2", b"3", b"4"):
            server.tick(2 * A_SECOND)
            body.say(piece)
            head.say(piece)
        head.take_all()
        assert [it.status for it in head.answers] == [408]
        body.say(b"5")
        ((_, messages, _),) = server.router.sent
        assert messages.data == [b"12345"]


def test_a_stream_may_take_for_ever() -> None:
    """Nobody waits for anything from it; also while others come and go."""
    with running(TIMES) as server:
        client = server.stream(b"ada")
        server.tick(600)
        assert server.state(client) >= STREAM
        assert server.router.deliver(b"ada", b"1") == 1


# what it says of itself


def test_the_scoreboard(server: Server) -> None:
    """It says how things stand, at each tick."""
    sender, stream = server.connect(), server.stream(b"ada")
    sender.say(post(b"/send/ada", b"1"))
    server.router.answer()
    server.router.available = False
    states = [row(server, Field.STATE)]
    server.router.available = True
    states.append(row(server, Field.STATE))
    assert states == [State.STARTING, State.READY]
    for field, value in (
        (Field.CONNECTIONS, 2), (Field.STREAMS, 1), (Field.REQUESTS, 2), (Field.MESSAGES, 1),
        (Field.DELIVERED, 1), (Field.LOGINS, 1), (Field.LOGOUTS, 0), (Field.QUEUED_BYTES, 0),
    ):  # fmt: skip
        assert server.row[field] == value
    sender.take_all()
    stream.take_all()
    assert row(server, Field.BYTES_OUT) == len(sender.raw) + len(stream.raw)


# its end


@pytest.fixture
def stops(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Has something in it once the gateway has stopped its reactor."""
    stops: list[str] = []
    monkeypatch.setattr(server.reactor, "stop", lambda: stops.append("stop"))
    return stops


def test_a_drain(server: Server, stops: list[str]) -> None:
    """Streams end and idle connections are closed; senders have their answers first, then it stops.
    Nobody else is accepted."""
    idle, stream, sender = server.connect(), server.stream(b"ada"), server.connect()
    half = server.connect()
    sender.say(post(b"/send/ada", b"1"))
    half.say(post(b"/send/ada", b"2")[:-1])
    server.gateway.drain()
    server.gateway.drain()  # twice is the same as once
    server.clients.append(Client(server))
    server.tick()
    assert server.row[Field.STATE] == State.DRAINING
    assert set(server.rows) == {sender.fd, half.fd}
    half.say(b"2")
    server.router.answer()
    server.router.answer()
    for client in (idle, stream, sender, half):
        client.take_all()
        assert client.ended
        assert not stops
        client.close()
    assert sender.answers[0].body == half.answers[0].body == b'{"delivered": 0}'
    assert stream.answers[0].whole
    server.settle()
    server.tick()
    assert server.rows == {}
    assert stops


def test_a_drain_has_an_end(server: Server, stops: list[str]) -> None:
    """Who doesn't take what is theirs isn't waited for longer than is set."""
    slow = server.stream(b"ada")
    server.router.deliver(b"ada", b"x" * 9000)
    server.settle()
    server.gateway.drain()
    server.tick()
    assert set(server.rows) == {slow.fd}
    assert not stops
    server.reactor.now += Settings().drain_timeout
    server.tick()
    assert stops
