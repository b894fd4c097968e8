"""How fast streams are opened, beside nchan.

A stream counts as open once its response head has come: Encke writes it only after
the router knows the user, so whoever has the head can be reached. The clients keep
at most 256 heads outstanding, so nobody's backlog overflows.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import ClassVar

import msgspec

from . import options
from .clients import compiled, herds
from .course import Course
from .one_core import ENCKE_ONE, ENCKE_TWO, NCHAN, Contestant, in_turns, on_one_core, present
from .report import Report, Section, table
from .servers.processes import Cores


class Options(options.Options, frozen=True, kw_only=True):
    """Of `connect`."""

    QUICK: ClassVar = {"streams": 200, "rounds": 1}

    streams: options.Streams = 10_000
    rounds: options.Rounds = 3


class Sample(msgspec.Struct):
    """One server in one round."""

    contestant: str
    round: int
    streams: int
    seconds: float
    server_cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.streams / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Streams opened a second of the server's CPU time."""
        return self.streams / max(self.server_cpu_seconds, 0.01)

    def __str__(self) -> str:
        return f"{self.contestant}: {self.rate:,.0f} streams/s"


class Results(msgspec.Struct):
    """All samples."""

    samples: list[Sample]


def run(options: Options, course: Course) -> Report:
    """Time and CPU to open streams, until every client can be reached, beside nchan."""
    with on_one_core(course) as cores, compiled("load") as programs:
        contestants = present(course, options.streams, NCHAN, ENCKE_ONE, ENCKE_TWO)
        turn = partial(_round, options, programs, cores, contestants)
        samples = in_turns(course, options.rounds, turn)
    groups = [[it for it in samples if it.contestant == one.name] for one in contestants]
    opening = table(
        groups,
        {
            "server": lambda its: its[0].contestant,
            "seconds": lambda its: f"{median(it.seconds for it in its):.2f}",
            "streams/s": lambda its: f"{median(it.rate for it in its):,.0f}",
            "streams a CPU second": lambda its: f"{median(it.cpu_rate for it in its):,.0f}",
        },
    )
    title = (
        f"Opening {options.streams:,} streams, the server on one core (medians of {options.rounds})"
    )
    return Report(results=Results(samples), sections=[Section(title, [opening])])


def _round(
    options: Options, programs: Path, cores: Cores, contestants: list[Contestant], number: int
) -> Iterator[Sample]:
    for contestant in contestants:
        with (
            contestant.start(cores.server, options.streams) as server,
            herds(programs, server.port, cores.load, options.streams) as clients,
        ):
            before = server.cpu_seconds()
            seconds = sum(herd.open(size, "/test/").seconds for herd, size in clients)
            used = server.cpu_seconds() - before
        yield Sample(contestant.name, number, options.streams, seconds, used)
