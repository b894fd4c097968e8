"""Senders who send without end, or without sense: the others of their gateway are served."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from .node import PATIENCE, Node, until
from .ordinary import Ordinary, connect
from .raw import Answer, Raw, chunked, request

TIMES = 30
"""How many times as long as before others may wait for an answer: there are but two cores, and
what is tested for is hundreds."""
MIB = 1024 * 1024


def line(id: str, data: str) -> bytes:
    """One message of a body."""
    return b'{"id": "%b", "data": "%b"}\n' % (id.encode(), data.encode())


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A server whose router lives in its gateway, or apart."""
    with Node("--gateways", str(request.param)) as node:
        yield node


class Bulk:
    """Sends one NDJSON body, the same piece again and again, until it's told to end it."""

    def __init__(self, connection: Raw, piece: bytes) -> None:
        self._connection = connection
        self._chunk = chunked(piece)[:-5]
        self._ended = threading.Event()
        self.pieces = 0
        """How many the kernel has taken."""
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _work(self) -> None:
        with contextlib.suppress(OSError):  # the answer is what counts
            self._connection.send(request("POST", "/send", "Transfer-Encoding: chunked"))
            while not self._ended.is_set():
                self._connection.send(self._chunk)
                self.pieces += 1
            self._connection.send(b"0\r\n\r\n")

    def end(self) -> Answer:
        """End the body; what is answered."""
        self._ended.set()
        self._thread.join(PATIENCE)
        return self._connection.answer()


LINES = {
    "as short as they may be": line("1", "") * 4_000,
    "empty": b"\n" * 65_536,
    "blank": b" \t\r\n" * 16_384,
    "most of them empty": (b"\n" * 99 + line("1", "x")) * 500,
    "most of them blank": (b" \r\n" * 99 + line("1", "x")) * 200,
}


@pytest.mark.parametrize("piece", LINES.values(), ids=LINES)
def test_one_bulk_sender(node: Node, piece: bytes) -> None:
    """Who sends NDJSON without a pause, of lines that are many for their bytes, is served after
    those who send a message now and then, but is served: all of it arrives."""
    messages = piece.count(b"{")
    with contextlib.ExitStack() as stack:
        senders = connect(node, 21)
        sender = stack.enter_context(senders.pop())
        ordinary = stack.enter_context(Ordinary(senders))
        before = ordinary.wait(answers=500)
        bulk = stack.enter_context(Bulk(sender, piece))
        until(lambda: bulk.pieces > 8 * MIB // len(piece), "more is taken than the kernel keeps")
        assert ordinary.wait(answers=200) < TIMES * before
        pieces = bulk.pieces
        ordinary.send(lambda _: bulk.pieces >= pieces + MIB // len(piece))
        assert bulk.end().json() == {"accepted": messages * bulk.pieces, "delivered": 0}
