"""The event loop: one epoll, callbacks, ticks, and a hook at the end of each turn.

Why not asyncio: a gateway has a handful of file descriptors that the loop must see
(listener, link, lifeline, and the poller that stands for all its connections), and
asyncio can't wait on a shared listener with EPOLLEXCLUSIVE, which keeps 53 gateways
from waking up for one connection. It also costs a node 4 MB (docs/adr/0003).

Invariants: a callback may add and remove any file descriptor; one that was removed
is not called any more, even if it had been reported in the same turn. Ticks are the
only timers: nothing here grows with the number of connections.
"""

import math
import os
import select
import signal
import time
from collections.abc import Callable

IN = select.EPOLLIN
OUT = select.EPOLLOUT
EXCLUSIVE = select.EPOLLEXCLUSIVE
ONESHOT = select.EPOLLONESHOT
GONE = select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP

MAX_EVENTS = 64
"""File descriptors reported a turn: listener, link, lifeline, poller, or a router's links."""

LONGEST_TURN = 60.0
"""Seconds that a turn waits for an event at most."""


class Reactor:
    """One process's event loop; `run()` it, end it with `stop()`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._ticks: list[tuple[float, Callable[[], None]]] = []
        self._due: list[float] = []
        self._next_due = math.inf  # the first of them
        self._after_turn: list[Callable[[], None]] = []
        self._stopped = False
        self._soon = math.inf
        self._signals: dict[int, Callable[[], None]] = {}  # those that came, once each
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.add(self._wake[0], IN, self._woken)

    def add(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback` with the events that are ready on `fd` (level-triggered)."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on `fd` (not for one that was added with EXCLUSIVE)."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Stop waiting on `fd`; call it before closing it."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def every(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` about every so many seconds."""
        self._ticks.append((seconds, callback))
        self._due.append(time.monotonic() + seconds)
        self._next_due = min(self._due)

    def after_turn(self, callback: Callable[[], None], *, first: bool = False) -> None:
        """Call `callback` at the end of every turn: the place to write what has gathered. `first`:
        before all others."""
        hooks = self._after_turn
        self._after_turn = [callback, *hooks] if first else [*hooks, callback]

    def not_after_turn(self, callback: Callable[[], None]) -> None:
        """Don't call it any more from the next turn on."""
        self._after_turn = [hook for hook in self._after_turn if hook != callback]

    def again(self, seconds: float) -> None:
        """Let the next turn begin in so many seconds at the latest: there is work left over."""
        self._soon = min(self._soon, time.monotonic() + seconds)

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Call `callback` when the process gets signal `number`, between two callbacks."""
        signal.signal(number, lambda *_: self._signals.update({number: callback}))
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)

    def stop(self) -> None:
        """Let `run` return at the end of this turn."""
        self._stopped = True

    def close(self) -> None:
        """Let go of its own descriptors; it's of no use after that."""
        self._epoll.close()
        for fd in self._wake:
            os.close(fd)

    def run(self) -> None:
        """Run until `stop()`."""
        poll, callbacks, clock = self._epoll.poll, self._callbacks, time.monotonic
        while not self._stopped:
            timeout = min(self._soon, self._next_due) - clock()
            self._soon = math.inf
            for fd, events in poll(min(max(0.0, timeout), LONGEST_TURN), MAX_EVENTS):
                callback = callbacks.get(fd)
                if callback is not None:
                    callback(events)
            while self._signals:
                self._signals.popitem()[1]()
            if self._next_due <= clock():
                self._run_ticks()
            for hook in self._after_turn:
                hook()

    def _run_ticks(self) -> None:
        now = time.monotonic()
        for index, due in enumerate(self._due):
            if due <= now:
                seconds, callback = self._ticks[index]
                self._due[index] = max(due + seconds, now)
                callback()
        self._next_due = min(self._due)

    def _woken(self, _events: int) -> None:
        """A signal came: its callback is run once those of this turn's events have been."""
        os.read(self._wake[0], 4096)
