"""Is anybody lied to when a node's own processes fail, and who notices?

Under the load of `bench.checker` each kind of process meets each fault:

    kill    kill -9
    hang    SIGSTOP; who isn't replaced within --hang seconds is let go on
    fork    kill -9 while the supervisor can't fork (RLIMIT_NPROC), until it has tried twice
    log     kill -9 while the log is a full pipe that nobody reads
    disk    kill -9 while --data is on a full disk, and subscriptions are made

A killed supervisor's node must be gone with it; another one is started, as a service manager does.
A gateway takes its own streams along, a supervisor all; they are opened again. Told is what the
checker finds (lost are false successes, with subscriptions that were acknowledged and aren't there;
other is out of order, or more often than the sender was told), others' streams that ended, and the
longest time until another process was ready in the place of the old one; of `fork` from when it may
fork again.
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

from encke.node.children import HEALTHY
from encke.tools.load.usage import process_tree

from . import options
from .checker import Checker
from .course import Course
from .crowd import End
from .options import names
from .report import Cell, Report, Section, table, verdict
from .servers.encke import Encke
from .servers.processes import NotInTime, Talker, free_ports, running, unprivileged, until

FAULTS = ("kill", "hang", "fork", "log", "disk")
PROCESSES = ("supervisor", "router", "gateway", "control")
GATEWAYS = 2

REPLACED = 10.0
"""Seconds within which what failed must be found, and replaced."""

PATIENCE = 60.0
"""Seconds after which nobody is expected to."""

FLOWS = 100
"""Answers to senders before and after a fault: the load flows."""

PAUSE = 0.005
"""Seconds between two requests of a sender."""

OLD_ENOUGH = HEALTHY + 0.5
"""Seconds: who dies younger is taken for one that can't start, and waits."""

STAR, SUBSCRIPTIONS = "star", 5
"""A publisher, and how many subscribe to them while the disk is full."""

ALL = 1_000_000
"""Streams: more than there are."""


class Options(options.Options, frozen=True, kw_only=True):
    """Of `faults`."""

    QUICK: ClassVar = {"times": 1, "hang": 8.0, "hang_timeout": 2.0, "users": 50}

    faults: Annotated[str, Meta(description="Some of them, commas between.")] = ",".join(FAULTS)
    processes: Annotated[str, Meta(description="The same.")] = ",".join(PROCESSES)
    times: Annotated[int, Meta(ge=1, description="How often each process meets each fault.")] = 20
    hang: Annotated[float, Meta(ge=0.1, description="Seconds of a hang that nobody ends.")] = 30.0
    hang_timeout: Annotated[float, Meta(ge=1, description="--hang-timeout of the server.")] = 9.0
    users: Annotated[int, Meta(ge=1, description="Users who listen.")] = 200


