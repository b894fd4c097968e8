"""The crowd: forks the herds, commands them, ends them.

Invariants: a herd ends when this process does, however it ends, since its control pipe
closes. No signal reaches a process that isn't ready for it: they're blocked from before
the first fork until whoever got them has said what they shall do.
"""

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from ..load.board import Board
from ..load.histogram import Histogram
from ..load.kernel import listening_queues
from ..load.tallies import sums, tallies
from ..load.target import source
from .addresses import Addresses
from .herd import LATENCY, STOP, WIDTH, Field, Herd
from .plan import Plan, Spread

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)
"""Blocked until `Crowd.listen`."""

GRACE = 20.0
"""Seconds that the herds may take to end: the kernel closes 20,000 sockets of each."""


class Crowd:
    """The herds of a flood; made, they run."""

    def __init__(self, plan: Plan, addresses: Addresses, spread: Spread) -> None:
        self.streams = len(addresses)
        self.board = Board(spread.herds, WIDTH)
        """Rows of herd.Field."""
        complaints, self._report = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.complaints = complaints
        """Readable when a herd has something to say; lines."""
        self._plan = plan
        self._spread = spread
        self._addresses = addresses
        self._tallies = tallies(len(addresses), plan.counts)
        self._sums = sums(len(addresses), plan.sums) if plan.sums else None
        self._herds: dict[int, int] = {}  # pid: control pipe
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        gc.collect()
        gc.freeze()  # the collector would write to shared pages, which copies them
        self.queues = listening_queues()
        """What the kernel had dropped before."""
        self.cpu_seconds = time.process_time()
        """What this process had used before: to parse its arguments, and the like."""
        self.started = time.monotonic_ns()
        for number in range(spread.herds):
            self._fork(number, os.getpid())

    @property
    def pids(self) -> list[int]:
        """The herds' process ids."""
        return list(self._herds)

    @property
    def latency(self) -> Histogram:
        """From the stamps in messages to their arrival, of all herds."""
        merged = Histogram()
        for number in range(self._spread.herds):
            merged.merge(Histogram(self.board.row(number)[LATENCY:]))
        return merged

    def listen(self) -> None:
        """The signals have their handlers: let them come."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def command(self, what: bytes) -> None:
        """Tell all herds to STOP, to CUT, or to begin to CHURN."""
        for control in self._herds.values():
            with suppress(BrokenPipeError):
                os.write(control, what)

    def reap(self) -> int:
        """How many herds have ended since the last call."""
        ended = 0
        for pid, control in list(self._herds.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                os.close(control)
                del self._herds[pid]
                ended += 1
        return ended

    def end(self) -> None:
        """Stop all herds, and wait for them."""
        self.command(STOP)
        deadline = time.monotonic() + GRACE
        while self._herds and time.monotonic() < deadline:
            if not self.reap():
                time.sleep(0.01)
        for pid in self._herds:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _fork(self, number: int, run: int) -> None:
        row, before = self.board.row(number), number - self._spread.at_once
        mine = self._spread.share(number, self.streams)
        row[Field.WAITING] = len(mine)
        control, ours = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        pid = os.fork()
        if pid:
            os.close(control)
            self._herds[pid] = ours
            return
        for other in (ours, self.complaints, *self._herds.values()):
            os.close(other)
        sources = self._spread.sources
        first = number * sources
        _live(
            Herd(
                self._plan,
                self._spread,
                self._addresses,
                number,
                first=mine.start,
                before=self.board.row(before) if before >= 0 else None,
                sources=[source(run, first + each) for each in range(sources)],
                row=row,
                tally=self._tallies[mine.start : mine.stop],
                sums=self._sums[mine.start : mine.stop] if self._sums else None,
                control=control,
                report=self._report,
            ).run
        )


def _live(run: Callable[[], None]) -> NoReturn:
    """What a forked process does, and nothing of what its parent would do afterwards."""
    code = 1
    try:
        gc.disable()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # the parent gets them too, and decides
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        run()
        code = 0
    except BaseException:  # noqa: BLE001 (nobody else would show it)
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
