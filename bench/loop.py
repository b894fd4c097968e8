"""The floor beside which a send to everyone is measured: the bare C write loop.

It holds as many streams as one process can, or more processes hold more, writes a chunk to
each of them, round by round, and `encke flood` reads them, as it does from the server, on the
same cores at the same time of the run. What the clients cost is thus in both.
"""

import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Protocol

import msgspec

from encke.tools.load.usage import cpu_seconds, process_tree

from . import clients, counts
from .clients import WriteLoop, compiled, write_loop
from .clients import Written as Said
from .course import Course
from .report import Table
from .servers.processes import BenchError
from .tools import flood

STREAMS = 19_000
"""As many as the loop's one process can hold: 20,000 files is a common hard limit."""

READERS = 2
"""Processes of the flood, at least: more than one core may read, as it is beside the server."""

MESSAGES = 400_000
"""Written in one measurement, about: some seconds."""


class Written(msgspec.Struct, frozen=True):
    """Messages were written, round by round, and have all come."""

    streams: int
    messages: int
    seconds: float
    """Until the last one had come."""
    cpu_seconds: float
    flood_cpu_seconds: float
    processes: int = 1
    """Of the loop."""

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def us(self) -> float:
        """The loop's CPU time a message, microseconds."""
        return self.cpu_seconds / self.messages * 1e6


def measure(streams: int, messages: int, directory: Path) -> Written:
    """Write about `messages` to `streams`. Raises BenchError."""
    rounds = max(1, messages // streams)
    got = directory / "loop"
    with ExitStack() as stack:
        folder = stack.enter_context(compiled("writeloop"))
        processes = -(-streams // STREAMS)
        loops = [stack.enter_context(write_loop(folder, None)) for _ in range(processes)]
        readers = stack.enter_context(
            flood(
                *("--urls", str(_addresses(loops, streams, directory / "loop-urls"))),
                *("--connections-per-process", str(-(-streams // max(READERS, processes)))),
                *("--counts", str(got)),
            )
        )
        readers.until(lambda it: it.event == "connected", 60)
        _each(loops, 1)  # warms both up
        if counts.wait_for(array("I", [1]) * streams, got, 10):
            raise BenchError("What the write loop wrote has not come.")
        pids = [loop.pid for loop in loops]
        used, flooded = cpu_seconds(pids), cpu_seconds(process_tree(readers.pid))
        began = time.monotonic()
        _each(loops, rounds)
        if counts.wait_for(array("I", [1 + rounds]) * streams, got, 10):
            raise BenchError("What the write loop wrote has not come.")
        seconds = time.monotonic() - began
        return Written(
            streams,
            rounds * streams,
            seconds,
            cpu_seconds(pids) - used,
            cpu_seconds(process_tree(readers.pid)) - flooded,
            processes,
        )


def _addresses(loops: Sequence[WriteLoop], streams: int, file: Path) -> Path:
    """The streams' addresses, in `file`: the loops take turns."""
    ports = cycle(loop.port for loop in loops)
    with file.open("w") as lines:
        lines.writelines(f"http://127.0.0.1:{port}/\n" for port in islice(ports, streams))
    return file


def _each(loops: Sequence[WriteLoop], rounds: int) -> None:
    """Write to each stream, all loops at once."""
    for loop in loops:
        loop.say(f"each {rounds}")
    for loop in loops:
        loop.hear(Said)


@contextmanager
def beside(course: Course, streams: int, messages: int) -> Iterator[list[Written]]:
    """The loop just before what is done inside, and right after it; nothing without a compiler."""
    written: list[Written] = []
    lacks = course.left_out("the C write loop", clients.missing())
    if not lacks:
        written.append(measure(streams, messages, course.place("loop-before")))
    yield written
    if not lacks:
        written.append(measure(streams, messages, course.place("loop-after")))


def said(loops: Sequence[Written]) -> str:
    """Its rates, in words."""
    return " and ".join(f"{it.rate:,.0f}/s" for it in loops) or "left out"


class Delivered(Protocol):
    """What was delivered beside the loops: messages a second, and the server's CPU time for one."""

    @property
    def delivery_rate(self) -> float: ...
    @property
    def server_us(self) -> float: ...


def beside_loops(name: str, it: Delivered, loops: Mapping[str, Written]) -> Table:
    """It, and how it compares with each of the loops; ?: too few messages to tell."""
    rows = [(name, f"{it.delivery_rate:,.0f}", f"{it.server_us:.1f} µs", "")]
    for named, loop in loops.items():
        cpu = f"{loop.us / it.server_us:.2f}" if it.server_us else "?"
        ratio = f"{it.delivery_rate / loop.rate:.2f}, {cpu}"
        rows.append((named, f"{loop.rate:,.0f}", f"{loop.us:.1f} µs", ratio))
    return Table(("", "messages/s", "CPU a message", "Encke : it, clock, CPU"), rows)
