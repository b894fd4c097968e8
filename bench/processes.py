"""Child processes of a benchmark: pinned to a core if need be, and always ended.

Invariant: a process that was started here is ended by its id when its context is
left, however it is left; so are the processes that it had started.

May import: load.usage, errors.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import TypeVar

import msgspec

from encke.errors import EnckeError
from encke.tools.load.usage import process_tree

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that a process may take to end by itself; then it's killed."""


class BenchError(EnckeError):
    """A benchmark could not be carried out; the message says what to do."""


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


@contextmanager
def running(
    command: Sequence[str],
    core: int | None,
    *,
    environment: Mapping[str, str] | None = None,
    log: int | None = None,
    user: str | None = None,
    patience: float = PATIENCE,
    own_session: bool = True,
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` on `core` (None: where we are), with pipes for input and output.

    `log` is the descriptor for what it complains of, if that's not ours; `user` who runs it, if
    that's not us. It's told to end when the block is left, and killed if it takes longer than
    `patience` seconds. Where there's autogroup (sched(7)), sessions share a core equally, whatever
    their processes' policies: those that are to give way to each other must not have their
    `own_session`.
    """
    with nullcontext() if core is None else pinned(core):
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            user=user,
            # Ctrl-C is ours to handle: we end it in order
            start_new_session=own_session,
            process_group=None if own_session else 0,
        )
    try:
        yield process
    finally:
        _end(process, patience)


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    tree = process_tree(process.pid) if process.poll() is None else []
    process.terminate()
    for pipe in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in tree[1:]:
        with suppress(ProcessLookupError):  # the rule: it has ended with its parent
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while any(map(process_tree, tree)) and time.monotonic() < deadline:
        time.sleep(0.01)  # a killed process takes a moment to go; it may not be our child


class Talker:
    """A child that answers each line with a line of JSON."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self._process = process
        self._name = name
        self.pid = process.pid

    def say(self, line: str) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BenchError(f"{self._name} has ended before its time.") from None

    def hear(self, kind: type[T]) -> T:
        """Its next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self._name} has ended before its time.")
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.MsgspecError as error:
            raise BenchError(f"{self._name} said {line!r}: {error}") from None

    def ask(self, line: str, kind: type[T]) -> T:
        """Give a command and wait for the answer."""
        self.say(line)
        return self.hear(kind)


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
