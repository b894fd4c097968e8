"""What a flood is told to do, and how it's spread over processes."""

import math

import msgspec

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
    """The flags of the command; times in seconds."""

    url: str = "http://127.0.0.1:8000/test/{}"
    urls: str = ""
    """A file with an address a line; then `url` and `first_id` mean nothing."""
    connections: int = 0
    """0: as many as there are lines in `urls`."""
    first_id: int = 1
    headers: tuple[str, ...] = ()
    """Of the request, besides those that every stream has; ``Name: value``."""
    rate: float = 0.0
    """Opens a second, 0: as fast as the server takes them."""
    in_flight: int = 0
    """0: as IN_FLIGHT and ALL_IN_FLIGHT allow."""
    per_process: int = 0
    """0: as many as files and ports allow."""
    timeout: float = 30.0
    """From connecting to the response's head."""
    retry: bool = False
    reconnect: bool = False
    reconnect_delay: float = 1.0
    cut: float = 0.0
    """All are cut so long after all were connected; 0: only when SIGUSR1 comes."""
    churn: float = 0.0
    """Streams closed and opened again a second, once all were connected."""
    verify: bool = False
    counts: str = ""
    sums: str = ""
    every: float = 10.0
    duration: float = 0.0
    """0: until Ctrl-C."""
    json: bool = False


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
