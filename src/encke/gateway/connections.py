"""All connections of a gateway: taking one in, its way through life, closing it.

Invariants: a descriptor is open here exactly if its row isn't FREE. A row's state changes by
`life`'s table only, and with it its deadline; `Columns.take` and `free` are the first and the last
step. What the poller reports of a row is what `life.interest` says: `rearm` is the only place that
tells it. Closing is the only way out of a row, and leaves nothing behind: row, outbox, exchange,
login.
"""

import math
import os

from .. import log
from ..scoreboard import Field
from ..settings import Settings
from . import sockets
from .bodies import Bodies
from .columns import Columns
from .exchange import Exchange
from .life import (
    AFTER,
    FREE,
    HEAD,
    LEAVING,
    LOGGING_IN,
    NEVER,
    NEW,
    PATIENCE,
    STREAM,
    Event,
    interest,
)
from .outbox import Outbox
from .poller import Poller
from .port import Router

TICK = 0.25
"""Seconds between ticks: the grain of every deadline."""


def ticks(seconds: float) -> int:
    """So many seconds as a number of ticks; one more, since the current one is half over."""
    return math.ceil(seconds / TICK) + 1


def patience(settings: Settings) -> list[int]:
    """By state: the ticks that it may last; 0: for ever."""
    lasts = [0] * 256
    for state, time in PATIENCE.items():
        lasts[state] = ticks(getattr(settings, time) if isinstance(time, str) else time)
    return lasts


class Connections:
    """The connections of one gateway, asleep or awake."""

    def __init__(self, settings: Settings, gateway: int, router: Router) -> None:
        self.settings = settings
        self.columns = Columns(gateway)
        self.poller = Poller()
        self.outbox = Outbox(
            settings.queue_limit,
            settings.queue_total,
            lost=self.close,
            too_slow=self._close_slow,
            crowded_out=self._close_crowded_out,
            blocked=self.rearm,
            written=self._written,
            limited=self.is_stream,
        )
        self.bodies = Bodies(settings.bodies_total)
        self.router = router
        self.awake: dict[int, Exchange] = {}
        """By descriptor: those of which more than the row is known, see `requests`."""
        self.held: dict[int, None] = {}
        """Descriptors of connections that aren't read from for now, in the order in which they were
        held: too much is under way, or owed; or the client has ended its side."""
        self.unasked: dict[int, int] = {}
        """By descriptor: bytes that came although nothing is expected, see `Streams.unasked`."""
        self.now = 1
        """The current tick."""
        self.open = 0
        self.streams = 0
        self.draining = False
        self.counts = [0] * len(Field)
        """Counters and gauges, by Field; copied to the scoreboard at each tick."""
        self._quiet_until = 0  # the tick from which on that too much waits is logged again
        self.patience = patience(settings)
        """By state, in ticks; see `move`."""

    # a life

    def take(self, fd: int) -> None:
        """A connection was accepted: its row waits for the first request."""
        self.columns.take(fd)
        self.columns.deadline[fd] = self.now + self.patience[NEW]
        self.poller.add(fd)
        self.open += 1
        self.counts[Field.ACCEPTED] += 1

    def move(self, fd: int, event: Event) -> None:
        """Something happens to the connection: its state is what the table says."""
        columns = self.columns
        before = columns.state[fd]
        after = AFTER[event][before]
        assert after != NEVER, (before, event)
        columns.state[fd] = after
        if before != NEW or after != HEAD:  # a new one's time runs since it was accepted
            lasts = self.patience[after]
            columns.deadline[fd] = self.now + lasts if lasts else 0

    def become_stream(self, exchange: Exchange, state: int) -> None:
        """The connection is logged in: nothing but its row stays."""
        fd = exchange.fd
        self.move(fd, Event.LOGGED_IN)
        self.columns.state[fd] = state
        self.streams += 1
        del self.awake[fd]
        exchange.end()
        if fd in self.held:
            self.release(fd)
        if fd in self.poller.heavy:
            self.poller.recall(fd)

    def end(self, fd: int) -> None:
        """The client has ended its side: it's told what it still waits for, then closed."""
        self.move(fd, Event.ENDED)
        self.hold(fd)  # or its end would be reported again and again
        if self.columns.state[fd] == LEAVING:
            self._let_go(fd)
            if self.columns.state[fd] == LEAVING and fd not in self.outbox.tails:
                self.close(fd)

    def leave(self, fd: int) -> None:
        """The last answer is on its way: once it's written, the connection lingers."""
        self.move(fd, Event.ANSWERED)
        self._let_go(fd)
        if self.columns.state[fd] == LEAVING and fd not in self.outbox.tails:
            self.linger(fd)

    def linger(self, fd: int) -> None:
        """Say that no more will be written, and read what still comes for a while.

        Closing at once would make the kernel send a reset if the client is still
        sending, which may destroy the answer on its way (RFC 9112, 9.6).
        """
        self.move(fd, Event.WRITTEN)
        self.held.pop(fd, None)
        try:
            sockets.end_writing(fd)
        except OSError:
            self.close(fd)
        else:
            self.rearm(fd)

    def close(self, fd: int) -> None:
        """Close the connection of row `fd`, whatever it is doing."""
        columns = self.columns
        state = columns.state[fd]
        if state == FREE:
            return
        if state >= STREAM or state == LOGGING_IN:
            self.streams -= state >= STREAM
            self.counts[Field.LOGOUTS] += 1
            self.router.logout(columns.handle[fd])
        self._abandon(fd)
        self.held.pop(fd, None)
        self.unasked.pop(fd, None)
        self.outbox.forget(fd)
        self.poller.forget(fd)
        columns.free(fd)
        self.open -= 1
        os.close(fd)

    def is_stream(self, fd: int) -> bool:
        """Whether the connection is an open stream."""
        return self.columns.state[fd] >= STREAM

    # what is reported of it

    def hold(self, fd: int) -> None:
        """Read no more from `fd` until `release`."""
        if fd not in self.held:
            self.held[fd] = None
            self.rearm(fd)

    def release(self, fd: int) -> None:
        """Read from `fd` again."""
        self.held.pop(fd, None)
        self.rearm(fd)

    def rearm(self, fd: int) -> None:
        """Let the poller report what is of interest now."""
        unwritten, held = fd in self.outbox.tails, fd in self.held
        self.poller.want(fd, interest(self.columns.state[fd], unwritten=unwritten, held=held))

    def _written(self, fd: int) -> None:
        """All that waited for `fd` is out."""
        if self.columns.state[fd] == LEAVING:
            self.linger(fd)
        else:
            self.rearm(fd)

    # its end

    def _let_go(self, fd: int) -> None:
        """Write what is queued now, and forget what was being read."""
        self._abandon(fd)
        self.outbox.flush_one(fd)

    def _abandon(self, fd: int) -> None:
        exchange = self.awake.pop(fd, None)
        if exchange is not None:
            self.bodies.forget(exchange)
            exchange.end()

    def _close_slow(self, fd: int) -> None:
        self.counts[Field.SLOW_CLIENTS] += 1
        self.close(fd)

    def _close_crowded_out(self, fd: int) -> None:
        """All clients together have too much waiting; this one has taken nothing for longest."""
        if self.now >= self._quiet_until:
            self._quiet_until = self.now + ticks(60)
            log.warning(
                "queue-full",
                waiting=self.outbox.held,
                clients=len(self.outbox.tails),
                hint="clients that don't read are closed; see --queue-total",
            )
        self._close_slow(fd)
