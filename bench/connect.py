"""How fast streams are opened, beside nchan.

A stream counts as open once its response head has come: Encke writes it only after
the router knows the user, so whoever has the head can be reached. The clients keep
at most 256 heads outstanding, so nobody's backlog overflows.
"""

from pathlib import Path
from statistics import median
from typing import Self

import msgspec

from . import options
from .clients import compiled, herds
from .contestants import ENCKE_ONE, ENCKE_TWO, NCHAN, Contestant, on_one_core, present
from .course import Course
from .report import Report, Section, Table
from .servers.processes import Cores


class Options(options.Options, frozen=True, kw_only=True):
    """Of `connect`."""

    streams: options.Streams = 10_000
    rounds: options.Rounds = 3

    def quick(self) -> Self:
        return msgspec.structs.replace(self, streams=200, rounds=1)


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


class Results(msgspec.Struct):
    """All samples."""

    samples: list[Sample]


def run(options: Options, course: Course) -> Report:
    """Time and CPU to open streams, until every client can be reached, beside nchan."""
    samples = []
    with on_one_core(course) as cores, compiled("load") as programs:
        contestants = present(course, options.streams, NCHAN, ENCKE_ONE, ENCKE_TWO)
        for number in range(1, options.rounds + 1):
            for contestant in contestants:
                sample = _sample(options, number, programs, cores, contestant)
                samples.append(sample)
                course.done(
                    f"round {number}/{options.rounds}  {sample.contestant}: "
                    f"{sample.rate:,.0f} streams/s"
                )
    return Report(
        benchmark="connect",
        options=options,
        notices=course.notices,
        results=Results(samples),
        sections=[_opening(samples, options)],
    )


def _sample(
    options: Options, number: int, programs: Path, cores: Cores, contestant: Contestant
) -> Sample:
    with (
        contestant.start(cores.server, options.streams) as server,
        herds(programs, server.port, cores.load, options.streams) as clients,
    ):
        before = server.cpu_seconds()
        seconds = sum(herd.open(size, "/test/").seconds for herd, size in clients)
        used = server.cpu_seconds() - before
    return Sample(contestant.name, number, options.streams, seconds, used)


def _opening(samples: list[Sample], options: Options) -> Section:
    rows = []
    for contestant in dict.fromkeys(sample.contestant for sample in samples):
        group = [sample for sample in samples if sample.contestant == contestant]
        rows.append(
            (
                contestant,
                f"{median(sample.seconds for sample in group):.2f}",
                f"{median(sample.rate for sample in group):,.0f}",
                f"{median(sample.cpu_rate for sample in group):,.0f}",
            )
        )
    title = (
        f"Opening {options.streams:,} streams, the server on one core (medians of {options.rounds})"
    )
    return Section(title, [Table(("server", "seconds", "streams/s", "streams a CPU second"), rows)])
