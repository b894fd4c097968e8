"""The stacks of a process, on SIGUSR1, in the supervisor's log.

They are written where the signal is taken, in C (faulthandler), so that a process can tell in
which it hangs; and into a pipe to the supervisor that nobody waits for: it makes a line of the log
of each line, with the process's name. What the pipe doesn't take (64 KiB) is lost.
"""

import contextlib
import faulthandler
import os
import signal

from .. import log
from ..reactor.loop import IN, Reactor

_READ = 64 * 1024


class Stacks:
    """The pipe of one process, made before its fork."""

    def __init__(self, reactor: Reactor, process: str, pid: int = 0) -> None:
        """Raises OSError."""
        self._reactor = reactor
        self._process = process
        self._pid = pid
        self._rest = b""
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        reactor.add(self._reader, IN, self._come)

    def tell(self) -> None:
        """Tell the stacks of this process now."""
        faulthandler.dump_traceback(self._writer)

    def tell_on_signal(self) -> None:
        """In a child: tell them at each SIGUSR1 from now on."""
        os.close(self._reader)
        faulthandler.register(signal.SIGUSR1, self._writer)

    def forked(self, pid: int) -> None:
        """In the supervisor: they are those of this child."""
        self._pid = pid
        os.close(self._writer)
        self._writer = -1

    def drop(self) -> None:
        """In a child: these are somebody else's."""
        for end in (self._reader, self._writer):
            if end >= 0:
                os.close(end)

    def close(self) -> None:
        """In the supervisor: the process is gone; log what is left."""
        self._come()
        self._reactor.remove(self._reader)
        self.drop()

    def _come(self, _events: int = 0) -> None:
        with contextlib.suppress(BlockingIOError):
            *lines, self._rest = (self._rest + os.read(self._reader, _READ)).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace").strip()
                if text:
                    log.info("stack", process=self._process, pid=self._pid, at=text)
