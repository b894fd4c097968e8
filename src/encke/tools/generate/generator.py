"""The pace: which message is due when, who writes it, and when it's over.

The k-th message is due k intervals after the start: what is late doesn't make later
ones late too. If the connection that must take a message is full, it waits, and all
behind it do; how late each one was written is the lag.
"""

import math
import select
import signal
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable

from ...errors import BadSettings, Unreachable
from ..load.signals import Signals
from ..load.stamp import first_sender
from ..load.tallies import sums, tallies
from ..load.target import PLACE, target
from .account import Account
from .bodies import Bodies
from .connection import Connection, Message
from .draw import draws
from .plan import Plan
from .poller import Poller
from .posts import Posts

A_TURN = 256
"""Messages written before answers are read again, and what was written leaves."""
TICK = 0.1
"""Seconds between two looks at the connections' health."""
PATIENCE = 10.0
"""Seconds that nobody could connect until it's given up."""


class Generator:
    """One run. Raises BadSettings if the plan can't be carried out."""

    def __init__(self, plan: Plan) -> None:
        plan.check()
        if not plan.ndjson and PLACE not in plan.where:
            raise BadSettings(f"--path {plan.where}: write {PLACE} where the user id stands.")
        where = target(plan.to.rstrip("/") + plan.where)
        self.account = Account(
            tallies(plan.users, plan.counts), sums(plan.users, plan.sums) if plan.sums else None
        )
        self._plan = plan
        self._poller = Poller()
        self._again: deque[Message] = deque()
        kind = Bodies if plan.ndjson else Posts
        first = first_sender()
        self._connections: list[Connection] = [
            kind(plan, where, self._poller, self.account, self._again, first + number)
            for number in range(plan.senders)
        ]
        self._draws = draws(plan)
        self._sequences = array("I", bytes(4 * plan.users))
        """By user; of publications the run's number counts instead, which makes a key."""
        self._held: tuple[int, int, int] | None = None
        """(user, sequence, when it was due): drawn, but its connection is full."""
        self._interval = 1e9 / plan.rate if plan.rate else 0.0
        self._total = plan.total or math.inf
        self._drawn = 0
        self._linger = int(plan.linger * 1e6)
        self._write_at = 0
        """Nothing is written before, monotonic nanoseconds: what is due is gathered."""
        self._give_up_at = math.inf
        """Monotonic seconds: it's ending, and waits for answers until then."""
        self._alone_since = time.monotonic()
        """When there last was a connection, monotonic seconds."""
        self.started = time.monotonic_ns()
        self.last_written = self.started

    def run(self, tick: Callable[[], None]) -> None:
        """Until all is sent and answered, or SIGINT or SIGTERM comes.

        Calls `tick` a few times a second. Raises Unreachable if there's no server (any more).
        """
        try:
            self._connect()
            with Signals(signal.SIGINT, signal.SIGTERM) as signals:
                self._poller.add(signals.fileno(), select.EPOLLIN, lambda _: self._end(signals))
                self._run(tick)
        finally:
            self._settle()

    def _run(self, tick: Callable[[], None]) -> None:
        self.started = self.last_written = time.monotonic_ns()
        end = self.started / 1e9 + self._plan.duration if self._plan.duration else math.inf
        next_tick = 0.0
        while not self._over():
            self._write_due()
            self._poller.turn(self._pause())
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK
                self._check(now)
                tick()
            if now >= end:
                self._give_up_at = min(self._give_up_at, now + PATIENCE)

    def _end(self, signals: Signals) -> None:
        if signals.take():
            self._give_up_at = min(self._give_up_at, time.monotonic() + PATIENCE)

    @property
    def _drawing(self) -> bool:
        """Whether there are messages that aren't drawn yet."""
        return self._give_up_at == math.inf and self._drawn < self._total

    def _over(self) -> bool:
        """Whether all is written and answered, or it's no use to wait any longer."""
        if self._drawing:
            return False
        late = time.monotonic() > self._give_up_at
        if self._give_up_at != math.inf:
            self._held = None
        if (self._held or self._again) and not late:
            return False
        for connection in self._connections:
            connection.end()
            connection.flush()
        return late or not any(connection.owed for connection in self._connections)

    def _settle(self) -> None:
        """Account for what is left."""
        for connection in self._connections:
            self.account.errors["unanswered"] += len(connection.abandon())
        self.account.errors += Counter()  # leaves out those that are 0
        self.account.retried -= len(self._again)

    # connections

    def _connect(self) -> None:
        """Wait until all have connected, or failed to."""
        self._tick(time.monotonic())
        while any(not each.connected and not each.failures for each in self._connections):
            self._poller.turn(TICK)
            self._tick(time.monotonic())
        if not self._plan.retry:
            self._need_one()

    def _check(self, now: float) -> None:
        self._tick(now)
        if any(connection.connected for connection in self._connections):
            self._alone_since = now
        elif not self._plan.retry and now > self._alone_since + PATIENCE:
            self._need_one()

    def _tick(self, now: float) -> None:
        for connection in self._connections:
            connection.tick(now, self._plan.timeout)

    def _need_one(self) -> None:
        if not any(connection.connected for connection in self._connections):
            raise Unreachable(
                f"No server answers at {self._plan.to} ({self._connections[0].last_error}); "
                "start it, or correct the address."
            )

    # messages

    def _write_due(self) -> None:
        """Write what is due, as long as there is room, and not all too much at once."""
        if time.monotonic_ns() < self._write_at:
            return
        connections, account = self._connections, self.account
        touched = set()
        paced, now = bool(self._interval), time.monotonic_ns()
        for _ in range(A_TURN):
            if paced:
                now = time.monotonic_ns()
            message = self._held or self._next(now)
            if message is None:
                self._write_at = now + self._linger
                break
            user, sequence, due = message
            connection = connections[user % len(connections)]
            if connection.full(now):
                self._held = message
                break
            self._held = None
            connection.add(user, sequence)
            touched.add(connection)
            account.sent += 1
            self.last_written = now
            if due:
                account.lag.record(now - due)
        for connection in touched:
            connection.flush()

    def _next(self, now: int) -> tuple[int, int, int] | None:
        """(user, sequence, when it was due; 0: at any time) of the next message, if it's time."""
        if self._again:
            return *self._again.popleft(), 0
        if not self._drawing:
            return None
        due = self.started + int(self._drawn * self._interval)
        if due > now:
            return None
        self._drawn += 1
        user = next(self._draws)
        due = due if self._interval else 0
        if self._plan.publish:
            return user, self._drawn, due
        self._sequences[user] += 1
        return user, self._sequences[user], due

    def _pause(self) -> float:
        """Seconds until there's something to write; TICK at most."""
        if self._held:
            return TICK
        if not self._again and not self._drawing:
            return TICK
        due = 0.0 if self._again else self.started + self._drawn * self._interval
        due = max(due, self._write_at)
        return min(TICK, max(0.0, (due - time.monotonic_ns()) / 1e9))
