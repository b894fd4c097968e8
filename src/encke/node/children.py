"""The node's processes as the supervisor knows them: how they are started, what they died of, and
when they may be started again."""

import contextlib
import os
import signal
from collections.abc import Callable, Collection

import msgspec

from ..ids import MAX_GATEWAY
from .stacks import Stacks

HEALTHY = 3.0
"""Seconds: who lived for as long is replaced at once, who didn't after a pause."""

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds: each pause is twice the one before."""


class Child(msgspec.Struct):
    """A process of the node: its place on the scoreboard, and how to start it."""

    name: str
    row: int
    run: Callable[[], None]
    pid: int = 0
    """0: it isn't there."""
    started: float = 0.0
    due: float = 0.0
    """When it's to be started, if it isn't there."""
    pause: float = 0.0
    stacks: Stacks | None = None
    hung: int = 0
    """Looks in a row that found it so."""

    def gone(self, now: float) -> None:
        """It died, or couldn't be started."""
        self.pid = self.hung = 0
        if self.stacks is not None:
            self.stacks.close()
            self.stacks = None
        lived = now - self.started
        self.pause = 0.0 if lived >= HEALTHY else max(SHORTEST_PAUSE, 2 * self.pause)
        self.pause = min(self.pause, LONGEST_PAUSE)
        self.due = now + self.pause


def number_after(last: int, taken: Collection[int]) -> int:
    """The next number of a gateway: no living one's, since handles with it are that one's."""
    number = last
    while (number := number % MAX_GATEWAY + 1) in taken:
        pass
    return number


def _found_prctl() -> Callable[[int, int], int] | None:
    try:
        import ctypes
    except ImportError:  # a Python that was built without libffi: the lifeline has to do
        return None
    prctl: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return prctl


_PR_SET_PDEATHSIG = 1
_prctl = _found_prctl()  # once, before the forks


def die_with(parent: int) -> None:
    """In a child: let the kernel kill it once `parent` is dead, which has forked it (prctl(2)). A
    process that hangs wouldn't notice."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it's dead already


def dead_child() -> tuple[int, int] | None:
    """A child that has died since, and its status."""
    with contextlib.suppress(ChildProcessError):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            return pid, status
    return None


def reason(status: int) -> str:
    """What a process died of, by its status."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit {code}"
    # the real-time signals have no name
    names = {number.value: number.name for number in signal.Signals}
    return names.get(-code, f"signal {-code}")


def where(error: BaseException) -> str:
    """Function and line of the innermost frame of `error`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
