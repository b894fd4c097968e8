"""``python -m bench send``: messages a second on one core, beside nchan and the write loop.

One round measures each contestant once, alone on the server's core, with the same
clients on the other; the ratios are taken within a round, and their median over the
rounds is the result, so that a machine that is slow for a while is slow for all.

Every sample is checked: as many messages came as were sent, to the streams that they
were sent to, and the server's own count agrees.

May import: load.usage, peers, processes, programs, report.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import msgspec
from rich.table import Table

from encke.tools.load.usage import busy_seconds

from . import report
from .peers import ENCKE_ONE, ENCKE_TWO, NCHAN, Kind, Server
from .processes import BenchError, Cores
from .programs import LOAD_STREAMS, Load, Sent, compiled, load, write_loop

POST_BUDGET = 1.2
"""Encke's POST /send/{id} beside nchan's, at least."""

NDJSON_BUDGET = 0.85
"""Encke's NDJSON beside the bare write loop, at least."""

LOOP = "C write loop"


class Options(msgspec.Struct, frozen=True):
    """The flags of the command."""

    streams: int = 10_000
    seconds: float = 2.0
    rounds: int = 3
    senders: int = 256
    """Connections that POST: enough to keep the server busy with one request on each."""
    depths: tuple[int, ...] = (1, 16)
    bodies: int = 4
    """Connections that each stream one NDJSON body."""


class Sample(msgspec.Struct):
    """One contestant in one round."""

    contestant: str
    how: str
    round: int
    messages: int
    seconds: float
    server_cpu_seconds: float
    load_cpu_seconds: float
    other_cpu_seconds: float
    """What the rest of the machine was busy with meanwhile: large means noise."""
    error: str = ""
    """Why what came is not what was sent, if so."""

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Messages a second of the server's CPU time."""
        return self.messages / max(self.server_cpu_seconds, 0.01)


class _Meter:
    """CPU time of the server, of the load and of all others, from now on."""

    def __init__(self, server: Server, clients: Load) -> None:
        self._server, self._clients = server, clients
        self._before = self._read()

    def _read(self) -> tuple[float, float, float]:
        return self._server.cpu_seconds(), self._clients.cpu_seconds(), busy_seconds()

    def sample(self, contestant: str, how: str, messages: int, seconds: float) -> Sample:
        ours, load, busy = (
            now - before for now, before in zip(self._read(), self._before, strict=True)
        )
        others = max(0.0, busy - ours - load)
        return Sample(contestant, how, 0, messages, seconds, ours, load, others)


class Ratio(msgspec.Struct):
    """How two contestants compare: the median over the rounds, and each round."""

    name: str
    of: str
    to: str
    budget: float
    wall: float
    cpu: float
    wall_rounds: list[float]
    cpu_rounds: list[float]


class Results(msgspec.Struct):
    """All samples and what follows from them."""

    samples: list[Sample]
    ratios: list[Ratio]


def run(options: Options, cores: Cores, notices: list[str]) -> Results:
    """Measure; raises BenchError if a contestant can't be measured at all."""
    if options.streams > LOAD_STREAMS:
        raise BenchError(f"--streams: one core's clients hold at most {LOAD_STREAMS:,}.")
    kinds = []
    for kind in (NCHAN, ENCKE_ONE, ENCKE_TWO):
        if reason := kind.missing(options.streams):
            report.notice(notices, f"{kind.name}: {reason}.")
        else:
            kinds.append(kind)
    samples: list[Sample] = []
    with compiled("load", "writeloop") as programs:
        for number in range(1, options.rounds + 1):
            for sample in _round(options, programs, cores, kinds):
                sample.round = number
                report.progress(
                    f"round {number}/{options.rounds}  {sample.contestant}, {sample.how}: "
                    f"{sample.rate:,.0f} messages/s  {sample.error}"
                )
                samples.append(sample)
    return Results(samples, list(ratios(samples, options)))


def _round(options: Options, programs: Path, cores: Cores, kinds: list[Kind]) -> Iterator[Sample]:
    for kind in kinds:
        with (
            kind.start(cores.server, options.streams) as server,
            load(programs, server.port, cores.load) as clients,
        ):
            clients.open(options.streams, "/test/")
            yield from _server(options, kind, server, clients)
        if kind == ENCKE_ONE:
            yield _loop(options, programs, cores)  # next to both that it's compared with


def _server(options: Options, kind: Kind, server: Server, clients: Load) -> Iterator[Sample]:
    clients.post(options.seconds / 4, options.senders, 1, "/send/")  # warms both up
    for depth in options.depths:
        post = partial(clients.post, options.seconds, options.senders, depth, "/send/")
        yield _sample(kind, _post(depth), server, clients, post)
    if kind != NCHAN:
        ndjson = partial(clients.ndjson, options.seconds, options.bodies, "/send")
        yield _sample(kind, "NDJSON", server, clients, ndjson)


