"""Is anybody lied to when a node's own processes fail, and who notices?

Under load from the checker (`bench.checker`), each kind of process meets each fault, so many
times:

    kill    kill -9
    hang    SIGSTOP, and SIGCONT after --hang seconds to whoever is still there
    fork    kill -9 while the supervisor can't fork (RLIMIT_NPROC) and has tried twice
    log     kill -9 while nobody reads the log, a pipe that is full
    disk    kill -9 while --data is on a disk that is full, and subscriptions are made

A supervisor that was killed is started anew, as a service manager does, once nothing is left of
the node; one that hung goes on. A gateway's end takes its own streams along, the supervisor's all;
who lost theirs opens another one. Others' streams that end are counted.

What is told: messages that a sender was told to be delivered and that never came, though their
stream lives (false successes; of `disk` also subscriptions that were acknowledged and aren't
there), those that came twice, to somebody else, or otherwise not as promised (the order; a count
below what came); and how long it took at most from the fault until a process in the place of the
old one was ready (of `fork`: from when the supervisor can fork again).
"""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated, ClassVar

import httpx
import msgspec
from msgspec import Meta

from encke.tools.load.usage import process_tree

from . import options
from .checker import Checker
from .course import Course
from .crowd import End
from .options import names
from .report import Cell, Report, Section, Table, table, verdict
from .servers.encke import Encke
from .servers.processes import (
    NotInTime,
    Talker,
    free_ports,
    running,
    unprivileged,
    until,
)

FAULTS = ("kill", "hang", "fork", "log", "disk")
PROCESSES = ("supervisor", "router", "gateway", "control")
GATEWAYS = 2

REPLACED = 10.0
"""Seconds from a fault until it's found and its process replaced, at most."""

PATIENCE = 60.0
"""Seconds after which it's taken for never."""

FLOWS = 100
"""Answers to senders before and after a fault: the load flows."""

PAUSE = 0.005
"""Seconds between two requests of a sender."""

OLD_ENOUGH = 1.5
"""Seconds: a process that dies younger is taken for one that can't start, and waits its turn."""

STAR = "star"
"""A publisher."""

ALL = 1_000_000
"""More streams than there are."""

SUBSCRIPTIONS = 5
"""That are made while the disk is full."""


class Options(options.Options, frozen=True, kw_only=True):
    """Of `faults`."""

    QUICK: ClassVar = {"times": 1, "hang": 1.0, "users": 50}

    faults: Annotated[str, Meta(description="Some of them, commas between.")] = ",".join(FAULTS)
    processes: Annotated[str, Meta(description="The same.")] = ",".join(PROCESSES)
    times: Annotated[int, Meta(ge=1, description="How often each process meets each fault.")] = 20
    hang: Annotated[float, Meta(ge=0.1, description="Seconds of a hang that nobody ends.")] = 30.0
    users: Annotated[int, Meta(ge=1, description="Users who listen.")] = 200


class Met(msgspec.Struct):
    """How a kind of process has met a fault."""

    fault: str
    process: str
    attempts: int = 0
    messages: int = 0
    unsure: int = 0
    """Requests that were answered 503, or broke off."""
    lost: int = 0
    doubled: int = 0
    misled: int = 0
    other: int = 0
    """Out of order, or more often than the sender was told."""
    closed: int = 0
    """Streams of others."""
    missed: int = 0
    """Times that nobody replaced it."""
    slowest: float = 0.0
    """Seconds until it was replaced."""
    errors: list[str] = []

    @property
    def is_good(self) -> bool:
        wrong = self.lost, self.doubled, self.misled, self.other, self.closed, self.missed
        return not any(wrong) and not self.errors and self.slowest <= REPLACED


class Results(msgspec.Struct):
    """By fault and process."""

    met: list[Met]


