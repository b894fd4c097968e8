"""Child processes: pinned to a core if need be, spoken to by lines, always ended.

Invariant: a process that was started here is ended by its id when its context is
left, however it is left; so are the processes that it had started.
"""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TypeVar

import msgspec

from encke.errors import EnckeError
from encke.tools.load.usage import process_tree

T = TypeVar("T")

ROOT = Path(__file__).parent.parent.parent
"""Of the repository."""

PATIENCE = 20.0
"""Seconds that what should take none may take on a busy machine: to start, to end, to hold."""


class BenchError(EnckeError):
    """A benchmark could not be carried out; the message says what to do."""


class NotInTime(BenchError, AssertionError):
    """What was waited for didn't come true; for a test that's a failed assertion."""


def until(
    condition: Callable[[], bool], what: str, seconds: float = PATIENCE, look: float = 0.005
) -> float:
    """Wait until `condition` holds, with a look each `look` seconds; the seconds that it took.

    Raises NotInTime with `what` after `seconds`.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise NotInTime(f"after {seconds:g} s still not: {what}")
        time.sleep(look)
    return time.monotonic() - began


class Cores(msgspec.Struct, frozen=True):
    """The core of the server and that of its load; the same one where there is but one."""

    server: int
    load: int

    @classmethod
    def choose(cls) -> "Cores":
        """The last core that this process may use for the server, the first for the load."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(server=allowed[-1], load=allowed[0])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """What is started inside inherits `core`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def started(
    command: Sequence[str | Path],
    core: int | None = None,
    *,
    pipe: int = subprocess.PIPE,
    environment: Mapping[str, str] | None = None,
    log: int | None = None,
    user: str | None = None,
    own_session: bool = True,
) -> "subprocess.Popen[bytes]":
    """`command`, running on `core` (None: where we are).

    `pipe` is what its input and output are, `log` the descriptor for what it complains of, if
    that's not ours; `user` who runs it, if that's not us. Where there's autogroup (sched(7)),
    sessions share a core equally, whatever their processes' policies: those that are to give
    way to each other must not have their `own_session`.
    """
    with nullcontext() if core is None else pinned(core):
        return subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=log,
            env=environment,
            cwd=None if user is None else "/",
            user=user,
            group=user,
            # Ctrl-C is ours to handle: we end it in order
            start_new_session=own_session,
            process_group=None if own_session else 0,
        )


@contextmanager
def running(
    command: Sequence[str | Path],
    core: int | None = None,
    *,
    patience: float = PATIENCE,
    **how: object,
) -> "Iterator[subprocess.Popen[bytes]]":
    """As `started`, until the block is left; `patience`: see `end`."""
    process = started(command, core, **how)  # type: ignore[arg-type]
    try:
        yield process
    finally:
        end(process, patience)


def end(process: "subprocess.Popen[bytes]", patience: float = PATIENCE) -> None:
    """Tell it to end, and kill it if that takes longer than `patience`; and all it has started."""
    tree = process_tree(process.pid) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in tree[1:]:
        with suppress(ProcessLookupError):  # the rule: it has ended with its parent
            os.kill(pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):  # whoever reads it has come to its end now
        with suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()
    with suppress(NotInTime):  # a killed process takes a moment to go; it may not be our child
        until(lambda: not any(map(process_tree, tree)), "all have ended")


@contextmanager
def child(module: str, argument: str, core: int | None = None) -> "Iterator[Talker]":
    """``python -m bench.MODULE ARGUMENT``, as started, in our session."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"bench.{module}", argument]
    with running(command, core, environment=environment, own_session=False) as process:
        yield Talker(process, module)


class Talker:
    """A child that says lines of JSON: by itself, or in answer to a line each.

    What it says is read by a thread as it comes, so that it never waits for us.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", name: str) -> None:
        self.process = process
        self.pid = process.pid
        self._name = name
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, name=name, daemon=True).start()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def hear(self, kind: type[T], seconds: float | None = None) -> T:
        """What it says next. Raises queue.Empty if it takes longer, BenchError if it has ended."""
        line = self._lines.get(timeout=None if seconds is None else max(0.0, seconds))
        if not line:
            self._lines.put(line)  # for who asks again
            raise self._ended()
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.MsgspecError as error:
            raise BenchError(f"{self._name} said {line!r}: {error}") from None

    def ask(self, line: str, kind: type[T]) -> T:
        """Give a command and wait for the answer."""
        self.say(line)
        return self.hear(kind)

    @property
    def complaints(self) -> str:
        """The last of what it has complained of, if that was kept."""
        return ""

    def _ended(self) -> BenchError:
        return BenchError(f"{self._name} has ended before its time. {self.complaints}".rstrip())

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends what is inside like Ctrl-C does: children are ended on the way out."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def unprivileged() -> list[str]:
    """What begins a command that limits on processes hold for: they don't for root."""
    if os.getuid():
        return []
    search = "+dac_read_search"  # Python may be where nobody else may look
    caps = ["--inh-caps", search, "--ambient-caps", search]
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *caps]


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def accepts(port: int) -> bool:
    """Whether somebody listens on this port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True
