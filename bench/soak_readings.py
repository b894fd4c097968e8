"""What is read of a node while it's soaked, and how each quantity went.

PSS comes from the recorder's samples. A page that n processes share is 1/n of a page in it,
so that a process's PSS grows when another one ends that shared the program's pages, or
writes to one that they had in common since the fork. That's no growth: so what is judged is
anonymous memory, all that a process can have written to (the heap, the stacks). Of a
process it's what it has mapped, shared or not, which nobody else can change; of all
together each page counts once.

Beside it stand the counts that must not creep: open files and threads of each process,
connections, users, logins.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from statistics import fmean
from typing import NamedTuple

import msgspec

from encke.tools.watch import Sample, Slope
from encke.tools.watch.trend import BLOCKS, fit

from .servers.encke import Encke
from .servers.processes import BenchError

LOOKS, LOOK = 4, 0.05
"""More looks at the open files of the processes, and seconds between them."""

PSS, OWN, FILES, THREADS = "PSS, KB", "anonymous, KB", "open files", "threads"
"""Quantities of a process; those of the node are fields of its state."""

NODE = ("connections", "users", "logins_held", "queued_bytes")
"""Fields of the state that are gauges: none may creep."""

WHOLE = "all"
"""The name that stands for all processes together."""

Key = tuple[str, str]
"""(a process or WHOLE, a quantity)."""


class Track(msgspec.Struct, frozen=True):
    """How a quantity went, after the warm-up. `slope`, an hour, is None: too few readings."""

    process: str
    quantity: str
    lowest: float
    mean: float
    highest: float
    slope: Slope | None


class Inventory(msgspec.Struct, frozen=True):
    """What a node holds at one time; open files and threads by process."""

    when: str
    connections: int
    users: int
    logins: int
    logouts: int
    files: dict[str, int]
    threads: dict[str, int]
    memory: int
    """Anonymous, of all processes together, KB."""

    @property
    def held(self) -> tuple[int, int]:
        """Connections, and users in the router's map."""
        return self.connections, self.users

    def returned_to(self, before: "Inventory") -> bool:
        """Whether all that was taken since is given back, but memory."""
        return (
            self.held == before.held
            and not more(self.files, before.files)
            and not more(self.threads, before.threads)
        )


def more(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """By process, how many more there are now."""
    grown = {name: count - before.get(name, 0) for name, count in now.items()}
    return {name: count for name, count in grown.items() if count > 0}


def inventory(node: Encke, when: str) -> Inventory:
    """What the node holds now. Raises BenchError."""
    state = node.state()
    pids = {process.name: process.pid for process in state.processes}
    try:
        return Inventory(
            when=when,
            connections=state.connections,
            users=state.users,
            logins=state.logins,
            logouts=state.logouts,
            files=_fewest_files(pids),
            threads={name: threads(pid) for name, pid in pids.items()},
            memory=sum(anonymous(pid).shares for pid in pids.values()),
        )
    except OSError as error:
        raise BenchError(f"A process of the node has gone ({error}).") from None


def _fewest_files(pids: Mapping[str, int]) -> dict[str, int]:
    """Open files without those of a moment: the connection that has just asked for the state."""
    fewest = {name: open_files(pid) for name, pid in pids.items()}
    for _ in range(LOOKS):
        time.sleep(LOOK)
        fewest = {name: min(fewest[name], open_files(pid)) for name, pid in pids.items()}
    return fewest


class History:
    """Columns: a value a reading of each quantity, all equally long."""

    def __init__(self, node: Encke) -> None:
        self._node = node
        self.times: list[float] = []
        """Seconds since the epoch."""
        self.columns: dict[Key, list[int]] = {}

    def take(self, sample: Sample) -> None:
        """A reading: the recorder's sample of the node, and all else as it is right now.

        One in which the node or a process of it is missing is left out: the graph shows it.
        """
        with suppress(BenchError, OSError):
            row = dict(self._read(sample))
            if row and (not self.columns or row.keys() == self.columns.keys()):
                self.times.append(sample.time)
                for key, value in row.items():
                    self.columns.setdefault(key, []).append(value)

    def _read(self, sample: Sample) -> Iterator[tuple[Key, int]]:
        if sample.absent:
            return
        memory = {process.name: anonymous(process.pid) for process in sample.processes}
        yield (WHOLE, PSS), sample.kb
        yield (WHOLE, OWN), sum(own.shares for own in memory.values())
        for process in sample.processes:
            yield (process.name, PSS), process.kb
            yield (process.name, OWN), memory[process.name].mapped
            yield (process.name, FILES), open_files(process.pid)
            yield (process.name, THREADS), threads(process.pid)
        state = self._node.state()
        for name in NODE:
            yield (WHOLE, name), getattr(state, name)

    def tracks(self, begin: float, end: float) -> list[Track]:
        """How each quantity went between these times."""
        taken = [at for at, time in enumerate(self.times) if begin <= time <= end]
        return [
            _track(key, [(self.times[at], values[at]) for at in taken])
            for key, values in self.columns.items()
            if taken
        ]

    def table(self) -> str:
        """All readings, for a spreadsheet: tab-separated, with a line of names."""
        names = ["seconds", *(f"{process} {quantity}" for process, quantity in self.columns)]
        rows = zip(self.times, *self.columns.values(), strict=True)
        lines = (
            "\t".join([f"{time - self.times[0]:.1f}", *map(str, values)]) for time, *values in rows
        )
        return "\n".join(["\t".join(names), *lines]) + "\n"


def _track(key: Key, points: Sequence[tuple[float, int]]) -> Track:
    values = [value for _, value in points]
    enough = len({time for time, _ in points}) >= BLOCKS
    slope = fit(points) if enough else None
    return Track(*key, min(values), fmean(values), max(values), slope)


def open_files(pid: int) -> int:
    """Open files of the process; OSError if it has gone."""
    directory = f"/proc/{pid}/fd"
    return os.stat(directory).st_size or len(os.listdir(directory))  # 0: before Linux 6.2


def threads(pid: int) -> int:
    """Threads of the process; OSError if it has gone."""
    return len(os.listdir(f"/proc/{pid}/task"))


class Anonymous(NamedTuple):
    """Anonymous memory of a process, KB; of `shares` a page that n share is 1/n."""

    mapped: int
    shares: int


def anonymous(pid: int) -> Anonymous:
    """Anonymous memory of the process; OSError if it has gone."""
    kb = {}
    with open(f"/proc/{pid}/smaps_rollup", "rb") as lines:
        for line in lines:
            name, value, *_ = line.split()
            kb[name] = value
    if b"Anonymous:" not in kb:
        raise ProcessLookupError(f"process {pid} has ended")  # a zombie has no mappings
    return Anonymous(int(kb[b"Anonymous:"]), int(kb[b"Pss_Anon:"]))