class Node(Encke):
    """A node whose log is the pipe `log`, which we read, or don't."""

    def __init__(self, log: int, *flags: str, listen: str, through: Sequence[str]) -> None:
        self._text = b""
        self._pipe = log
        self._reads = True
        command = ("sh", "-c", 'exec "$@" 2>"$0"', f"/proc/{os.getpid()}/fd/{log}", *through)
        super().__init__(*flags, listen=listen, through=command)

    @property
    def said(self) -> str:
        with suppress(BlockingIOError):
            while self._reads:
                self._text += os.read(self._pipe, 65536)
        return self._text.decode(errors="replace")

    @contextmanager
    def unread(self) -> Iterator[None]:
        """Nobody reads its log, which is full, until the block is left."""
        self._reads = False
        with suppress(BlockingIOError):
            while True:
                os.write(self._pipe, b"\n")
        yield
        self._reads = True

    @contextmanager
    def forkless(self) -> Iterator[None]:
        """It can't fork; the block is left once it has tried twice."""
        failed = self.said.count("event=fork-failed")
        self._limit("1")
        yield
        try:
            until(lambda: self.said.count("event=fork-failed") >= failed + 2, "it tries twice")
        finally:
            most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
            self._limit("unlimited" if most == resource.RLIM_INFINITY else str(most))

    def _limit(self, processes: str) -> None:
        command = [*unprivileged(), "prlimit", "--pid", str(self.pid), f"--nproc={processes}:"]
        subprocess.run(command, check=True)


