"""From samples to the lines of a graph: points in time, broken where nothing is known.

A line is broken (NaN) where the server was absent, and where much more time than usual
lies between two samples: there the watcher itself was away.

Pure.
"""

import enum
import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

import msgspec

from .samples import Sample, process_rate, rate

PAUSE = 5
"""How many usual periods without a sample break a line."""


class Quantity(enum.Enum):
    """What is drawn; the value is the title of its axes, with the unit."""

    MEMORY = "memory (PSS), MiB"
    CONNECTIONS = "connections"
    MESSAGES = "messages delivered per second"
    CPU = "CPU, % of one core"


class Line(msgspec.Struct):
    """Values at times (seconds since the epoch); NaN: unknown."""

    times: list[float]
    values: list[float]

    @classmethod
    def empty(cls) -> "Line":
        """Without a point yet."""
        return cls([], [])

    def add(self, time: float, value: float | None) -> None:
        """A point more; None: unknown."""
        self.times.append(time)
        self.values.append(math.nan if value is None else value)

    @property
    def known(self) -> bool:
        """Whether there is anything to see."""
        return not all(map(math.isnan, self.values))

    @property
    def largest(self) -> float:
        """The largest value; 0 if none is known."""
        return max((value for value in self.values if not math.isnan(value)), default=0.0)


Lines = dict[Quantity, Line]


def of_server(samples: Sequence[Sample]) -> Lines:
    """The lines of one source, all of its processes together."""
    lines = {quantity: Line.empty() for quantity in Quantity}
    for before, now in _steps(samples):
        did = rate(before, now)
        known = not now.absent
        lines[Quantity.MEMORY].add(now.time, now.kb / 1024 if known else None)
        lines[Quantity.CONNECTIONS].add(now.time, now.connections if known else None)
        lines[Quantity.MESSAGES].add(now.time, did.messages)
        lines[Quantity.CPU].add(now.time, did.cpu)
    return {quantity: line for quantity, line in lines.items() if line.known}


def of_processes(samples: Sequence[Sample]) -> dict[str, Lines]:
    """The lines of each process of one source, by name."""
    names = {process.name: None for sample in samples for process in sample.processes}
    lines = {name: {quantity: Line.empty() for quantity in Quantity} for name in names}
    for before, now in _steps(samples):
        then = {process.name: process for process in before.processes} if before else {}
        here = {process.name: process for process in now.processes}
        for name, its in lines.items():
            process = here.get(name)
            if process is None:
                for line in its.values():
                    line.add(now.time, None)
                continue
            did = process_rate(then.get(name), process, now.time - before.time if before else 0)
            its[Quantity.MEMORY].add(now.time, process.kb / 1024)
            its[Quantity.CONNECTIONS].add(now.time, process.connections)
            its[Quantity.MESSAGES].add(now.time, did.messages)
            its[Quantity.CPU].add(now.time, did.cpu)
    return lines


def kind(process: str) -> str:
    """`gateway` of `gateway-12`."""
    return re.sub(r"-\d+$", "", process)


def _steps(samples: Sequence[Sample]) -> Iterator[tuple[Sample | None, Sample]]:
    """Each sample with the one before it; None: there is none, or it's too long ago."""
    steps = [after.time - before.time for before, after in pairwise(samples)]
    longest = PAUSE * median(steps) if steps else 0.0
    before: Sample | None = None
    for now in samples:
        if before is not None and now.time - before.time > longest:
            middle = (before.time + now.time) / 2
            yield None, Sample(source=now.source, time=middle, absent=True)
            before = None
        yield before, now
        before = now
