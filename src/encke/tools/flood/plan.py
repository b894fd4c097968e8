"""What a flood is told to do, and how it's spread over processes."""

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from ...described import Flag
from ...errors import BadSettings

RESERVED_FILES = 64
"""Open files of a herd that are not streams."""

MOST = 20_000
"""Streams of one herd, however many files it may open: herds are spread over the cores."""

IN_FLIGHT = 256
"""Streams of one herd that may be under way to being open at the same time."""

TIME_WAIT = 60
"""Seconds that a stream which this side has closed keeps its port (FIN, not RST)."""

ALL_IN_FLIGHT = 3072
"""The same for all herds together: below the backlog of 4096 that servers have at most by
default (net.core.somaxconn), else the kernel drops connections, and each costs a second."""

AT_ONCE = 8
"""Herds that open their first streams at the same time, if no rate is given: fifty that take turns
on a few cores find none of their data in the caches, on either side. The next one begins when one
is nearly done."""

TURNS = 2_500
"""Turns a second of all herds together, while they let events gather: each of 50 herds would else
be woken for each message, and switching between them would cost more than reading."""

WORTH = 8
"""Events that must be ready after that pause, at the rate at which they come, for it to be made:
below TURNS * WORTH a second in all no message waits for it."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said to ``encke flood``."""

    connections: Annotated[
        int,
        Meta(ge=0, description="Streams. 0: as many as --urls has lines, else 1000."),
        Flag(short="-n", metavar="N", shown=""),
    ] = 0
    url: Annotated[
        str,
        Meta(description="Address of a stream; {} stands for the user id."),
        Flag(metavar="URL"),
    ] = "http://127.0.0.1:8000/test/{}"
    first_id: Annotated[
        int, Meta(ge=0, description="The first user id; the others follow."), Flag(metavar="N")
    ] = 1
    urls: Annotated[
        str,
        Meta(description="File with the address of a stream a line; for --url."),
        Flag(metavar="FILE"),
    ] = ""
    headers: Annotated[
        tuple[str, ...],
        Meta(description="A header of the requests; may be given several times."),
        Flag(name="--header", metavar="'NAME: VALUE'"),
    ] = ()
    interval: Annotated[
        float, Meta(ge=0, description="Milliseconds between two opens."), Flag(metavar="MS")
    ] = 0.0
    rate: Annotated[
        float,
        Meta(ge=0, description="Opens a second. 0: as fast as the server takes them."),
        Flag(metavar="N"),
    ] = 0.0
    in_flight: Annotated[
        int,
        Meta(
            ge=0,
            description="Streams of a process that may be under way to being open. 0: up to 256, "
            "and no more than a listening queue of 4096 takes from all processes together.",
        ),
        Flag(metavar="N", shown=""),
    ] = 0
    per_process: Annotated[
        int,
        Meta(
            ge=0,
            description="Streams of a process. 0: as many as its open files allow, up to 20,000.",
        ),
        Flag(name="--connections-per-process", metavar="N", shown=""),
    ] = 0
    timeout: Annotated[
        float,
        Meta(ge=0.1, description="Seconds from connecting to the response's head."),
        Flag(metavar="S"),
    ] = 30.0
    retry: Annotated[bool, Meta(description="Try again to open what could not be opened.")] = False
    reconnect: Annotated[bool, Meta(description="Open again what was closed; implies --retry.")] = (
        False
    )
    reconnect_delay: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds until a closed stream is opened again; half to one and a half of "
            "it.",
        ),
        Flag(metavar="S"),
    ] = 1.0
    cut: Annotated[
        float,
        Meta(
            ge=0,
            description="Cut all streams at once, S seconds after all were open, and open them "
            "again.",
        ),
        Flag(metavar="S", shown=""),
    ] = 0.0
    churn: Annotated[
        float,
        Meta(
            ge=0,
            description="Once all are open, close N a second, one after the other, by FIN and by "
            "RST in turns, and open them again.",
        ),
        Flag(metavar="N", shown=""),
    ] = 0.0
    verify: Annotated[
        bool,
        Meta(
            description="Check that the messages of each stream count up without a hole or "
            "repetition."
        ),
    ] = False
    counts: Annotated[
        str,
        Meta(description="Keep the number of messages of each stream in FILE."),
        Flag(metavar="FILE"),
    ] = ""
    sums: Annotated[
        str,
        Meta(description="Keep the sum of the publications' keys of each stream in FILE."),
        Flag(metavar="FILE"),
    ] = ""
    every: Annotated[
        float, Meta(ge=0.1, description="Seconds between two lines."), Flag(metavar="S")
    ] = 10.0
    duration: Annotated[
        float,
        Meta(ge=0, description="End after S seconds."),
        Flag(metavar="S", shown="until Ctrl-C"),
    ] = 0.0
    json: Annotated[bool, Meta(description="For programs: print a JSON object a line.")] = False

    def settled(self) -> "Plan":
        """With what follows from other fields: `connections`, and `rate`. Raises BadSettings."""
        if self.interval and self.rate:
            raise BadSettings("Give either --interval or --rate: one follows from the other.")
        if self.urls and self.url != Plan().url:
            raise BadSettings("Give either --url or --urls.")
        return msgspec.structs.replace(
            self,
            connections=self.connections or (0 if self.urls else 1000),
            rate=1000 / self.interval if self.interval else self.rate,
        )


class Spread(msgspec.Struct, frozen=True):
    """How many herds there are, and what one may do."""

    herds: int
    in_flight: int
    sources: int
    """Source addresses of a herd; 0: it needn't have one of its own."""
    at_once: int
    """Herds that open their first streams at the same time."""
    first_in_flight: int
    """What stands for `in_flight` meanwhile."""

    @property
    def pause(self) -> float:
        """Seconds between two turns of a herd that lets events gather."""
        return self.herds / TURNS

    def gathers(self, rate: float) -> bool:
        """Whether a herd to which so many events a second come lets them gather."""
        return rate * self.pause >= WORTH

    def share(self, herd: int, streams: int) -> range:
        """Which of `streams` a herd has: some that follow each other."""
        return range(herd * streams // self.herds, (herd + 1) * streams // self.herds)


def spread(plan: Plan, streams: int, files: int, ports: int) -> Spread:
    """How `streams` are spread, with so many open files a process, ports a source address.

    Raises BadSettings.
    """
    most = min(files - RESERVED_FILES, MOST)
    if most < 1:
        raise BadSettings(f"A process may have {files} open files here; raise it (ulimit -n).")
    herds = -(-streams // min(plan.per_process or most, most))
    at_once = herds if plan.rate else min(herds, AT_ONCE)
    waiting = plan.churn / 2 * TIME_WAIT
    sources = math.ceil((streams + waiting) / herds / ports)
    return Spread(
        herds,
        in_flight=plan.in_flight or _in_flight(herds),
        sources=sources if herds > 1 or sources > 1 else 0,
        at_once=at_once,
        first_in_flight=plan.in_flight or _in_flight(at_once),
    )


def _in_flight(herds: int) -> int:
    """Of each of so many that open at the same time."""
    return max(1, min(IN_FLIGHT, ALL_IN_FLIGHT // herds))
