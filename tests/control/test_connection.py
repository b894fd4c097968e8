"""One connection in process: whatever way the bytes come, the same answers in the same order."""

import contextlib
import socket
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from encke.control.app import Call
from encke.control.connection import Connection, State
from encke.control.response import Later, Outcome, Response
from encke.reactor.loop import IN, OUT
from encke.settings import Settings
from encke.wire.http import RequestParser
from encke.wire.request import Request

from .test_refused import answers

LARGE = b"x" * 300_000


class Counting:
    """A response.Body that tells how long the body was."""

    def __init__(self, laters: list[Callable[[], None]]) -> None:
        self._laters = laters
        self._size = 0

    def _later(self, answer: Callable[[], Response | None]) -> Later:
        later = Later()
        self._laters.append(lambda: later.resolve(answer()))
        return later

    def feed(self, piece: bytes) -> Later:
        self._size += len(piece)
        return self._later(lambda: None)

    def finish(self) -> Later:
        return self._later(lambda: Response(200, b"%d" % self._size, b"text/plain"))


class Bench:
    """A connection.Owner that lets the test decide who goes on, and when."""

    draining = False

    def __init__(self) -> None:
        self.settings = Settings()
        self.control = self
        self.laters: list[Callable[[], None]] = []
        self.stepping = False
        self.events = IN
        self.over = False
        ours, self.client = socket.socketpair()
        ours.setblocking(False)
        self.client.setblocking(False)
        self.received = b""
        self.connection = Connection(self, ours, RequestParser())  # type: ignore[arg-type]

    def find(self, request: Request) -> Call:
        """/now, /later, /large, /count."""

        def later() -> Outcome:
            found = Later()
            self.laters.append(lambda: found.resolve(Response(200, request.path, b"text/plain")))
            return found

        match request.path[:4]:
            case b"/lat":
                return Call(later)
            case b"/lar":
                return Call(lambda: Response(200, LARGE, b"text/plain"))
            case b"/cou":
                return Call(lambda: Counting(self.laters), takes_body=True)
            case _:
                return Call(lambda: Response(200, request.path, b"text/plain"))

    def queue(self, connection: Connection) -> None:
        self.stepping = True

    def interest(self, connection: Connection, events: int) -> None:
        self.events = events

    def closed(self, connection: Connection) -> None:
        self.over = True

    def send(self, piece: bytes) -> None:
        """Send it, as far as the connection reads meanwhile."""
        while piece and not self.over:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                piece = piece[self.client.send(piece) :]
            self.turn()

    def turn(self) -> None:
        """Let happen what can."""
        state = self.connection._state
        expected = {State.WRITING: OUT, State.WORKING: 0}.get(state, IN)
        assert self.over or self.events == expected
        if self.events and not self.over:
            self.connection.ready(self.events)
        for _ in range(200):
            if not self.stepping or self.over:
                break
            self.stepping = False
            self.connection.step()
        if self.laters:
            self.laters.pop(0)()
        with contextlib.suppress(BlockingIOError):
            self.received += self.client.recv(1 << 20)

    def close(self) -> None:
        self.connection.close()
        self.client.close()


def get(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path


def count(body: bytes) -> bytes:
    return b"POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


REQUESTS = st.one_of(
    st.sampled_from([b"/now1", b"/now2", b"/later1", b"/later2"]).map(lambda it: (get(it), it)),
    st.just((get(b"/large"), LARGE)),
    st.integers(0, 50_000).map(lambda size: (count(b"x" * size), b"%d" % size)),
    st.just((b"POST /now HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nGET", b"/now")),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(REQUESTS, min_size=1, max_size=8),
    st.lists(st.integers(1, 5000), max_size=12),
    st.booleans(),
)
def test_any_pieces_any_order(
    requests: list[tuple[bytes, bytes]], cuts: list[int], wrong: bool
) -> None:
    """Answers are those of the requests in their order, and a refusal is the last one."""
    stream = b"".join(request for request, _ in requests) + (b"\0\r\n\r\n" if wrong else b"")
    bench = Bench()
    with contextlib.closing(bench):
        for cut in cuts:
            bench.send(stream[:cut])
            stream = stream[cut:]
        bench.send(stream)
        quiet = 0
        while quiet < 5:
            before = len(bench.received)
            bench.turn()
            quiet = 0 if bench.laters or len(bench.received) > before else quiet + 1
        found = answers(bench.received)
        assert [body for status, _, body in found if status == 200] == [
            body for _, body in requests
        ]
        assert len(found) == len(requests) + wrong
        state = bench.connection._state
        assert state is (State.LINGERING if wrong else State.IDLE)


def test_an_early_answer_ends_the_body() -> None:
    """A piece that is answered ends the request, and the connection with it."""

    class Refusing(Counting):
        def feed(self, piece: bytes) -> Later:
            return self._later(lambda: Response(503, b"full", b"text/plain"))

    bench = Bench()
    with contextlib.closing(bench):
        bench.find = lambda request: Call(  # type: ignore[method-assign]
            lambda: Refusing(bench.laters), takes_body=True
        )
        bench.send(count(b"x" * 100_000) + get(b"/now"))
        for _ in range(5):
            bench.turn()
        ((status, head, body),) = answers(bench.received)
        assert (status, body) == (503, b"full")
        assert b"\r\nConnection: close" in head
        bench.client.close()
        bench.connection.ready(IN)
        bench.connection.step()
        assert bench.over
