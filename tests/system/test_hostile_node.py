"""A node whose processes, log and signals are tampered with: its own trouble stays its own."""

import contextlib
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil
import pytest

from bench.servers.encke import environment_of_ours
from bench.servers.processes import end, free_ports, unprivileged

from .node import Node, lives, until
from .raw import send, stream


def suspend(pid: int, seconds: float) -> None:
    """Stop a process for so long, as a debugger or the host of a virtual machine does."""
    process = psutil.Process(pid)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: process.status() == psutil.STATUS_STOPPED, "it is stopped")
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def test_hostile_suspension_of_the_supervisor() -> None:
    """A supervisor that was stopped for a while goes on as before: no stream notices anything."""
    with Node("--gateways", "2") as node, stream(node.address, "x") as listener:
        before = node.pids()
        for number in range(1, 7):
            suspend(node.pid, 0.3)
            assert send(node.address, "x", "x") == 1
            assert listener.chunk() == b"Recvd msg #%d: 'x'\n" % number
        assert node.process.poll() is None
        assert node.pids() == before
        node.signal(signal.SIGTERM)
        assert listener.rest() == b"0\r\n\r\n"
        assert node.wait() == 0


def test_hostile_signal_without_a_name() -> None:
    """A process that dies of a real-time signal is replaced like any other."""
    with Node("--gateways", "2") as node:
        pid = node.pid_of("gateway-0")
        os.kill(pid, signal.SIGRTMIN + 3)
        until(lambda: node.replaced("gateway-0", pid), "it is replaced")
        (died,) = (line for line in node.log if "event=process-died" in line)
        assert f'reason="signal {signal.SIGRTMIN + 3}"' in died


class Mute:
    """A node of two gateways whose log can't be read here."""

    def __init__(self, log: int | None) -> None:
        """`log` is the descriptor of its stderr; None: it's closed."""
        self.port, self._control = free_ports(2)
        command = [sys.executable, "-m", "encke", "serve", "--gateways", "2"]
        command += ["--listen", f"127.0.0.1:{self.port}", "--control", f"127.0.0.1:{self._control}"]
        if log is None:
            command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
        self.process = subprocess.Popen(
            command, stderr=log, env=environment_of_ours(), start_new_session=True
        )

    def get(self, path: str) -> str:
        """What the control port answers; "" if it doesn't, or refuses."""
        try:
            with urlopen(f"http://127.0.0.1:{self._control}{path}", timeout=10) as answer:
                return str(answer.read(), "utf-8")
        except (HTTPError, URLError, OSError):
            return ""

    def is_ready(self) -> bool:
        assert self.process.poll() is None, "it has ended"
        return "ready" in self.get("/health")

    def dropped(self) -> int:
        """Lines of the log that it says it has dropped; -1 if it doesn't say."""
        metric = r"^encke_log_lines_dropped_total (\S+)$"
        found = re.search(metric, self.get("/metrics"), re.MULTILINE)
        return -1 if found is None else int(float(found[1]))

    def children(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]


@contextlib.contextmanager
def mute(log: int | None) -> Iterator[Mute]:
    node = Mute(log)
    try:
        until(node.is_ready, "it is ready")
        yield node
    finally:
        end(node.process)


def kill_a_child(node: Mute) -> None:
    """Kill one of its processes; it's to be replaced."""
    before = node.children()
    os.kill(before[-1], signal.SIGKILL)
    until(lambda: len(node.children()) == len(before) and node.children() != before, "replaced")