class Met(msgspec.Struct):
    """How a kind of process has met a fault."""

    fault: str
    process: str
    times: int = 0
    messages: int = 0
    unsure: int = 0
    """Requests that were answered 503, or broke off."""
    wrong: dict[str, int] = {}
    """Broken promises, see checker.Verdict."""
    closed: int = 0
    """Streams of others."""
    missed: int = 0
    """Times that it wasn't replaced."""
    slowest: float = 0.0
    """Seconds until it was."""
    errors: list[str] = []

    @property
    def is_good(self) -> bool:
        wrong = any(self.wrong.values()) or self.closed or self.missed or self.errors
        return not wrong and self.slowest <= REPLACED


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
        """Its log is full until the block is left."""
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

    def __init__(self, fault: str, options: Options, place: Path, stack: ExitStack) -> None:
        self.fault = fault
        self._hang = options.hang
        self._fans: set[str] = set()  # whose subscriptions were acknowledged
        self._disk = place
        self._through: Sequence[str] = unprivileged() if fault == "fork" else ()
        if fault == "disk":
            mount = f"mount -t tmpfs -o size=2m none {place} && echo 1 && exec sleep infinity"
            holder = stack.enter_context(running(["unshare", "-rm", "sh", "-c", mount]))
            Talker(holder, "mount").hear(int)
            self._disk = Path(f"/proc/{holder.pid}/root{place}")
            self._through = ("nsenter", "-t", str(holder.pid), "-U", "-m", "--preserve-credentials")
        os.mkfifo(fifo := place.with_suffix(".log"))
        self._log = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        stack.callback(os.close, self._log)
        self._flags = ["--gateways", str(GATEWAYS), "--data", str(place)]
        self._flags += ["--hang-timeout", str(options.hang_timeout)]
        self._listen = f"127.0.0.1:{free_ports(1)[0]}"
        self._start()
        stack.callback(lambda: self.node.stop())  # noqa: PLW0108  (not the first one)

    def _start(self) -> None:
        self.node = Node(self._log, *self._flags, listen=self._listen, through=self._through)
        self._born: dict[str, float] = {}
        self._started = time.monotonic()

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
        """It goes on if it hung; else nothing is left of the node, and another one starts."""
        pid, family = self.node.pid, self.node.pids()
        if self.fault == "hang":
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._hang)
            os.kill(pid, signal.SIGCONT)
            return 0.0
        began = time.monotonic()
        with self._trouble():
            os.kill(pid, signal.SIGKILL)
            until(lambda: not any(map(process_tree, family)), "all its processes have ended")
        self.node.kill()
        self._start()
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
        fan = f"fan{len(self._fans)}"
        with suppress(httpx.HTTPError):
            url = f"{self.node.control_url}/users/{fan}/subscriptions/{STAR}"
            if httpx.put(url, timeout=PATIENCE).is_success:
                self._fans.add(fan)

    def forgotten(self) -> int:
        """Subscriptions that were acknowledged and aren't there."""
        url = f"{self.node.control_url}/users/{STAR}/subscribers"
        there = httpx.get(url, timeout=PATIENCE).json()["subscribers"] if self._fans else ()
        return len(self._fans.difference(there))


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
            scene = Scene(fault, options, course.place(fault), stack)
            for process in processes:
                what = f"{fault} {process}"
                none = "nobody forks it" if what == "fork supervisor" else None
                if not course.left_out(what, none):
                    course.done(what)
                    results.met.append(met := _measured(scene, process, options))
                    for error in met.errors[:5]:
                        course.done(f"{what}: {error}")
    columns: dict[str, Callable[[Met], Cell]] = {
        "": lambda it: f"{it.fault} {it.process}",
        "sent": lambda it: it.messages,
        "unsure": lambda it: it.unsure,
        "lost": lambda it: it.wrong["lost"],
        "twice": lambda it: it.wrong["doubled"],
        "misled": lambda it: it.wrong["misled"],
        "other": lambda it: it.wrong["reordered"] + it.wrong["denied"],
        "closed": lambda it: it.closed,
        "new in": lambda it: "never" if it.missed else f"{it.slowest:.1f} s",
        "verdict": lambda it: verdict(it.is_good),
    }
    broken = [f"{it.fault} {it.process}" for it in results.met if not it.is_good]
    title = f"{options.times} times each, {options.users} users"
    return Report(
        results=results,
        sections=[Section(title, [table(results.met, columns)])],
        fault=f"Budgets aren't kept: {', '.join(broken)}." if broken else "",
    )


def _missing(fault: str) -> str | None:
    """What lacks for this fault here."""
    needed = {"disk": ("unshare", "nsenter"), "fork": ("prlimit", "setpriv")}
    for program in needed.get(fault, ()):
        if shutil.which(program) is None:
            return f"there's no {program}"
    if fault == "disk" and subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        return "no file system may be mounted here"
    return None


def _measured(scene: Scene, process: str, options: Options) -> Met:
    met = Met(scene.fault, process)
    with Checker(scene.node.address, seed=options.times) as checker:
        checker.pause = PAUSE
        try:
            scene.node.until(lambda it: not it.streams, "the last ones' streams aren't counted")
            checker.open(f"u{number}" for number in range(options.users))
            checker.start_sending()
            for number in range(options.times):
                checker.until_answered(FLOWS)
                scene.node.until(lambda it: it.streams == options.users, "all are counted")
                there = [it for it in checker.crowd.streams if it.end is End.OPEN]
                took, own = scene.meet(process, number)
                checker.until_answered(FLOWS)
                gone = [it for it in there if it.end is not End.OPEN]
                met.times += 1
                met.missed += took is None
                met.slowest = max(met.slowest, took or 0.0)
                met.closed += max(0, len(gone) - own)
                checker.open(it.user for it in gone)
        except AssertionError as error:  # NotInTime too: it can't go on
            met.errors.append(str(error))
        found = checker.verdict()
        met.errors += checker.failures
        met.messages, met.unsure = found.attempted, checker.unavailable + checker.broken
        met.wrong = {name: len(getattr(found, name)) for name in found._fields[3:]}
    met.wrong["lost"] += scene.forgotten()
    return met
