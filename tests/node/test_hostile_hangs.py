"""Who is taken for hung, and when."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from bench.servers.processes import until
from encke.node.children import Child
from encke.node.hangs import Hangs
from encke.scheduling import CROWD
from encke.scoreboard import FIRST_GATEWAY, Field, Scoreboard

CORES = len(os.sched_getaffinity(0))
TIMEOUT = 1.0


class Hanging:
    """A process that never ticks, and what is there to find that."""

    def __init__(self, program: str, timeout: float, gateways: int) -> None:
        ready = "import sys, time; sys.stdout.write('x'); sys.stdout.flush();"
        command = [sys.executable, "-c", f"{ready}{program}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.read(1) == b"x"
        self.process.stdout.close()
        scoreboard = Scoreboard()
        scoreboard.row(FIRST_GATEWAY)[Field.TICK] = 1
        self.child = Child("gateway-0", FIRST_GATEWAY, lambda: None, self.process.pid)
        self.hangs = Hangs(scoreboard, timeout, gateways)

    def end(self) -> int | None:
        """What it dies of, looked at for three times as long as it has; None: it lives."""
        give_up = time.monotonic() + 3 * TIMEOUT
        while self.process.poll() is None and time.monotonic() < give_up:
            self.hangs.look([self.child])
            time.sleep(0.02)
        return self.process.poll()


@pytest.fixture(autouse=True)
def _no_stacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGUSR1 does nothing to the processes here, who inherit that."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("program", "timeout", "gateways", "dies"),
    [
        ("time.sleep(600)", TIMEOUT, 1, True),
        ("time.sleep(600)", TIMEOUT, 100 * CROWD * CORES, True),
        ("time.sleep(600)", 0, 1, False),
        ("exec('while True: pass')", TIMEOUT, CROWD * CORES, True),
        ("exec('while True: pass')", TIMEOUT, 100 * CROWD * CORES, False),
    ],
    ids=["sleeps", "sleeps in a crowd", "never", "spins", "spins in a crowd"],
)
def test_who_is_killed(program: str, timeout: float, gateways: int, dies: bool) -> None:
    """Who waits and who spins; but in a crowd who spins may be slow only, and with 0 nobody."""
    hanging = Hanging(program, timeout, gateways)
    with hanging.process:
        try:
            assert hanging.end() == (-signal.SIGKILL if dies else None)
        finally:
            hanging.process.kill()


def test_who_is_stopped_in_a_crowd() -> None:
    """A process that is stopped isn't slow."""
    hanging = Hanging("exec('while True: pass')", TIMEOUT, 100 * CROWD * CORES)
    with hanging.process:
        try:
            process = psutil.Process(hanging.process.pid)
            process.suspend()
            until(lambda: process.status() == psutil.STATUS_STOPPED, "it is stopped")
            assert hanging.end() == -signal.SIGKILL
        finally:
            hanging.process.kill()
