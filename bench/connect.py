"""``python -m bench connect``: how fast streams are opened, beside nchan.

A stream counts as open once its response head has come: Encke writes it only after
the router knows the user, so whoever has the head can be reached. The clients keep
at most 256 heads outstanding, so nobody's backlog overflows.

May import: peers, processes, programs, report.
"""

from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec
from rich.table import Table

from . import report
from .peers import ENCKE_ONE, ENCKE_TWO, NCHAN, Kind
from .processes import Cores
from .programs import LOAD_STREAMS, compiled, load


class Options(msgspec.Struct, frozen=True):
    """The flags of the command."""

    streams: int = 10_000
    rounds: int = 3


class Sample(msgspec.Struct):
    """One server in one round."""

    contestant: str
    round: int
    streams: int
    seconds: float
    server_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Streams opened a second."""
        return self.streams / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Streams opened a second of the server's CPU time."""
        return self.streams / max(self.server_cpu_seconds, 0.01)


class Results(msgspec.Struct):
    """All samples."""

    samples: list[Sample]


def run(options: Options, cores: Cores, notices: list[str]) -> Results:
    """Measure; raises BenchError if a contestant can't be measured at all."""
    samples = []
    with compiled("load") as programs:
        for number in range(1, options.rounds + 1):
            for kind in (NCHAN, ENCKE_ONE, ENCKE_TWO):
                if reason := kind.missing(options.streams):
                    report.notice(notices, f"{kind.name}: {reason}.")
                    continue
                sample = _sample(options, programs, cores, kind)
                sample.round = number
                samples.append(sample)
                report.progress(
                    f"round {number}/{options.rounds}  {kind.name}: {sample.rate:,.0f} streams/s"
                )
    return Results(samples)


def _sample(options: Options, programs: Path, cores: Cores, kind: Kind) -> Sample:
    with ExitStack() as stack:
        server = stack.enter_context(kind.start(cores.server, options.streams))
        herds = [
            stack.enter_context(load(programs, server.port, cores.load, number))
            for number in range(-(-options.streams // LOAD_STREAMS))
        ]
        before, seconds, left = server.cpu_seconds(), 0.0, options.streams
        for herd in herds:
            seconds += herd.open(min(left, LOAD_STREAMS), "/test/").seconds
            left -= LOAD_STREAMS
        used = server.cpu_seconds() - before
    return Sample(kind.name, 0, options.streams, seconds, used)


def tables(results: Results, options: Options) -> list[Table]:
    """The outcome, to be printed."""
    made = report.table(
        f"Opening {options.streams:,} streams, the server on one core "
        f"(medians of {options.rounds})",
        "server", "seconds", "streams/s", "streams a CPU second",
    )  # fmt: skip
    for contestant in dict.fromkeys(sample.contestant for sample in results.samples):
        group = [sample for sample in results.samples if sample.contestant == contestant]
        made.add_row(
            contestant,
            f"{median(sample.seconds for sample in group):.2f}",
            f"{median(sample.rate for sample in group):,.0f}",
            f"{median(sample.cpu_rate for sample in group):,.0f}",
        )
    return [made]
