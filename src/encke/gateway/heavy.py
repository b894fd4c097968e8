"""Heavy connections: who sends much is served last, by turns, and little while others send.

A connection is heavy as long as there's more of it than a turn reads, many requests come at once,
or a long body is coming, or NDJSON (`Requests.much`). It stands in an epoll of its own (poller),
which is looked at once all others of a turn were served, their answers given, and their messages
are on their way to the router. From that epoll one at a time is read from; who was goes to its
end. But a long message is read to its end, if all of it is there: so there aren't more half read
than need be, see bodies.

Of the window the last quarter is for others: once the rest of it is under way, heavy connections
aren't read from, but who sends a short message is. And while anybody does (LATELY), the heavy are
polite: a piece at a time, then a rest of REST times as long as it took, and POLITE_WINDOW under way
at most, so that others find neither this gateway nor the router busy for long.

Invariant: a turn reads at most BYTES_A_TURN bytes and LINES_A_TURN lines of NDJSON of heavy
connections, and one piece more.
"""

import time
from collections.abc import Callable

from ..hub.limits import LATELY, REST
from ..reactor.loop import IN, ONESHOT, Reactor
from .poller import Poller
from .port import Router
from .requests import READ_SIZE, Requests
from .senders import Desk

BYTES_A_TURN = 1024 * 1024
"""Bytes read in a turn: about 16,000 lines. The more messages a turn has, the more of them share a
write; but all else waits for it, up to 70 ms on a core that heavy senders keep busy."""

LINES_A_TURN = 16 * 1024
"""Lines of NDJSON read in a turn: a line may be short."""

PIECE = 64 * 1024
"""Bytes of one of them that are read at once, if no others send."""

POLITE_WINDOW = 64 * 1024
"""Bytes of heavy senders' messages that may be under way then."""


class Heavy:
    """The heavy connections of one gateway."""

    def __init__(
        self,
        reactor: Reactor,
        poller: Poller,
        requests: Requests,
        desk: Desk,
        router: Router,
        window: int,
        serve: Callable[[list[tuple[int, int]], int], None],
    ) -> None:
        """`serve` is given a connection that is ready, and how much of it may be read."""
        self._reactor = reactor
        self._poller = poller
        self._requests = requests
        self._desk = desk
        self._router = router
        self._window = window - window // 4
        self._serve = serve
        self._began = self._rests_until = 0.0
        self._half: int | None = None
        """Of which message there's more to read."""
        self.heard = 0.0
        """When others have sent something last."""
        self.ready = False
        """Whether there may be something to read from them."""
        reactor.add(poller.heavy_fileno(), IN | ONESHOT, self._reported)

    def _reported(self, _events: int) -> None:
        self.ready = True

    def serve(self) -> bool:
        """Read from them, if it's time, and there is room in the window: else a later turn does.
        Whether anything was read."""
        now = time.monotonic()
        polite = now < self.heard + LATELY
        if polite and now < self._rests_until:
            self._reactor.again(self._rests_until - now)
            return False
        window = min(self._window, POLITE_WINDOW) if polite else self._window
        if not self._has_room(window):
            return False  # the router's answer begins another turn
        piece = READ_SIZE if polite else PIECE
        most = piece if polite else BYTES_A_TURN
        requests, desk, poller = self._requests, self._desk, self._poller
        requests.bytes_read = desk.lines_read = 0
        while requests.bytes_read < most and desk.lines_read < LINES_A_TURN:
            half = self._half if self._half in poller.heavy else None
            if not (ready := poller.heavy_ready(1) if half is None else [(half, IN)]):
                break
            fd, before = ready[0][0], requests.bytes_read
            self._serve(ready, piece)
            full = requests.bytes_read - before >= piece
            self._half = fd if full and requests.is_message(fd) else None
            if not requests.much and fd in poller.heavy:
                poller.recall(fd)
            if not self._has_room(window):
                break
        self._began = now
        self.ready = False
        self._reactor.change(poller.heavy_fileno(), IN | ONESHOT)
        return True

    def rest(self) -> None:
        """What came of `serve` is written, and on its way to the router."""
        now = time.monotonic()
        self._rests_until = now + REST * (now - self._began)

    def _has_room(self, window: int) -> bool:
        """Whether the router takes more than `window`; or nothing, which they are told."""
        router = self._router
        return not router.available or (not router.full and router.under_way < window)
