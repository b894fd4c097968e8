"""Messages a second on one core, beside nchan and the write loop.

One round measures each contestant once, alone on the server's core, with the same
clients on the other; the ratios are taken within a round, and their median over the
rounds is the result, so that a machine that is slow for a while is slow for all.

Every sample is checked: as many messages came as were sent, to the streams that they
were sent to, and the server's own count agrees.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from encke.tools.load.usage import cpu_seconds

from . import options
from .clients import LOAD_STREAMS, Load, Sent, compiled, load, write_loop
from .contestants import ENCKE_ONE, ENCKE_TWO, NCHAN, Contestant, on_one_core, present
from .course import Course
from .meter import Meter
from .report import Report, Section, Table, verdict
from .servers.processes import BenchError, Cores
from .servers.server import Server

POST_BUDGET = 1.2
"""Encke's POST /send/{id} beside nchan's, at least."""

NDJSON_BUDGET = 0.85
"""Encke's NDJSON beside the bare write loop, at least."""

LOOP = "C write loop"


class Options(options.Options, frozen=True, kw_only=True):
    """Of `send`."""

    streams: options.Streams = 10_000
    seconds: Annotated[float, Meta(ge=0.1, description="Length of one measurement.")] = 2.0
    rounds: options.Rounds = 3
    senders: Annotated[int, Meta(ge=1, le=1024, description="Connections that POST.")] = 256
    depths: tuple[int, ...] = (1, 16)
    """Requests under way on each."""
    bodies: Annotated[int, Meta(ge=1, le=64, description="NDJSON bodies at once.")] = 4

    def quick(self) -> Self:
        return msgspec.structs.replace(
            self, streams=200, seconds=0.2, rounds=1, senders=16, bodies=2
        )


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
        return self.messages / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Messages a second of the server's CPU time."""
        return self.messages / max(self.server_cpu_seconds, 0.01)


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


def run(options: Options, course: Course) -> Report:
    """Messages a second on one core, beside nchan and a bare C write loop.

    Exit code 1 if what was delivered isn't what was sent.
    """
    if options.streams > LOAD_STREAMS:
        raise BenchError(f"--streams: one core's clients hold at most {LOAD_STREAMS:,}.")
    samples: list[Sample] = []
    with on_one_core(course) as cores, compiled("load", "writeloop") as programs:
        contestants = present(course, options.streams, NCHAN, ENCKE_ONE, ENCKE_TWO)
        for number in range(1, options.rounds + 1):
            for sample in _round(options, programs, cores, contestants):
                sample.round = number
                course.done(
                    f"round {number}/{options.rounds}  {sample.contestant}, {sample.how}: "
                    f"{sample.rate:,.0f} messages/s  {sample.error}"
                )
                samples.append(sample)
    results = Results(samples, list(ratios(samples, options)))
    return Report(
        benchmark="send",
        options=options,
        notices=course.notices,
        results=results,
        sections=sections(results, options),
        fault="What was delivered is not what was sent." if failed(results) else "",
    )


def _round(
    options: Options, programs: Path, cores: Cores, contestants: list[Contestant]
) -> Iterator[Sample]:
    for contestant in contestants:
        with (
            contestant.start(cores.server, options.streams) as server,
            load(programs, server.port, cores.load) as clients,
        ):
            clients.open(options.streams, "/test/")
            yield from _server(options, contestant, server, clients)
        if contestant == ENCKE_ONE:
            yield _loop(options, programs, cores)  # next to both that it's compared with


def _server(
    options: Options, contestant: Contestant, server: Server, clients: Load
) -> Iterator[Sample]:
    clients.post(options.seconds / 4, options.senders, 1, "/send/")  # warms both up
    ways: dict[str, Callable[[], Sent]] = {
        _post(depth): partial(clients.post, options.seconds, options.senders, depth, "/send/")
        for depth in options.depths
    }
    if contestant != NCHAN:
        ways["NDJSON"] = partial(clients.ndjson, options.seconds, options.bodies, "/send")
    for how, act in ways.items():
        meter = Meter(server.cpu_seconds, clients.cpu_seconds)
        sent = act()
        error = sent.wrong(claims=contestant != NCHAN, ndjson=how == "NDJSON")
        server_cpu, load_cpu, others = meter.used()
        yield Sample(
            contestant.name,
            how,
            0,
            sent.received,
            sent.seconds,
            server_cpu,
            load_cpu,
            others,
            error,
        )


