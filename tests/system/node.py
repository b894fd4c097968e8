"""A running server for tests; leaving a `Node` fails if a process of it crashed or was left over.

Its processes are looked at only through the control port, the log and /proc, as an operator
would.
"""

import contextlib
import os
import signal
from collections.abc import Iterator

import psutil

from bench.servers.encke import Address, Encke
from bench.servers.processes import PATIENCE, until
from encke.control.state import ProcessState

__all__ = ["PATIENCE", "Address", "Node", "cpu_seconds", "lives", "memory", "until"]


class Node(Encke):
    """A server. A process of it that a test stops isn't killed, if no flag wants that."""

    USUAL = ("--hang-timeout", "0")

    def gateways(self) -> list[ProcessState]:
        """What /state says of the gateways."""
        return [process for process in self.state().processes if process.name[:7] == "gateway"]

    def pid_of(self, name: str) -> int:
        """Process id of one process that must be there."""
        process = self.current(name)
        assert process is not None, f"there is no {name}"
        return process.pid

    @contextlib.contextmanager
    def only_gateway(self, index: int) -> Iterator[None]:
        """Inside, new connections go to this gateway: the others are stopped meanwhile."""
        others = [it.pid for it in self.gateways() if it.name != f"gateway-{index}"]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: all(map(_is_stopped, others)), "the others are stopped")
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    # its end

    def crashes(self) -> list[str]:
        """Lines of the log that tell of a failure in the server's own code."""
        return [line for line in self.log if "event=crashed" in line or "Traceback" in line]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the supervisor's end; its exit code."""
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End the server; fails if it doesn't end, or leaves a process behind."""
        family = {self.pid, *self.first_pids, *self.pids()}
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
            until(lambda: not any(map(lives, family)), "all processes ended")
        finally:
            self.kill()

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert not self.crashes(), self.crashes()


def _is_stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def lives(pid: int) -> bool:
    """Whether there is such a process, and it hasn't ended yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def memory(pid: int) -> int:
    """Bytes that the process has written: whoever else shares a page, or shares it no more."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def cpu_seconds(pid: int) -> float:
    """Processor time that the process has taken so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
