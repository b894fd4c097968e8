"""Clients who send what nobody asked for: bodies of GET, and bytes on a stream that's open."""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest

from encke.gateway.streams import UNASKED, UNASKED_PIECE

from .node import Address, Node, until
from .ordinary import Ordinary
from .raw import Raw, ask, chunked, post, request, stream

CROWD = 100
TIMES = 30
"""How many times as long as before others may wait for an answer."""
JUNK = b"x" * 256 * 1024
KEY = "Authorization: Bearer secret"


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A server with a key, which those who send junk don't have."""
    with Node("--gateways", str(request.param), "--api-key", "secret") as node:
        yield node


class Crowd:
    """Connections that begin with `head`, and then send junk for as long as they can."""

    def __init__(self, address: Address, head: bytes) -> None:
        self._poller = select.epoll()
        self._left: dict[int, Raw] = {}
        for _ in range(CROWD):
            connection = Raw(address)
            connection.send(head)
            connection.socket.setblocking(False)
            self._left[connection.socket.fileno()] = connection
            self._poller.register(connection.socket, select.EPOLLOUT)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._poller.close()
        for connection in self._left.values():
            connection.close()

    @property
    def left(self) -> int:
        """How many the server hasn't closed."""
        return len(self._left)

    def _work(self) -> None:
        while self._left and not self._over.is_set():
            for fd, _ in self._poller.poll(0.1):
                try:
                    self._left[fd].socket.send(JUNK)
                except BlockingIOError:
                    pass
                except OSError:
                    self._left.pop(fd).close()
            time.sleep(0.001)  # what is measured shares our process


HEADS = {
    "test": request("GET", "/test/junk"),
    "events": request("GET", "/events/junk"),
    "NDJSON": request("GET", "/stream/junk"),
    "GET with a body": request("GET", "/test/junk", "Content-Length: 1000000000"),
    "GET with chunks": request("GET", "/test/junk", "Transfer-Encoding: chunked") + b"FFFFFF\r\n",
    "GET of nothing": request("GET", "/nothing", "Content-Length: 1000000000"),
    "no key": request("POST", "/send/junk", "Content-Length: 1000000000"),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_crowd_that_sends_junk(node: Node, head: bytes) -> None:
    """Each of them is closed before long. Nobody else is, and others don't wait."""
    with (
        stream(node.address, "good") as good,
        Ordinary([Raw(node.address) for _ in range(10)], KEY) as ordinary,
    ):
        before = ordinary.wait(answers=200)
        with Crowd(node.address, head) as crowd:
            during = ordinary.wait(answers=100)
            until(lambda: not crowd.left, "all of them are closed")
        assert during < TIMES * before
        assert ask(node.address, post("/send/good", b"x", KEY)).json() == {"delivered": 1}
        assert good.chunk() == b"Recvd msg #1: 'x'\n"


PATHS = ("/test/1", "/events/1", "/stream/1")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_stream_is_asked_for_without_a_body(node: Node, method: str, path: str) -> None:
    """A body is refused, and the connection ended; an empty one is none."""
    for headers, body in (
        (("Content-Length: 1",), b"x"),
        (("Content-Length: 1",), b""),
        (("Transfer-Encoding: chunked",), b""),
        (("Transfer-Encoding: chunked",), chunked()),
    ):
        with Raw(node.address) as connection:
            connection.send(request(method, path, *headers), body)
            head = connection.head()
            assert (head.status, head.headers["connection"]) == (400, "close")
            connection.rest()
    with Raw(node.address) as connection:
        connection.send(request(method, path, "Content-Length: 0"))
        assert connection.head().status == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_little_on_a_stream(node: Node, path: str) -> None:
    """What comes on a stream unasked is ignored up to a limit, above which the stream ends."""
    with Raw(node.address) as connection:
        connection.send(request("GET", path))
        assert connection.head().status == 200
        connection.send(b"x" * UNASKED)
        for _ in range(3):
            assert ask(node.address, post("/send/1", b"x", KEY)).json() == {"delivered": 1}
        connection.send(b"x")
        connection.everything()
    until(
        lambda: ask(node.address, post("/send/1", b"x", KEY)).json() == {"delivered": 0},
        "it's logged out",
    )


def test_byte_by_byte_on_a_stream(node: Node) -> None:
    """Each piece costs the server more than its bytes, and counts for more."""
    with Raw(node.address) as connection:
        connection.send(request("GET", "/test/1"))
        with contextlib.suppress(OSError):
            for _ in range(1000 * UNASKED // UNASKED_PIECE):
                connection.send(b"x")
                time.sleep(0.001)
            raise AssertionError("it is never closed")
        connection.everything()


def test_a_stream_that_is_not_open_yet() -> None:
    """The same holds before the router has said yes: while it's hung, who asks for a stream and
    sends junk is closed; who doesn't waits."""
    with Node("--gateways", "2") as node:
        router = node.pid_of("router")
        os.kill(router, signal.SIGSTOP)
        try:
            with Raw(node.address) as junk, Raw(node.address) as good:
                for connection in (junk, good):
                    connection.send(request("GET", "/test/1"))
                with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
                    while True:
                        junk.send(JUNK)
                os.kill(router, signal.SIGCONT)
                assert good.head().status == 200
        finally:
            os.kill(router, signal.SIGCONT)
