"""What is set on a connection's socket, and what is asked of it: over real TCP."""

import socket
from collections.abc import Iterator

import pytest

from encke.gateway import sockets
from encke.settings import Settings

TCP = socket.IPPROTO_TCP
BUFFER = Settings().send_buffer


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def accepted(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A connection, and its client."""
    client = socket.create_connection(listener.getsockname())
    return listener.accept()[0], client


@pytest.mark.parametrize("probed", [False, True])
def test_what_connections_inherit(listener: socket.socket, probed: bool) -> None:
    """No delay, a bounded buffer, a limit for silence; and probes only when they are asked for."""
    sockets.prepare(listener, probed=probed, user_timeout=3.5, send_buffer=BUFFER)
    ours, client = accepted(listener)
    with ours, client:
        assert ours.getsockopt(TCP, socket.TCP_NODELAY)
        assert ours.getsockopt(TCP, socket.TCP_USER_TIMEOUT) == 3500
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * BUFFER
        assert bool(ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == probed
        if probed:
            assert ours.getsockopt(TCP, socket.TCP_KEEPIDLE) > 9 * 3600
            sockets.probe(ours.fileno())
            assert ours.getsockopt(TCP, socket.TCP_KEEPIDLE) == 1


def test_the_writing_side_ends(listener: socket.socket) -> None:
    """The client sees the end, and can still say something; once it has gone, that's told."""
    ours, client = accepted(listener)
    with ours, client:
        sockets.end_writing(ours.fileno())
        assert client.recv(1) == b""
        client.send(b"x")
        assert ours.recv(1) == b"x"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()  # with a reset
        with pytest.raises(OSError, match=r"not connected|reset"):
            while True:
                sockets.end_writing(ours.fileno())