class Scene:
    """A node that meets one kind of fault, on a disk of its own if that's to be full."""

    def __init__(self, fault: str, hang: float, place: Path, stack: ExitStack) -> None:
        self.fault = fault
        self.fans: set[str] = set()
        """Whose subscriptions to `STAR` were acknowledged."""
        self._hang = hang
        self._disk = place
        self._through: Sequence[str] = unprivileged() if fault == "fork" else ()
        if fault == "disk":
            mount = f"mount -t tmpfs -o size=2m none {place} && echo 1 && exec sleep infinity"
            holder = stack.enter_context(running(["unshare", "-rm", "sh", "-c", mount]))
            Talker(holder, "mount").hear(int)
            self._disk = Path(f"/proc/{holder.pid}/root{place}")
            self._through = ("nsenter", "-t", str(holder.pid), "-U", "-m", "--preserve-credentials")
        fifo = place.with_suffix(".log")
        os.mkfifo(fifo)
        self._log = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        stack.callback(os.close, self._log)
        self._flags = ("--gateways", str(GATEWAYS), "--data", str(place))
        self._listen = f"127.0.0.1:{free_ports(1)[0]}"
        self.node = self._start()
        stack.callback(self._stop)

    def _start(self) -> Node:
        self._born: dict[str, float] = {}
        self._started = time.monotonic()
        return Node(self._log, *self._flags, listen=self._listen, through=self._through)

    def _stop(self) -> None:
        self.node.stop()

    def meet(self, process: str, number: int) -> tuple[float | None, int]:
        """Let a process meet the fault: the seconds until it was replaced, None if it wasn't,
        and how many streams were its own. Raises NotInTime."""
        if process == "supervisor":
            return self._supervisor(), 0 if self.fault == "hang" else ALL
        name = f"gateway-{number % GATEWAYS}" if process == "gateway" else process
        born = self._born.get(name, self._started)
        until(lambda: time.monotonic() > born + OLD_ENOUGH, "it's old enough")
        victim = next(it for it in self.node.state().processes if it.name == name)

        def replaced(patience: float = PATIENCE) -> float:
            return until(lambda: self.node.replaced(name, victim.pid), f"{name} is new", patience)

        if self.fault == "hang":
            os.kill(victim.pid, signal.SIGSTOP)
            try:
                took = replaced(self._hang)
            except NotInTime:
                os.kill(victim.pid, signal.SIGCONT)
                return None, victim.streams
        else:
            with self._trouble():
                os.kill(victim.pid, signal.SIGKILL)
                took = 0.0 if self.fault == "fork" else replaced()
            took += replaced()
        self._born[name] = time.monotonic()
        return took, victim.streams

    def _supervisor(self) -> float:
        """It goes on if it hung; else nothing may be left of the node, and another one starts."""
        node = self.node
        if self.fault == "hang":
            os.kill(node.pid, signal.SIGSTOP)
            time.sleep(self._hang)
            os.kill(node.pid, signal.SIGCONT)
            return 0.0
        began = time.monotonic()
        with self._trouble():
            family = node.pids()
            os.kill(node.pid, signal.SIGKILL)
            until(lambda: not any(map(process_tree, family)), "all its processes have ended")
        node.kill()
        self.node = self._start()
        return time.monotonic() - began

    def _trouble(self) -> AbstractContextManager[None]:
        if self.fault == "disk":
            return self._full()
        if self.fault == "log":
            return self.node.unread()
        return self.node.forkless() if self.fault == "fork" else nullcontext()

    @contextmanager
    def _full(self) -> Iterator[None]:
        """The disk is full until the block is left. Subscriptions are made before and then."""
        self._subscribe()
        filler = self._disk / "filler"
        with open(filler, "wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        for _ in range(SUBSCRIPTIONS):
            self._subscribe()
        yield
        filler.unlink()

    def _subscribe(self) -> None:
        fan = f"fan{len(self.fans)}"
        with suppress(httpx.HTTPError):
            url = f"{self.node.control_url}/users/{fan}/subscriptions/{STAR}"
            if httpx.put(url, timeout=PATIENCE).is_success:
                self.fans.add(fan)

    def forgotten(self) -> int:
        """Subscriptions that were acknowledged and aren't there."""
        if not self.fans:
            return 0
        answer = httpx.get(f"{self.node.control_url}/users/{STAR}/subscribers", timeout=PATIENCE)
        return len(self.fans.difference(answer.json()["subscribers"]))


def run(options: Options, course: Course) -> Report:
    """Faults of a node's own processes: who is lied to, what is lost, who notices.

    Exit code 1 if a budget isn't kept: no false success, nothing doubled or at somebody else's,
    no stream of others closed, found and replaced within 10 s.
    """
    results = Results([])
    faults = names(options.faults, FAULTS, "--faults")
    processes = names(options.processes, PROCESSES, "--processes")
    for fault in faults:
        if course.left_out(fault, _missing(fault)):
            continue
        with ExitStack() as stack:
            scene = Scene(fault, options.hang, course.place(fault), stack)
            for process in processes:
                what = f"{fault}, {process}"
                no_fork = "nobody forks it" if what == "fork, supervisor" else None
                if not course.left_out(what, no_fork):
                    course.begin(what)
                    results.met.append(_measured(scene, process, options))
    broken = [f"{it.fault} of {it.process}" for it in results.met if not it.is_good]
    errors = [(f"{it.fault} {it.process}", error) for it in results.met for error in it.errors[:3]]
    return Report(
        results=results,
        sections=[
            Section(f"{options.times} times each, {options.users} users", [_table(results)]),
            *([Section("Went wrong", [Table(("", ""), errors)])] if errors else []),
        ],
        fault=f"Budgets aren't kept: {', '.join(broken)}." if broken else "",
    )


def _missing(fault: str) -> str | None:
    """What lacks for this fault here."""
    needed = {"disk": ("unshare", "nsenter"), "fork": ("prlimit", "setpriv")}
    lacking = [it for it in needed.get(fault, ()) if shutil.which(it) is None]
    if lacking:
        return f"there's no {lacking[0]}"
    if fault == "disk" and subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        return "no file system may be mounted here"
    return None


def _measured(scene: Scene, process: str, options: Options) -> Met:
    met = Met(scene.fault, process)
    with Checker(scene.node.address, seed=options.times) as checker:
        checker.pause = PAUSE
        checker.open(f"u{number}" for number in range(options.users))
        checker.start_sending()
        try:
            for number in range(options.times):
                checker.until_answered(FLOWS)
                there = [it for it in checker.crowd.streams if it.end is End.OPEN]
                took, own = scene.meet(process, number)
                checker.until_answered(FLOWS)
                met.attempts += 1
                met.missed += took is None
                met.slowest = max(met.slowest, took or 0.0)
                gone = [it for it in there if it.end is not End.OPEN]
                met.closed += max(0, len(gone) - own)
                checker.open(it.user for it in gone)
        except AssertionError as error:  # NotInTime too: it can't go on
            met.errors.append(str(error))
        found = checker.verdict()
        met.errors += checker.failures
        met.messages = found.attempted
        met.unsure = checker.unavailable + checker.broken
        met.lost, met.doubled, met.misled = map(len, (found.lost, found.doubled, found.misled))
        met.other = len(found.reordered) + len(found.denied)
    met.lost += scene.forgotten()
    return met


def _table(results: Results) -> Table:
    columns: dict[str, Callable[[Met], Cell]] = {
        "fault": lambda it: f"{it.fault} {it.process}",
        "messages": lambda it: it.messages,
        "unsure": lambda it: it.unsure,
        "lost": lambda it: it.lost,
        "doubled": lambda it: it.doubled,
        "misled": lambda it: it.misled,
        "other": lambda it: it.other,
        "closed": lambda it: it.closed,
        "new after": lambda it: f"{it.missed} x never" if it.missed else f"{it.slowest:.1f} s",
        "verdict": lambda it: verdict(it.is_good),
    }
    return table(results.met, columns)
