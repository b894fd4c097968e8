"""Nodes that are joined through NATS, and what that costs.

1. three NATS servers, three nodes, users spread over them, messages from all three; before,
   how long it takes until who has just logged in on one node is reached from another one
2. messages that cross NATS beside the same ones on one node, on the same core
3. very many users on one node, alone and joined; the NATS server restarted
"""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from . import clients, cluster_crossing, cluster_memory, cluster_spread, options
from .cluster_crossing import Crossing
from .cluster_memory import Memory
from .cluster_spread import Spread
from .course import Course
from .servers.processes import Cores


class Options(options.Options, frozen=True, kw_only=True):
    """Of `cluster`."""

    QUICK: ClassVar = {
        "spread_users": 300,
        "rate": 300.0,
        "minutes": 1.0 / 60,
        "interest_rounds": 20,
        "rounds": 1,
        "crossing_streams": 100,
        "crossing_seconds": 0.2,
        "users": 500,
    }

    spread_users: Annotated[
        int, Meta(ge=0, description="Users, spread over three nodes. 0: left out.")
    ] = 30_000
    rate: Annotated[float, Meta(ge=1, description="Messages a second to them, from all three.")] = (
        2_000.0
    )
    minutes: options.Minutes = 1.0
    interest_rounds: int = 300
    rounds: Annotated[
        int,
        Meta(
            ge=0,
            description="How often messages across NATS are measured beside others. 0: left out.",
        ),
    ] = 3
    crossing_streams: int = 10_000
    crossing_seconds: float = 2.0
    users: Annotated[
        int, Meta(ge=0, description="Users of one node, for memory and return. 0: left out.")
    ] = 500_000


class Results(msgspec.Struct, frozen=True):
    """What was measured; None: that was left out."""

    spread: Spread | None
    crossing: Crossing | None
    memory: Memory | None

    @property
    def faulty(self) -> bool:
        """Whether a message or a stream was lost, or worse."""
        return any(part.faulty for part in (self.spread, self.crossing, self.memory) if part)


def measure(options: Options, course: Course) -> Results:
    """Raises BenchError if a step can't be carried out."""
    return Results(
        _spread(options, course) if options.spread_users else None,
        _crossing(options, course) if options.rounds else None,
        _memory(options, course) if options.users else None,
    )


def _spread(options: Options, course: Course) -> Spread:
    users, rate = options.spread_users, options.rate
    course.done(f"{users:,} users on three nodes, {rate:,.0f} messages/s from all")
    seconds, place = options.minutes * 60, course.place("spread")
    spread = cluster_spread.measure(users, rate, seconds, options.interest_rounds, place)
    course.done(f"{spread.messages:,} messages at {spread.rate:,.0f}/s; {spread.wrong}")
    return spread


def _crossing(options: Options, course: Course) -> Crossing | None:
    what = "messages that cross NATS beside those that don't"
    if course.left_out(what, clients.missing()):
        return None
    cores = Cores.choose()
    if cores.server == cores.load:
        course.left_out("a core of its own for the load", "there is but one here")
    return cluster_crossing.measure(
        options.crossing_streams, options.crossing_seconds, options.rounds, cores, course
    )


def _memory(options: Options, course: Course) -> Memory:
    memory = cluster_memory.measure(options.users, course)
    course.done(f"all back {memory.seconds_to_return:.1f} s after NATS was")
    return memory
