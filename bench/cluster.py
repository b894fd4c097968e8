"""``python -m bench cluster``: nodes that are joined through NATS, and what that costs.

1. three NATS servers, three nodes, users spread over them, messages from all three; before,
   how long it takes until who has just logged in on one node is reached from another one
2. messages that cross NATS beside the same ones on one node, on the same core
3. very many users on one node, alone and joined; the NATS server restarted

May import: cluster_crossing, cluster_memory, cluster_spread, course, processes.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from . import cluster_crossing, cluster_memory, cluster_spread, programs, report
from .cluster_crossing import Crossing
from .cluster_memory import Memory
from .cluster_spread import Spread
from .processes import Cores

T = TypeVar("T")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of the command, and what follows from them. 0 users, rounds: left out."""

    spread_users: int = 30_000
    rate: float = 2_000.0
    seconds: float = 60.0
    interest_rounds: int = 300
    rounds: int = 3
    crossing_streams: int = 10_000
    crossing_seconds: float = 2.0
    users: int = 500_000


QUICK = Options(
    spread_users=300,
    rate=300,
    seconds=1,
    interest_rounds=20,
    rounds=1,
    crossing_streams=100,
    crossing_seconds=0.2,
    users=500,
)
"""A smoke run."""


class Results(msgspec.Struct, frozen=True):
    """What was measured; None: that was left out."""

    spread: Spread | None
    crossing: Crossing | None
    memory: Memory | None

    @property
    def faulty(self) -> bool:
        """Whether a message or a stream was lost, or worse."""
        return any(part.faulty for part in (self.spread, self.crossing, self.memory) if part)


def run(options: Options, notices: list[str]) -> Results:
    """Measure; raises BenchError if a step can't be carried out."""
    return Results(
        _spread(options) if options.spread_users else None,
        _crossing(options, notices) if options.rounds else None,
        _memory(options) if options.users else None,
    )


def _spread(options: Options) -> Spread:
    report.progress(
        f"{options.spread_users:,} users on three nodes, {options.rate:,.0f} messages/s from all"
    )
    measure = partial(
        cluster_spread.measure,
        options.spread_users,
        options.rate,
        options.seconds,
        options.interest_rounds,
    )
    spread = _in_directory(measure)
    report.progress(f"{spread.messages:,} messages at {spread.rate:,.0f}/s; {spread.wrong}")
    return spread


def _crossing(options: Options, notices: list[str]) -> Crossing | None:
    if reason := programs.missing():
        report.notice(notices, f"messages that cross NATS beside those that don't: {reason}.")
        return None
    cores = Cores.choose()
    if cores.server == cores.load:
        report.notice(notices, "a core of its own for the load: there is but one here.")

    def measure(directory: Path) -> Crossing:
        return cluster_crossing.measure(
            options.crossing_streams,
            options.crossing_seconds,
            options.rounds,
            cores,
            directory,
            report.progress,
        )

    return _in_directory(measure)


def _memory(options: Options) -> Memory:
    def measure(directory: Path) -> Memory:
        return cluster_memory.measure(options.users, directory, report.progress)

    memory = _in_directory(measure)
    report.progress(f"all back {memory.seconds_to_return:.1f} s after NATS was")
    return memory


def _in_directory(measure: Callable[[Path], T]) -> T:
    with tempfile.TemporaryDirectory(prefix="encke-bench-") as directory:
        return measure(Path(directory))
