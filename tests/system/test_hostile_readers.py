"""Clients that open streams and don't read them: what they take of the machine, and of others."""

import socket
from collections.abc import Iterator

import pytest

from encke.gateway.sockets import NOT_SENT
from encke.node.sockets import public
from encke.settings import Settings

from .node import Address, Node
from .raw import Raw, post, request, send

TINY = 4096
"""Of a client's receive buffer."""


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    with Node("--gateways", str(request.param)) as node:
        yield node


def lazy(address: Address, path: str) -> Raw:
    """A stream whose client has read the head only, and has a tiny buffer of its own."""
    connection = Raw(address, receive_buffer=TINY)
    connection.send(request("GET", path))
    assert connection.head().status == 200
    return connection


def test_who_does_not_read_takes_little_of_the_kernels_memory(node: Node) -> None:
    """What is sent to a reader that doesn't read waits in the server, where it's counted and
    limited: little of it is in the kernel by then."""
    message, most, sent = b"x" * 8000, 0, 0
    with lazy(node.address, "/test/stuck") as stuck, Raw(node.address) as sender:
        while most < 8 * 1024 * 1024:
            sender.send(post("/send/stuck", message))
            if sender.answer().json() == {"delivered": 0}:
                break
            sent += len(message)
            if not sent % (10 * len(message)):
                most = max(most, stuck.at_the_server()[0])
    settings = Settings()
    assert 0 < most <= settings.send_buffer
    assert sent <= settings.send_buffer + settings.queue_limit + 64 * TINY


def test_who_does_not_read_is_counted(node: Node) -> None:
    """As long as something waits for a client, it's counted, with the bytes."""
    with lazy(node.address, "/test/large"):
        assert send(node.address, "large", b"x" * 1024 * 1024) == 1
        node.until(lambda now: now.blocked == 1 and now.queued_bytes > 0, "it's counted")
        metrics = node.get("/metrics")[1]
        assert b"\nencke_blocked 1.0\n" in metrics
        assert b"\nencke_tcp_memory_bytes " in metrics
    node.until(lambda now: (now.blocked, now.queued_bytes) == (0, 0), "it's gone")


@pytest.mark.parametrize("size", [16 * 1024, Settings().send_buffer])
def test_what_the_kernel_may_hold_for_hostile_readers(size: int) -> None:
    """Each connection that is accepted has --send-buffer (of which the kernel makes twice as much,
    for its book-keeping), and the mark above which it takes nothing more."""
    with (
        public(Settings(listen="127.0.0.1:0", send_buffer=size)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * size
            mark = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            assert mark == NOT_SENT