def _post(depth: int) -> str:
    return f"POST x{depth}"


def _sample(kind: Kind, how: str, server: Server, clients: Load, act: Callable[[], Sent]) -> Sample:
    meter = _Meter(server, clients)
    sent = act()
    sample = meter.sample(kind.name, how, sent.received, sent.seconds)
    sample.error = _wrong(sent, claims=kind != NCHAN, ndjson=how == "NDJSON")
    return sample


def _wrong(sent: Sent, *, claims: bool, ndjson: bool) -> str:
    if sent.error or sent.refused:
        return sent.error or f"{sent.refused} requests were refused"
    if sent.received != sent.sent:
        return f"{sent.sent} messages were sent, {sent.received} came"
    if sent.misdirected:
        return f"{sent.misdirected} streams got more or less than was sent to them"
    if claims and sent.claimed != sent.sent:
        return f"{sent.sent} messages were sent, the server claims {sent.claimed} delivered"
    if ndjson and sent.accepted != sent.sent:
        return f"{sent.sent} messages were sent, the server claims {sent.accepted} accepted"
    return ""


def _loop(options: Options, programs: Path, cores: Cores) -> Sample:
    with (
        write_loop(programs, cores.server) as loop,
        load(programs, loop.port, cores.load) as clients,
    ):
        clients.open(options.streams, "/test/")
        warmed = loop.write(options.seconds / 4).sent
        clients.wait_for(warmed)
        meter = _Meter(Server(LOOP, loop.pid, loop.port), clients)
        written = loop.write(options.seconds)
        came = clients.wait_for(warmed + written.sent)
        sample = meter.sample(LOOP, "write()", came.received - warmed, written.seconds)
    sample.error = came.error
    if sample.messages != written.sent:
        sample.error = f"{written.sent} were written, {sample.messages} came"
    return sample


def ratios(samples: list[Sample], options: Options) -> Iterator[Ratio]:
    """How Encke compares: its POST with nchan's, its NDJSON with the write loop."""
    for kind in (ENCKE_ONE, ENCKE_TWO):
        for depth in options.depths:
            how = _post(depth)
            yield from _ratio(samples, kind.name, how, NCHAN.name, how, POST_BUDGET)
        yield from _ratio(samples, kind.name, "NDJSON", LOOP, "write()", NDJSON_BUDGET)


def _ratio(
    samples: list[Sample], one: str, how: str, other: str, other_how: str, budget: float
) -> Iterator[Ratio]:
    ours = _by_round(samples, one, how)
    theirs = _by_round(samples, other, other_how)
    pairs = [(ours[number], theirs[number]) for number in ours if number in theirs]
    if pairs:
        wall = [a.rate / b.rate for a, b in pairs]
        cpu = [a.cpu_rate / b.cpu_rate for a, b in pairs]
        name = f"{one}, {how} : {other}"
        yield Ratio(name, one, other, budget, median(wall), median(cpu), wall, cpu)


def _by_round(samples: list[Sample], contestant: str, how: str) -> dict[int, Sample]:
    return {
        sample.round: sample
        for sample in samples
        if sample.contestant == contestant and sample.how == how and sample.messages
    }


def tables(results: Results, options: Options) -> list[Table]:
    """The outcome, to be printed."""
    rates = report.table(
        f"Messages to random ones of {options.streams:,} streams, the server on one core "
        f"(medians of {options.rounds}; x: requests under way on each connection)",
        "contestant", "sent by", "messages/s", "a CPU second", "load's CPU", "others' CPU",
        "delivered",
    )  # fmt: skip
    rows = dict.fromkeys((sample.contestant, sample.how) for sample in results.samples)
    for contestant, how in rows:
        group = [s for s in results.samples if (s.contestant, s.how) == (contestant, how)]
        wrong = [sample.error for sample in group if sample.error]
        rates.add_row(
            contestant,
            how,
            f"{median(sample.rate for sample in group):,.0f}",
            f"{median(sample.cpu_rate for sample in group):,.0f}",
            f"{median(sample.load_cpu_seconds / sample.seconds for sample in group):.0%}",
            f"{median(sample.other_cpu_seconds / sample.seconds for sample in group):.0%}",
            f"[red]{wrong[0]}[/]" if wrong else "[green]all[/]",
        )
    compared = report.table(
        "Ratios (medians of the rounds)", "", "wall", "CPU", "budget", "by CPU time"
    )
    for ratio in results.ratios:
        compared.add_row(
            ratio.name,
            f"{ratio.wall:.2f}",
            f"{ratio.cpu:.2f}",
            f">= {ratio.budget}",
            report.verdict(ratio.cpu >= ratio.budget),
        )
    return [rates, compared]


def failed(results: Results) -> bool:
    """Whether any message was lost, doubled or misdirected."""
    return any(sample.error for sample in results.samples)