@contextlib.contextmanager
def unwritable(kind: str) -> Iterator[int | None]:
    """A descriptor that nothing can be written to, or only a little."""
    with contextlib.ExitStack() as stack:
        if kind == "closed":
            yield None
        elif kind == "full disk":
            yield stack.enter_context(open("/dev/full", "wb")).fileno()
        elif kind in ("full pipe", "full socket"):
            ours: int
            if kind == "full pipe":
                theirs, ours = os.pipe()
                stack.callback(os.close, theirs)
                stack.callback(os.close, ours)
                fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
            else:
                ends = socket.socketpair()
                ours = ends[0].fileno()
                for end_ in ends:
                    stack.enter_context(end_)
            os.set_blocking(ours, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(ours, b"x")
            os.set_blocking(ours, True)
            yield ours
        else:  # nobody reads
            theirs, ours = os.pipe()
            os.close(theirs)
            stack.callback(os.close, ours)
            yield ours


@pytest.mark.parametrize("kind", ["full disk", "full pipe", "full socket", "closed", "unread"])
def test_hostile_log(kind: str) -> None:
    """A line that can't be written is dropped and counted; the node starts, replaces what dies,
    serves and ends as ever."""
    with unwritable(kind) as log, mute(log) as node:
        until(lambda: node.dropped() == 1, "that it's ready is counted")
        kill_a_child(node)
        until(lambda: node.dropped() == 3, "who died, and who was started, is counted too")
        with stream(("127.0.0.1", node.port), "x") as listener:
            assert send(("127.0.0.1", node.port), "x", "x") == 1
            assert listener.chunk() == b"Recvd msg #1: 'x'\n"
            node.process.send_signal(signal.SIGTERM)
            assert listener.rest() == b"0\r\n\r\n"
        assert node.process.wait(20) == 0


@pytest.mark.skipif(
    not (shutil.which("prlimit") and shutil.which("setpriv")), reason="needs prlimit and setpriv"
)
def test_hostile_fork() -> None:
    """While no process can be started, the others go on, and the supervisor tries again."""
    with Node("--gateways", "2", through=unprivileged()) as node:
        victim = node.pid_of("gateway-0")

        def limit(processes: str) -> None:
            command = [*unprivileged(), "prlimit", "--pid", str(node.pid), f"--nproc={processes}:"]
            subprocess.run(command, check=True)

        limit("1")
        os.kill(victim, signal.SIGKILL)
        until(lambda: sum("event=fork-failed" in line for line in node.log) == 2, "it tries again")
        assert node.current("gateway-0") is None
        with stream(node.address, "x"):
            assert send(node.address, "x", "x") == 1
        most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        limit("unlimited" if most == resource.RLIM_INFINITY else str(most))
        until(lambda: node.replaced("gateway-0", victim), "it is replaced")
        assert not any("Traceback" in line for line in node.log)
        gateway = node.current("gateway-0")
        assert gateway is not None
        assert gateway.restarts == 1


def test_hostile_hang_when_the_supervisor_is_killed() -> None:
    """Also processes that hang end with their supervisor: the ports are free at once."""
    with Node("--gateways", "2") as node:
        children = node.pids()
        assert len(children) == 4
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        os.kill(node.pid, signal.SIGKILL)
        node.wait()
        until(lambda: not any(map(lives, children)), "they ended", 5)
        for address in (node.address, node.control):
            socket.create_server(address).close()


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_hostile_look_at_the_environment(way: str) -> None:
    """Nobody finds the settings, and the keys among them, where /proc shows what a process was
    started with, or what it has open."""
    flags = ("--api-key", "Sesame") if way == "flag" else ()
    environment = {"ENCKE_API_KEY": "Sesame"} if way == "environment" else {}
    environment["BESIDES"] = "stays"
    with Node("--gateways", "1", *flags, environment=environment) as node:
        assert node.get("/state", {"Authorization": "Bearer Sesame"})[0] == 200
        assert node.get("/state")[0] == 401
        for pid in (node.pid, *node.pids()):
            for file in ("environ", "cmdline"):
                assert b"Sesame" not in Path(f"/proc/{pid}/{file}").read_bytes()
            assert b"BESIDES=stays" in Path(f"/proc/{pid}/environ").read_bytes()
            files = [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()]
            assert not any("encke-settings" in file for file in files)
