"""Servers on one core, one after the other, with the same clients in C on another one: who they
are (Encke in two shapes, and nchan), and how what they do with messages is measured and compared.

A round measures each once, and ratios are taken within a round: a machine that is slow for a
while is slow for all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import TypeVar

import msgspec

from . import clients
from .clients import Load, Sent
from .course import Course
from .meter import Meter
from .servers.encke import ROOM, Encke
from .servers.nginx import NCHAN_STREAMS, nchan, nchan_missing
from .servers.processes import BenchError, Cores, pinned
from .servers.server import Server

GATEWAY_STREAMS = 19_000
"""Streams that a gateway surely holds."""

NDJSON = "NDJSON"

T = TypeVar("T")


class Lacking(BenchError):
    """Nothing can be measured, since something isn't installed; that's no failure."""


class Contestant(msgspec.Struct, frozen=True):
    """A server that can be started."""

    name: str
    gateways: int = 0
    """Encke's --gateways; 0: it's nchan."""

    def start(self, core: int | None, streams: int, *flags: str) -> Server:
        """Run it on `core`, able to hold `streams`."""
        if not self.gateways:
            return nchan(core)
        if streams > self.gateways * GATEWAY_STREAMS:
            flags = (*flags, "--max-connections", str(streams + ROOM))
        return Encke("--gateways", str(self.gateways), *flags, core=core)

    def missing(self, streams: int) -> str | None:
        """Why it can't be measured here with `streams`, if it can't."""
        if self.gateways:
            return None
        if reason := nchan_missing():
            return reason
        return f"one worker holds {NCHAN_STREAMS:,} streams" if streams > NCHAN_STREAMS else None


ENCKE_ONE = Contestant("Encke, 1 gateway", 1)
ENCKE_TWO = Contestant("Encke, 2 gateways", 2)
"""Router and gateways in processes of their own: the shape that a 2-core machine gets."""
NCHAN = Contestant("nchan")


def present(course: Course, streams: int, *wanted: Contestant) -> list[Contestant]:
    """Those of them that can be measured here; it's said why the others can't."""
    return [it for it in wanted if not course.left_out(it.name, it.missing(streams))]


@contextmanager
def on_one_core(course: Course) -> Iterator[Cores]:
    """The core for the servers, and that for their clients in C, on which we are too, inside.

    Raises Lacking if there is no C compiler.
    """
    if reason := clients.missing():
        raise Lacking(f"this benchmark, whose clients are in C: {reason}.")
    cores = Cores.choose()
    if cores.server == cores.load:
        course.left_out("a core of its own for the load", "there is but one here")
    with pinned(cores.load):
        yield cores


def in_turns(course: Course, rounds: int, turn: Callable[[int], Iterable[T]]) -> list[T]:
    """What `turn` measures in each of the rounds, numbered from 1; said as it comes."""
    samples = []
    for number in range(1, rounds + 1):
        for sample in turn(number):
            course.done(f"round {number}/{rounds}  {sample}")
            samples.append(sample)
    return samples


class Sample(msgspec.Struct):
    """What a contestant did with messages that were sent in one way, in one round."""

    contestant: str
    how: str
    round: int
    messages: int
    """That have come."""
    seconds: float
    server_cpu_seconds: float
    load_cpu_seconds: float
    other_cpu_seconds: float
    """What the rest of the machine was busy with meanwhile: large means noise."""
    nats_cpu_seconds: float = 0.0
    """Of the server's, what a NATS server took."""
    error: str = ""
    """Why what came isn't what was sent, if so."""

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Messages a second of the server's CPU time."""
        return self.messages / max(self.server_cpu_seconds, 0.01)

    @property
    def us(self) -> float:
        """The server's CPU time a message, microseconds."""
        return self.server_cpu_seconds / max(1, self.messages) * 1e6

    @property
    def nats_us(self) -> float:
        """Of it, what a NATS server took."""
        return self.nats_cpu_seconds / max(1, self.messages) * 1e6

    @property
    def load_share(self) -> float:
        """Of a core, for the clients."""
        return self.load_cpu_seconds / self.seconds

    @property
    def other_share(self) -> float:
        """Of a core, for all else."""
        return self.other_cpu_seconds / self.seconds

    def __str__(self) -> str:
        return f"{self.contestant}, {self.how}: {self.rate:,.0f} messages/s  {self.error}"


Way = Callable[[], Sent]
"""Sends messages, until all have come."""


def post(depth: int) -> str:
    """The name of a way: one request a message, `depth` under way on each connection."""
    return f"POST x{depth}"


def posts(clients: Load, seconds: float, senders: int, depths: Iterable[int]) -> dict[str, Way]:
    """Sending for so long by POST."""
    return {post(it): partial(clients.post, seconds, senders, it, "/send/") for it in depths}


def sample(
    contestant: str,
    round: int,
    ways: Mapping[str, Way],
    *cpu_seconds: Callable[[], float],
    claims: bool,
    ndjson: bool,
) -> Iterator[Sample]:
    """Each of the `ways`. `cpu_seconds` tell those of the server, the load, and NATS, if there is
    one; `claims`, `ndjson`: see Sent.wrong."""
    for how, act in ways.items():
        meter = Meter(*cpu_seconds)
        sent = act()
        server, load, *nats, others = meter.used()
        error = sent.wrong(claims=claims, ndjson=ndjson and how == NDJSON)
        yield Sample(
            contestant, how, round, sent.received, sent.seconds, server + sum(nats), load, others,
            sum(nats), error,
        )  # fmt: skip


def groups(samples: Iterable[Sample]) -> dict[tuple[str, str], list[Sample]]:
    """Those of each contestant and way, of all rounds."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for it in samples:
        found.setdefault((it.contestant, it.how), []).append(it)
    return found


class Ratio(msgspec.Struct):
    """How two contestants compare: the median over the rounds, and each round."""

    name: str
    wall: float
    cpu: float
    """Of messages a CPU second."""
    wall_rounds: list[float]
    cpu_rounds: list[float]


def ratio(
    samples: Iterable[Sample], name: str, ours: tuple[str, str], theirs: tuple[str, str]
) -> Iterator[Ratio]:
    """Our contestant and way to theirs, in the rounds in which there are both."""
    of = {(it.contestant, it.how, it.round): it for it in samples if it.messages}
    pairs = [
        (it, other)
        for it in of.values()
        if (it.contestant, it.how) == ours and (other := of.get((*theirs, it.round)))
    ]
    if pairs:
        wall = [a.rate / b.rate for a, b in pairs]
        cpu = [a.cpu_rate / b.cpu_rate for a, b in pairs]
        yield Ratio(name, median(wall), median(cpu), wall, cpu)
