"""Messages that cross NATS beside the same ones that don't, on the same core in the same run.

*Alone*: one node, which has the streams and is sent to. *Across*: the streams are at one node, the
messages are sent to another one, and a NATS server is between them. All processes of either are
on the server's core, the clients on the other one. A round measures both, one right after
the other; the ratios are taken within a round.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from statistics import median

import msgspec

from .clients import Sent, compiled, load
from .contestants import Contestant
from .course import Course
from .meter import Meter
from .servers.nats import NatsServer
from .servers.processes import Cores
from .servers.server import Server

ALONE, ACROSS = "alone", "across"

SENDERS, DEPTH, BODIES = 256, 16, 4
"""Connections that POST, requests under way on each; connections with an NDJSON body each."""

WAYS = (f"POST x{DEPTH}", "NDJSON")

GATEWAYS = (1, 2)
"""Of each node, in turns."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement; CPU in seconds."""

    round: int
    contestant: str
    gateways: int
    how: str
    messages: int
    """That have come."""
    seconds: float
    nodes_cpu: float
    nats_cpu: float
    load_cpu: float
    others_cpu: float
    error: str
    """Why what came isn't what was sent, if so."""

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def us(self) -> float:
        """CPU time a message of all server processes, NATS among them, microseconds."""
        return (self.nodes_cpu + self.nats_cpu) / max(1, self.messages) * 1e6


class Ratio(msgspec.Struct, frozen=True):
    """Across to alone: the medians over the rounds."""

    gateways: int
    how: str
    rate: float
    cpu: float
    """Messages a CPU second."""


class Crossing(msgspec.Struct, frozen=True):
    """What was measured."""

    streams: int
    samples: list[Sample]
    ratios: list[Ratio]

    @property
    def faulty(self) -> bool:
        """Whether something that was sent didn't come once, to whom it was for."""
        return any(sample.error for sample in self.samples)


def measure(streams: int, seconds: float, rounds: int, cores: Cores, course: Course) -> Crossing:
    """`rounds` of each. Raises BenchError."""
    samples: list[Sample] = []
    with compiled("load") as programs:
        for number, gateways, name in product(range(rounds), GATEWAYS, (ALONE, ACROSS)):
            place = course.place(f"{number}-{gateways}-{name}")
            with (
                _contest(name, gateways, streams, cores.server, place) as (nodes, nats),
                load(programs, nodes[0].port, cores.load, to=nodes[-1].port) as clients,
            ):
                clients.open(streams, "/test/")
                clients.post(seconds / 4, SENDERS, 1, "/send/")  # warms all up
                for how in WAYS:
                    meter = Meter(
                        lambda nodes=nodes: sum(it.cpu_seconds() for it in nodes),  # type: ignore[misc]
                        lambda nats=nats: sum(it.cpu_seconds() for it in nats),  # type: ignore[misc]
                        clients.cpu_seconds,
                    )
                    if how == "NDJSON":
                        sent = clients.ndjson(seconds, BODIES, "/send")
                    else:
                        sent = clients.post(seconds, SENDERS, DEPTH, "/send/")
                    sample = _sample(number, name, gateways, how, sent, meter)
                    course.done(
                        f"round {number + 1}/{rounds}  {name}, {gateways} gateways each, "
                        f"{how}: {sample.rate:,.0f} messages/s  {sample.error}"
                    )
                    samples.append(sample)
    return Crossing(streams, samples, list(ratios(samples)))


@contextmanager
def _contest(
    name: str, gateways: int, streams: int, core: int, place: Path
) -> Iterator[tuple[list[Server], list[NatsServer]]]:
    """The nodes, of which the first has the streams and the last is sent to; NATS between."""
    contestant = Contestant("Encke", gateways)
    if name == ALONE:
        with contestant.start(core, streams) as server:
            yield [server], []
        return
    with NatsServer(place, core=core) as nats:
        joined = ("--nats", nats.url, "--node-name")
        with (
            contestant.start(core, streams, *joined, "streams") as held,
            contestant.start(core, 0, *joined, "senders") as sent_to,
        ):
            yield [held, sent_to], [nats]


def _sample(number: int, name: str, gateways: int, how: str, sent: Sent, meter: Meter) -> Sample:
    nodes, nats, clients, others = meter.used()
    return Sample(
        round=number,
        contestant=name,
        gateways=gateways,
        how=how,
        messages=sent.received,
        seconds=sent.seconds,
        nodes_cpu=nodes,
        nats_cpu=nats,
        load_cpu=clients,
        others_cpu=others,
        error=sent.wrong(claims=False, ndjson=False),
    )


def ratios(samples: Sequence[Sample]) -> Iterator[Ratio]:
    """How messages that cross compare with those that don't."""
    for gateways in GATEWAYS:
        for how in WAYS:
            of = {
                (it.contestant, it.round): it
                for it in samples
                if (it.gateways, it.how) == (gateways, how) and it.messages
            }
            rounds = [key for name, key in of if name == ACROSS and (ALONE, key) in of]
            if rounds:
                pairs = [(of[ACROSS, key], of[ALONE, key]) for key in rounds]
                yield Ratio(
                    gateways,
                    how,
                    median(across.rate / alone.rate for across, alone in pairs),
                    median(alone.us / max(across.us, 1e-9) for across, alone in pairs),
                )
