"""Who hangs: a process whose loop hasn't turned for --hang-timeout is killed, and replaced as any
other that dies.

Before that it's asked for its stacks, so that the log says where it hangs (unless it's stopped).

A process that runs, or waits for a core, may only be slow: in a crowd (`scheduling`) a turn lasts
as much longer as there are processes, so it has as much more time. One that is stopped, or waits
for anything else, hasn't.
"""

import os
import signal
from collections.abc import Iterable

from .. import log, scheduling
from ..scoreboard import Scoreboard, Watcher
from .children import Child

EARLY = 0.2
"""Seconds before --hang-timeout at which a process is found, so that it's killed by then."""


class Hangs:
    """`look` regularly, several times a second."""

    def __init__(self, scoreboard: Scoreboard, timeout: float, gateways: int) -> None:
        """`timeout` is in seconds, 0: never; `gateways` are those that there may be."""
        self._scoreboard = scoreboard
        self._timeout = timeout
        self._crowding = max(1.0, scheduling.crowding(gateways))
        self._watcher = Watcher()

    def look(self, children: Iterable[Child]) -> None:
        """End those of `children` that hang."""
        self._watcher.look()
        if not self._timeout:
            return
        for child in children:
            if child.pid:
                silent = self._watcher.silent(self._scoreboard.row(child.row))
                if self._is_too_long(silent, child.pid):
                    _end(child, silent)
                else:
                    child.hung = 0

    def _is_too_long(self, silent: float, pid: int) -> bool:
        if silent < self._timeout - EARLY:
            return False
        return silent >= self._timeout * self._crowding - EARLY or not _runs(pid)


def _end(child: Child, silent: float) -> None:
    """Ask for its stacks; at the next look kill it."""
    child.hung += 1
    if child.hung == 1:
        seconds = f"{silent:.1f}s"
        log.error("process-hung", process=child.name, pid=child.pid, silent_for=seconds)
        os.kill(child.pid, signal.SIGUSR1)
    elif child.hung == 2:
        os.kill(child.pid, signal.SIGKILL)


def _runs(pid: int) -> bool:
    """Whether it's on a core, or waits for one (proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] == b"R"  # the name may hold anything
    except OSError:
        return False
