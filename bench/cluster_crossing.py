"""Messages that cross NATS beside the same ones that don't, on the same core in the same run.

*Alone*: one node, which has the streams and is sent to. *Across*: the streams are at one node, the
messages are sent to another one, and a NATS server is between them. All processes of either are
on the server's core, the clients on the other one: see one_core.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path

import msgspec

from .clients import compiled, load
from .course import Course
from .one_core import NDJSON, Contestant, Ratio, Sample, in_turns, post, posts, ratio, sample
from .servers.nats import NatsServer
from .servers.processes import Cores
from .servers.server import Server

ALONE, ACROSS = "alone", "across"

SENDERS, DEPTH, BODIES = 256, 16, 4
"""Connections that POST, requests under way on each; connections with an NDJSON body each."""

WAYS = (post(DEPTH), NDJSON)

GATEWAYS = (1, 2)
"""Of each node, in turns."""


class Crossing(msgspec.Struct, frozen=True):
    """What was measured."""

    streams: int
    samples: list[Sample]
    ratios: list[Ratio]
    """Across to alone."""

    @property
    def faulty(self) -> bool:
        """Whether something that was sent didn't come once, to whom it was for."""
        return any(sample.error for sample in self.samples)


def contestant(name: str, gateways: int) -> str:
    """The name of one of those that are measured: ALONE or ACROSS, each node of so many."""
    return f"{name}, {_shape(gateways)}"


def _shape(gateways: int) -> str:
    return f"{gateways} gateway{'s' if gateways > 1 else ''} a node"


def measure(streams: int, seconds: float, rounds: int, cores: Cores, course: Course) -> Crossing:
    """`rounds` of each. Raises BenchError."""

    def turn(number: int) -> Iterator[Sample]:
        for gateways, name in product(GATEWAYS, (ALONE, ACROSS)):
            place = course.place(f"{number}-{gateways}-{name}")
            with (
                _contest(name, gateways, streams, cores.server, place) as (nodes, nats),
                load(programs, nodes[0].port, cores.load, to=nodes[-1].port) as clients,
            ):
                clients.open(streams, "/test/")
                clients.post(seconds / 4, SENDERS, 1, "/send/")  # warms all up
                ways = posts(clients, seconds, SENDERS, [DEPTH])
                ways[NDJSON] = partial(clients.ndjson, seconds, BODIES, "/send")
                yield from sample(
                    contestant(name, gateways),
                    number,
                    ways,
                    partial(_cpu_seconds, nodes),
                    clients.cpu_seconds,
                    partial(_cpu_seconds, nats),
                    claims=False,
                    ndjson=False,
                )

    with compiled("load") as programs:
        samples = in_turns(course, rounds, turn)
    return Crossing(streams, samples, list(ratios(samples)))


@contextmanager
def _contest(
    name: str, gateways: int, streams: int, core: int, place: Path
) -> Iterator[tuple[list[Server], list[NatsServer]]]:
    """The nodes, of which the first has the streams and the last is sent to; NATS between."""
    node = Contestant("Encke", gateways)
    if name == ALONE:
        with node.start(core, streams) as server:
            yield [server], []
        return
    with NatsServer(place, core=core) as nats:
        joined = ("--nats", nats.url, "--node-name")
        with (
            node.start(core, streams, *joined, "streams") as held,
            node.start(core, 0, *joined, "senders") as sent_to,
        ):
            yield [held, sent_to], [nats]


def _cpu_seconds(servers: Sequence[Server]) -> float:
    return sum(it.cpu_seconds() for it in servers)


def ratios(samples: Sequence[Sample]) -> Iterator[Ratio]:
    """How messages that cross compare with those that don't."""
    for gateways, how in product(GATEWAYS, WAYS):
        across, alone = ((contestant(it, gateways), how) for it in (ACROSS, ALONE))
        yield from ratio(samples, f"{_shape(gateways)}, {how}", across, alone)