def _post(depth: int) -> str:
    return f"POST x{depth}"


def _loop(options: Options, programs: Path, cores: Cores) -> Sample:
    with (
        write_loop(programs, cores.server) as loop,
        load(programs, loop.port, cores.load) as clients,
    ):
        clients.open(options.streams, "/test/")
        warmed = loop.write(options.seconds / 4).sent
        clients.wait_for(warmed)
        meter = Meter(lambda: cpu_seconds([loop.pid]), clients.cpu_seconds)
        written = loop.write(options.seconds)
        came = clients.wait_for(warmed + written.sent)
        messages = came.received - warmed
        loop_cpu, load_cpu, others = meter.used()
    sample = Sample(
        LOOP, "write()", 0, messages, written.seconds, loop_cpu, load_cpu, others, came.error
    )
    if messages != written.sent:
        sample.error = f"{written.sent} were written, {messages} came"
    return sample


def ratios(samples: list[Sample], options: Options) -> Iterator[Ratio]:
    """How Encke compares: its POST with nchan's, its NDJSON with the write loop."""
    for encke in (ENCKE_ONE, ENCKE_TWO):
        for depth in options.depths:
            how = _post(depth)
            yield from _ratio(samples, encke.name, how, NCHAN.name, how, POST_BUDGET)
        yield from _ratio(samples, encke.name, "NDJSON", LOOP, "write()", NDJSON_BUDGET)


def _ratio(
    samples: list[Sample], one: str, how: str, other: str, other_how: str, budget: float
) -> Iterator[Ratio]:
    ours, theirs = _by_round(samples, one, how), _by_round(samples, other, other_how)
    pairs = [(ours[number], theirs[number]) for number in ours if number in theirs]
    if pairs:
        wall = [a.rate / b.rate for a, b in pairs]
        cpu = [a.cpu_rate / b.cpu_rate for a, b in pairs]
        name = f"{one}, {how} : {other}"
        yield Ratio(name, one, other, budget, median(wall), median(cpu), wall, cpu)


def _by_round(samples: list[Sample], contestant: str, how: str) -> dict[int, Sample]:
    return {
        it.round: it
        for it in samples
        if (it.contestant, it.how) == (contestant, how) and it.messages
    }


def sections(results: Results, options: Options) -> list[Section]:
    """The outcome."""
    rates = []
    for contestant, how in dict.fromkeys((it.contestant, it.how) for it in results.samples):
        group = [it for it in results.samples if (it.contestant, it.how) == (contestant, how)]
        wrong = [it.error for it in group if it.error]
        rates.append(
            (
                contestant,
                how,
                f"{median(it.rate for it in group):,.0f}",
                f"{median(it.cpu_rate for it in group):,.0f}",
                f"{median(it.load_cpu_seconds / it.seconds for it in group):.0%}",
                f"{median(it.other_cpu_seconds / it.seconds for it in group):.0%}",
                wrong[0] if wrong else "all",
            )
        )
    title = (
        f"Messages to random ones of {options.streams:,} streams, the server on one core "
        f"(medians of {options.rounds}; x: requests under way on each connection)"
    )
    columns = (
        "contestant", "sent by", "messages/s", "a CPU second", "load's CPU", "others' CPU",
        "delivered",
    )  # fmt: skip
    compared = [
        (
            it.name,
            f"{it.wall:.2f}",
            f"{it.cpu:.2f}",
            f">= {it.budget}",
            verdict(it.cpu >= it.budget),
        )
        for it in results.ratios
    ]
    return [
        Section(title, [Table(columns, rates)]),
        Section(
            "Ratios (medians of the rounds)",
            [Table(("", "wall", "CPU", "budget", "by CPU time"), compared)],
        ),
    ]


def failed(results: Results) -> bool:
    """Whether any message was lost, doubled or misdirected."""
    return any(sample.error for sample in results.samples)
