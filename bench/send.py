"""Messages a second on one core, beside nchan and the write loop: see one_core.

Every sample is checked: as many messages came as were sent, to the streams that they
were sent to, and the server's own count agrees.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from encke.tools.load.usage import cpu_seconds

from . import options
from .clients import LOAD_STREAMS, Sent, compiled, load, write_loop
from .course import Course
from .one_core import (
    ENCKE_ONE,
    ENCKE_TWO,
    NCHAN,
    NDJSON,
    Contestant,
    Ratio,
    Sample,
    groups,
    in_turns,
    on_one_core,
    post,
    posts,
    present,
    ratio,
    sample,
)
from .report import Report, Section, table, verdict
from .servers.processes import BenchError, Cores

POST_BUDGET = 1.2
"""Encke's POST /send/{id} beside nchan's, at least."""

NDJSON_BUDGET = 0.85
"""Encke's NDJSON beside the bare write loop, at least."""

LOOP, WRITE = "C write loop", "write()"


class Options(options.Options, frozen=True, kw_only=True):
    """Of `send`."""

    QUICK: ClassVar = {"streams": 200, "seconds": 0.2, "rounds": 1, "senders": 16, "bodies": 2}

    streams: options.Streams = 10_000
    seconds: Annotated[float, Meta(ge=0.1, description="Length of one measurement.")] = 2.0
    rounds: options.Rounds = 3
    senders: Annotated[int, Meta(ge=1, le=1024, description="Connections that POST.")] = 256
    depths: tuple[int, ...] = (1, 16)
    """Requests under way on each."""
    bodies: Annotated[int, Meta(ge=1, le=64, description="NDJSON bodies at once.")] = 4


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
    with on_one_core(course) as cores, compiled("load", "writeloop") as programs:
        contestants = present(course, options.streams, NCHAN, ENCKE_ONE, ENCKE_TWO)
        turn = partial(_round, options, programs, cores, contestants)
        samples = in_turns(course, options.rounds, turn)
    results = Results(samples, list(ratios(samples, options)))
    return Report(
        results=results,
        sections=sections(results, options),
        fault="What was delivered is not what was sent." if failed(results) else "",
    )


def _round(
    options: Options, programs: Path, cores: Cores, contestants: list[Contestant], number: int
) -> Iterator[Sample]:
    seconds = options.seconds
    for contestant in contestants:
        with (
            contestant.start(cores.server, options.streams) as server,
            load(programs, server.port, cores.load) as clients,
        ):
            clients.open(options.streams, "/test/")
            clients.post(seconds / 4, options.senders, 1, "/send/")  # warms both up
            ways = posts(clients, seconds, options.senders, options.depths)
            if own := contestant != NCHAN:
                ways[NDJSON] = partial(clients.ndjson, seconds, options.bodies, "/send")
            cpu = server.cpu_seconds, clients.cpu_seconds
            yield from sample(contestant.name, number, ways, *cpu, claims=own, ndjson=own)
        if contestant == ENCKE_ONE:
            yield from _loop(options, programs, cores, number)  # next to both it's compared with


def _loop(options: Options, programs: Path, cores: Cores, number: int) -> Iterator[Sample]:
    with (
        write_loop(programs, cores.server) as loop,
        load(programs, loop.port, cores.load) as clients,
    ):
        clients.open(options.streams, "/test/")
        warmed = loop.write(options.seconds / 4).sent
        clients.wait_for(warmed)

        def write() -> Sent:
            written = loop.write(options.seconds)
            came = clients.wait_for(warmed + written.sent)
            return Sent(written.sent, came.received - warmed, written.seconds, error=came.error)

        cpu = (lambda: cpu_seconds([loop.pid])), clients.cpu_seconds
        yield from sample(LOOP, number, {WRITE: write}, *cpu, claims=False, ndjson=False)


def ratios(samples: list[Sample], options: Options) -> Iterator[Ratio]:
    """How Encke compares: its POST with nchan's, its NDJSON with the write loop."""
    for name in (ENCKE_ONE.name, ENCKE_TWO.name):
        for how in map(post, options.depths):
            named = f"{name}, {how} : {NCHAN.name}"
            yield from ratio(samples, named, (name, how), (NCHAN.name, how))
        yield from ratio(samples, f"{name}, {NDJSON} : {LOOP}", (name, NDJSON), (LOOP, WRITE))


def sections(results: Results, options: Options) -> list[Section]:
    """The outcome."""
    title = (
        f"Messages to random ones of {options.streams:,} streams, the server on one core "
        f"(medians of {options.rounds}; x: requests under way on each connection)"
    )
    rates = table(
        groups(results.samples).values(),
        {
            "contestant": lambda its: its[0].contestant,
            "sent by": lambda its: its[0].how,
            "messages/s": lambda its: f"{median(it.rate for it in its):,.0f}",
            "a CPU second": lambda its: f"{median(it.cpu_rate for it in its):,.0f}",
            "load's CPU": lambda its: f"{median(it.load_share for it in its):.0%}",
            "others' CPU": lambda its: f"{median(it.other_share for it in its):.0%}",
            "delivered": lambda its: next((it.error for it in its if it.error), "all"),
        },
    )
    compared = table(
        results.ratios,
        {
            "": lambda it: it.name,
            "wall": lambda it: f"{it.wall:.2f}",
            "CPU": lambda it: f"{it.cpu:.2f}",
            "budget": lambda it: f">= {_budget(it)}",
            "by CPU time": lambda it: verdict(it.cpu >= _budget(it)),
        },
    )
    return [Section(title, [rates]), Section("Ratios (medians of the rounds)", [compared])]


def _budget(ratio: Ratio) -> float:
    return NDJSON_BUDGET if ratio.name.endswith(LOOP) else POST_BUDGET


def failed(results: Results) -> bool:
    """Whether any message was lost, doubled or misdirected."""
    return any(sample.error for sample in results.samples)
