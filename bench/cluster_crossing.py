"""Messages that cross NATS beside the same ones that don't, on the same core in the same run.

*Alone*: one node, which has the streams and is sent to. *Across*: the streams are at one node, the
messages are sent to another one, and a NATS server is between them. All processes of either are
on the server's core, the clients on the other one. A round measures both, one right after
the other; the ratios are taken within a round.

May import: load.usage, nats, peers, processes, programs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from encke.tools.load.usage import busy_seconds

from .nats import NatsServer, nats_servers
from .peers import Server, encke
from .processes import Cores
from .programs import Load, Sent, compiled, load

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
        """Messages a second."""
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


class _Contest:
    """Who is measured: the node with the streams, that which is sent to, NATS between."""

    def __init__(self, nodes: Sequence[Server], nats: NatsServer | None) -> None:
        self.nodes = nodes
        self.nats = nats

    def cpu(self, clients: Load) -> tuple[float, float, float, float]:
        """CPU seconds of the nodes, of NATS, of the clients, and of all there is."""
        return (
            sum(it.cpu_seconds() for it in self.nodes),
            self.nats.cpu_seconds() if self.nats else 0.0,
            clients.cpu_seconds(),
            busy_seconds(),
        )


def measure(
    streams: int,
    seconds: float,
    rounds: int,
    cores: Cores,
    directory: Path,
    say: Callable[[str], None],
) -> Crossing:
    """`rounds` of each; `say` is told of each sample. Raises BenchError."""
    samples: list[Sample] = []
    with compiled("load") as programs:
        for number in range(rounds):
            for gateways in GATEWAYS:
                for name in (ALONE, ACROSS):
                    with ExitStack() as stack:
                        place = directory / f"{number}-{gateways}-{name}"
                        place.mkdir()
                        contest = stack.enter_context(
                            _contest(name, gateways, streams, cores.server, place)
                        )
                        held, sent_to = contest.nodes[0].port, contest.nodes[-1].port
                        clients = stack.enter_context(load(programs, held, cores.load, to=sent_to))
                        clients.open(streams, "/test/")
                        clients.post(seconds / 4, SENDERS, 1, "/send/")  # warms all up
                        for how in WAYS:
                            sample = _sample(contest, clients, seconds, number, name, gateways, how)
                            say(
                                f"round {number + 1}/{rounds}  {name}, {gateways} gateways each, "
                                f"{how}: {sample.rate:,.0f} messages/s  {sample.error}"
                            )
                            samples.append(sample)
    return Crossing(streams, samples, list(ratios(samples)))


@contextmanager
def _contest(name: str, gateways: int, streams: int, core: int, place: Path) -> Iterator[_Contest]:
    if name == ALONE:
        with encke(core, gateways, streams) as server:
            yield _Contest([server], None)
        return
    with (
        nats_servers(1, place, core) as (nats,),
        encke(core, gateways, streams, nats=nats.url, node_name="streams") as held,
        encke(core, gateways, nats=nats.url, node_name="senders") as sent_to,
    ):
        yield _Contest([held, sent_to], nats)


def _sample(
    contest: _Contest,
    clients: Load,
    seconds: float,
    number: int,
    name: str,
    gateways: int,
    how: str,
) -> Sample:
    act = (
        partial(clients.ndjson, seconds, BODIES, "/send")
        if how == "NDJSON"
        else partial(clients.post, seconds, SENDERS, DEPTH, "/send/")
    )
    before = contest.cpu(clients)
    sent = act()
    nodes, nats, used, busy = (
        now - then for now, then in zip(contest.cpu(clients), before, strict=True)
    )
    return Sample(
        round=number,
        contestant=name,
        gateways=gateways,
        how=how,
        messages=sent.received,
        seconds=sent.seconds,
        nodes_cpu=nodes,
        nats_cpu=nats,
        load_cpu=used,
        others_cpu=max(0.0, busy - nodes - nats - used),
        error=_wrong(sent),
    )


def _wrong(sent: Sent) -> str:
    if sent.error or sent.refused:
        return sent.error or f"{sent.refused} requests were refused"
    if sent.received != sent.sent:
        return f"{sent.sent} messages were sent, {sent.received} came"
    if sent.misdirected:
        return f"{sent.misdirected} streams got more or less than was sent to them"
    return ""


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
