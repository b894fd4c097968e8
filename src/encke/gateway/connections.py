"""All connections of a gateway: taking one in, closing it, and what is counted.

Invariants: a descriptor is open here exactly if its row isn't FREE. Closing is the
only way out of a row, and leaves nothing behind: row, outbox, exchange, login.

May import: columns, exchange, outbox, poller, port, sockets, settings, scoreboard, wire.
"""

import math
import os

from ..scoreboard import Field
from ..settings import Settings
from ..wire.http import RequestParser
from ..wire.known_heads import KnownHeads
from . import sockets
from .columns import AWAKE, FREE, IDLE, LINGERING, LOGGING_IN, NEW, STREAM, Columns
from .exchange import Exchange
from .outbox import Outbox
from .poller import Poller
from .port import Router

TICK = 0.25
"""Seconds between ticks: the grain of every deadline."""

_SPARE_EXCHANGES = 64
"""Exchanges kept for reuse, so that a busy sender costs no allocation a request."""


def ticks(seconds: float) -> int:
    """So many seconds as a number of ticks; one more, since the current one is half over."""
    return math.ceil(seconds / TICK) + 1


class Connections:
    """The connections of one gateway, asleep or awake."""

    def __init__(self, settings: Settings, gateway: int, router: Router) -> None:
        self.settings = settings
        self.columns = Columns(gateway)
        self.poller = Poller()
        self.outbox = Outbox(
            self.poller,
            settings.queue_limit,
            lost=self.close,
            too_slow=self._close_slow,
            drained=self._drained,
            reads=self.is_stream,
        )
        self.router = router
        self.awake: dict[int, Exchange] = {}
        self.paused: set[int] = set()
        self.now = 1
        """The current tick."""
        self.open = 0
        self.streams = 0
        self.draining = False
        self.counts = [0] * len(Field)
        """Counters and gauges, by Field; copied to the scoreboard at each tick."""
        self._spare: list[Exchange] = []
        self._known_heads = KnownHeads()
        self._head_ticks = ticks(settings.head_timeout)
        self._idle_ticks = ticks(settings.idle_timeout)

    def take(self, fd: int) -> None:
        """A connection was accepted: its row waits for the first request."""
        columns = self.columns
        columns.take(fd)
        columns.deadline[fd] = self.now + self._head_ticks
        self.poller.add(fd)
        self.open += 1
        self.counts[Field.ACCEPTED] += 1

    def is_stream(self, fd: int) -> bool:
        """Whether the connection is an open stream."""
        return self.columns.kind[fd] >= STREAM

    def wake(self, fd: int) -> Exchange:
        """An exchange for `fd`, which has sent something in its sleep."""
        if self._spare:
            exchange = self._spare.pop()
            exchange.fd = fd
        else:
            exchange = Exchange(fd, RequestParser(self.settings.head_limit, self._known_heads))
        self.awake[fd] = exchange
        if self.columns.kind[fd] != NEW:  # a new one's time runs since it was accepted
            self.columns.deadline[fd] = self.now + self._head_ticks
        self.columns.kind[fd] = AWAKE
        return exchange

    def sleep(self, exchange: Exchange) -> None:
        """The exchange is over: only the row stays, waiting for another request."""
        fd = exchange.fd
        self.resume(fd)
        del self.awake[fd]
        self.columns.kind[fd] = IDLE
        self.columns.deadline[fd] = self.now + self._idle_ticks
        exchange.fd = -1
        if len(self._spare) < _SPARE_EXCHANGES and not exchange.parser.closed:
            self._spare.append(exchange)
        else:
            exchange.parser.close()

    def become_stream(self, exchange: Exchange, kind: int) -> None:
        """The connection is logged in: nothing but its row stays."""
        fd = exchange.fd
        del self.awake[fd]
        exchange.fd = -1
        exchange.parser.close()
        self.columns.kind[fd] = kind
        self.columns.deadline[fd] = 0
        self.streams += 1

    def set_deadline(self, fd: int, after: int) -> None:
        """The connection must get on within `after` ticks."""
        self.columns.deadline[fd] = self.now + after

    def linger(self, fd: int) -> None:
        """Say that no more will be written, and read what still comes for a while.

        Closing at once would make the kernel send a reset if the client is still
        sending, which may destroy the answer on its way (RFC 9112, 9.6).
        """
        exchange = self.awake.pop(fd, None)
        if exchange is not None:
            self._abandon(exchange)
        self.paused.discard(fd)
        self.columns.kind[fd] = LINGERING
        self.columns.deadline[fd] = self.now + ticks(2)
        try:
            sockets.end_writing(fd)
            self.poller.want_read(fd)
        except OSError:
            self.close(fd)

    def close(self, fd: int) -> None:
        """Close the connection of row `fd`, whatever it is doing."""
        columns = self.columns
        kind = columns.kind[fd]
        if kind == FREE:
            return
        if kind >= STREAM or kind == LOGGING_IN:
            self.streams -= kind >= STREAM
            self.counts[Field.LOGOUTS] += 1
            self.router.logout(columns.handle[fd])
        exchange = self.awake.pop(fd, None)
        if exchange is not None:
            self._abandon(exchange)
        self.paused.discard(fd)
        self.outbox.forget(fd)
        self.poller.forget(fd)
        columns.free(fd)
        self.open -= 1
        os.close(fd)

    def pause(self, fd: int) -> None:
        """Read no more from `fd` until `resume`."""
        if fd not in self.paused:
            self.paused.add(fd)
            if fd not in self.outbox.tails:  # else it isn't read from anyway
                self.poller.pause(fd)

    def resume(self, fd: int) -> None:
        """Read from `fd` again."""
        if fd in self.paused:
            self.paused.discard(fd)
            if fd not in self.outbox.tails:
                self.poller.want_read(fd)

    def _abandon(self, exchange: Exchange) -> None:
        exchange.fd = -1
        exchange.answers.clear()
        exchange.body = None
        exchange.parser.close()

    def _close_slow(self, fd: int) -> None:
        self.counts[Field.SLOW_CLIENTS] += 1
        self.close(fd)

    def _drained(self, fd: int) -> None:
        """All that waited for `fd` is out."""
        if self.columns.kind[fd] >= STREAM:
            return
        if fd in self.paused:
            self.poller.pause(fd)
        exchange = self.awake.get(fd)
        if exchange is not None and exchange.closing and not exchange.answers:
            self.linger(fd)
