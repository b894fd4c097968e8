"""A running server: ``encke serve`` as processes of their own, on free ports.

It looks at its processes only through the control port, the log and /proc, as an
operator would. Leaving a `Node` ends the server, and fails if any of its processes
crashed or was left over.
"""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec
import psutil

from encke.control.state import NodeState, ProcessState

Address = tuple[str, int]

PATIENCE = 20.0
"""Seconds until a condition that should hold at once is given up, on a busy machine."""


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> float:
    """Wait until `condition` holds; the seconds that it took. Fails with `what` after `seconds`."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < seconds, f"after {seconds:g} s still not: {what}"
        time.sleep(0.005)
    return time.monotonic() - began


class Node:
    """A server with `flags`; `files` is its open-files limit (hard), 0: as it is here.

    `through` begins its command, to run it somewhere else.
    """

    def __init__(
        self,
        *flags: str,
        listen: str = "127.0.0.1:0",
        files: int = 0,
        environment: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
    ) -> None:
        command = [*through, sys.executable, "-m", "encke", "serve", "--listen", listen]
        command += ["--control", "127.0.0.1:0", *flags]
        if files:
            command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command]
        clean = {name: value for name, value in os.environ.items() if name[:6] != "ENCKE_"}
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, env={**clean, **(environment or {})}
        )
        self.pid = self.process.pid
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            until(self._is_ready, "the server is ready")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}; its log: {self.log}") from None
        self._family = {self.pid, *self.pids()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        assert not self.crashes(), self.crashes()

    # its ports

    @property
    def address(self) -> Address:
        """Host and port of the public port."""
        return self._address("listen")

    @property
    def control(self) -> Address:
        """Host and port of the control port."""
        return self._address("control")

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body that the control port answers."""
        connection = http.client.HTTPConnection(*self.control, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()

    def state(self) -> NodeState:
        """What /state says."""
        return msgspec.json.decode(self.get("/state")[1], type=NodeState)

    def current(self, name: str) -> ProcessState | None:
        """What /state says of one process; None if it, or the control process, is away."""
        try:
            processes = self.state().processes
        except (OSError, http.client.HTTPException):
            return None
        return next((process for process in processes if process.name == name), None)

    def gateways(self) -> list[ProcessState]:
        """What /state says of the gateways."""
        return [process for process in self.state().processes if process.name[:7] == "gateway"]

    def until(
        self, condition: Callable[[NodeState], bool], what: str, seconds: float = PATIENCE
    ) -> float:
        """Wait until /state fulfils `condition`."""
        return until(lambda: condition(self.state()), what, seconds)

    # its processes

    def pids(self) -> list[int]:
        """Process ids of the supervisor's children."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        return []

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
        family = self._family | set(self.pids())
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
            until(lambda: not any(map(lives, family)), "all processes ended")
        finally:
            self.kill()

    def kill(self) -> None:
        """Leave nothing running, whatever happened. The children end when their parent does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(PATIENCE)

    def _address(self, name: str) -> Address:
        ready = next(line for line in self.log if "event=ready" in line)
        found = re.search(rf" {name}=(\S+):(\d+)", ready)
        assert found is not None
        return found[1], int(found[2])

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, "the server runs"
        return any("event=ready" in line for line in self.log)

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            for line in stderr:
                self.log.append(line.decode())


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
