"""All connections together: taken in, held, let go, closed."""

import os
import socket
from collections.abc import Iterator

import pytest

from encke.gateway.connections import TICK, Connections, ticks
from encke.gateway.life import FREE, IDLE, LINGERING, LOGGING_IN, NEW, PATIENCE, STREAM, Event
from encke.scoreboard import Field
from encke.settings import Settings

from .harness import Server, get, post, running
from .router import Router


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def test_a_descriptor_is_open_as_long_as_its_row_is_taken() -> None:
    """It's counted as long; closing twice is closing once; whoever comes next is somebody else."""
    connections = Connections(Settings(), 1, Router())
    ours, peer = socket.socketpair()
    fd = ours.detach()
    connections.take(fd)
    first = connections.columns.handle[fd]
    assert (connections.open, connections.columns.state[fd]) == (1, NEW)
    connections.close(fd)
    connections.close(fd)
    assert (connections.open, connections.columns.state[fd]) == (0, FREE)
    assert peer.recv(1) == b""
    peer.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    ours, peer = socket.socketpair()
    assert ours.fileno() == fd
    connections.take(ours.detach())
    assert connections.columns.handle[fd] != first
    connections.close(fd)
    peer.close()


def test_what_isnt_in_the_table_cant_happen() -> None:
    """A gateway that errs in that stops at once."""
    connections = Connections(Settings(), 1, Router())
    ours, peer = socket.socketpair()
    connections.take(fd := ours.detach())
    with pytest.raises(AssertionError):
        connections.move(fd, Event.WRITTEN)
    connections.close(fd)
    peer.close()


def test_how_long_each_state_may_last() -> None:
    """As the table of life says, in ticks, and never less than the time that's set."""
    settings = Settings(head_timeout=1.1, idle_timeout=7)
    patience = Connections(settings, 1, Router()).patience
    assert patience[IDLE] == ticks(7)
    for state in range(256):
        lasts = PATIENCE.get(state)
        seconds = getattr(settings, lasts) if isinstance(lasts, str) else lasts
        if seconds is None:
            assert patience[state] == 0
        else:
            assert seconds < patience[state] * TICK <= seconds + 2 * TICK


def test_a_closed_stream_leaves_nothing(server: Server) -> None:
    """Row, what waits for it, and its login are gone, in the middle of a login too."""
    stream, waiting = server.stream(b"ada"), server.connect()
    waiting.say(get(b"/test/ben"))
    server.router.deliver(b"ada", b"x" * 9000)
    server.settle()
    assert server.connections.outbox.held > 0
    assert (server.state(stream), server.state(waiting)) >= (STREAM, LOGGING_IN)
    for client in (stream, waiting):
        server.connections.close(client.fd)
    assert server.rows == {}
    assert server.connections.awake == {}
    assert server.connections.outbox.held == server.connections.streams == 0
    assert server.router.here == {}
    assert server.router.asked == []
    assert server.connections.counts[Field.LOGOUTS] == 2


def test_who_has_ended_is_told_what_is_owed(server: Server) -> None:
    """Then the connection is closed, without anybody waiting; one that's owed nothing at once."""
    owed, idle = server.connect(), server.connect()
    owed.say(post(b"/send/a", b""))
    for client in (owed, idle):
        client.end_writing()
        server.settle()
    assert [*server.rows] == [owed.fd]
    server.router.answer()
    assert owed.take_all().endswith(b'{"delivered": 0}')
    assert owed.ended
    assert server.rows == {}


def test_who_is_refused_lingers(server: Server) -> None:
    """The client sees the answer and the end; what it still sends is dropped, until it's had its
    time."""
    client = server.connect()
    client.say(b"nonsense\r\n\r\n")
    client.take_all()
    assert client.ended
    assert server.state(client) == LINGERING
    for _ in range(3):
        assert client.say(b"x" * 5000) == 5000
    assert server.state(client) == LINGERING
    server.tick(ticks(2.0) + 4)
    assert server.rows == {}
