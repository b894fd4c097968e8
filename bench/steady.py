"""Does it stay exact, fast and small under a steady load?

Messages to random users at a fixed rate, each by ``POST /send/{id}``, each checked for
exactly once, in order, right recipient; latency from POST to the client's read; memory
of each server process all the while. With attackers, phases without them and phases of
the same length beside slow-header attackers take turns, and show what these do to the good
clients.

Server and load run on all cores, as they do elsewhere; each phase has new streams. With several
phases of a kind the tables show sums of messages, medians of latencies and shares; memory is
that of the first, since what attackers took is kept for the next ones.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import linear_regression, median
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from encke.tools.load.summary import Durations
from encke.tools.watch import ControlPort, Recorder

from . import attackers, options
from .course import Course
from .report import Report, Section, Table, verdict
from .servers.encke import ROOM, Encke
from .servers.processes import child
from .stage import POST, Stage

HEAD_TIMEOUT = 10.0
"""Seconds that the measured server gives a request head."""

GRACE = 2.0
"""Seconds that an attacker may stay beyond that."""

ATTACKERS_EACH = 15_000
"""Attackers in one process: 20,000 files is a common hard limit."""

ENOUGH_READINGS = 6
"""For a slope that means anything."""

SAMPLE_EVERY = 5.0
"""Seconds between two readings of memory."""

STEADY, ATTACKED = "steady", "attacked"
"""The kinds of phases."""

P99_BUDGET_MS = 5.0
MEMORY_BUDGET_MB = 40.0
GROWTH_BUDGET = 0.01
"""Of memory, from the first minute's median to the last's: less is noise."""
ATTACK_BUDGET = 1.5
"""p99 beside attackers to p99 without."""


class Options(options.Options, frozen=True, kw_only=True):
    """Of `steady`."""

    streams: options.Streams = 10_000
    rate: options.Rate = 1_000.0
    minutes: Annotated[float, Meta(ge=0.01, description="Length of a phase.")] = 10.0
    attackers: Annotated[
        int, Meta(ge=0, description="Slow-header attackers, in every second phase.")
    ] = 0
    rounds: Annotated[int, Meta(ge=1, description="Phases without, and with attackers.")] = 3
    gateways: Annotated[int, Meta(ge=1, description="Gateways of the server.")] = 2
    senders: int = 16
    every: float = SAMPLE_EVERY

    def quick(self) -> Self:
        return msgspec.structs.replace(self, streams=200, rate=500, minutes=0.05, every=0.5)


class Reading(msgspec.Struct):
    """Memory at one time; bytes of PSS by pid."""

    seconds: float
    memory: dict[int, int]

    @property
    def total(self) -> int:
        return sum(self.memory.values())


class Growth(msgspec.Struct):
    """Medians of the readings (bytes) in the first and the last minute, and the slope.

    Of a short phase it's the first and last third.
    """

    first_minute: float
    last_minute: float
    slope_kb_a_minute: float | None
    """By least squares, over what follows the first minute; None: too few readings."""


class Faults(msgspec.Struct):
    """What must not be; all 0 in a good run."""

    lost: int
    doubled_or_at_the_wrong_recipient: int
    reordered_or_misnumbered: int
    """Messages that weren't the next ones of their stream, or of their sender."""
    refused: int
    """Requests answered with an error, or not at all."""
    miscounted: int
    """How much more, or less, the answers promise than one delivery a message."""
    closed_streams: int

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__struct_fields__)


class Outcome(msgspec.Struct):
    """What a phase showed of its messages."""

    seconds: float
    sent: int
    answered: int
    received: int
    faults: Faults
    latency: Durations
    lag: Durations
    """How much later than due messages were sent: the load's own delay."""


class Phase(msgspec.Struct):
    """One phase. Shares are CPU seconds a second; memory in bytes."""

    name: str
    outcome: Outcome
    server_share: float
    load_share: float
    other_share: float
    """What the rest of the machine, attackers too, was busy with: large means noise."""
    memory: list[Reading]
    growth: Growth

    @property
    def largest(self) -> int:
        return max(reading.total for reading in self.memory)


class Results(msgspec.Struct):
    """What was seen."""

    phases: list[Phase]
    attacks: list[attackers.Outcome]
    p99_ratio: float | None
    """With attackers to without, of the medians of the phases."""

    def of(self, name: str) -> list[Phase]:
        return [phase for phase in self.phases if phase.name == name]


def run(options: Options, course: Course) -> Report:
    """A steady load: exactly once, in order, latency, memory over time.

    Exit code 1 if not every message came once, in order, or an attacker stayed.
    """
    rounds = options.rounds if options.attackers else 1
    room = options.streams + options.attackers + ROOM
    results = Results([], [], None)
    flags = ("--gateways", str(options.gateways), "--max-connections", str(room))
    with Encke(*flags, "--head-timeout", str(HEAD_TIMEOUT)) as server:
        for number in range(rounds):
            with _opened(options, server, course, f"steady-{number}") as stage:
                results.phases.append(_phase(STEADY, options, server, stage, course))
            if options.attackers:
                _attacked(results, options, server, course, number)
    if options.attackers:
        steady, attacked = (
            median(phase.outcome.latency.p99 for phase in results.of(name))
            for name in (STEADY, ATTACKED)
        )
        results.p99_ratio = attacked / steady if steady else None
    wrong = "Not every message came once, in order, or an attacker stayed."
    return Report(
        benchmark="steady",
        options=options,
        results=results,
        sections=_sections(results, options),
        fault=wrong if failed(results) else "",
    )


def _opened(options: Options, server: Encke, course: Course, name: str) -> Stage:
    course.done(f"opening {options.streams:,} streams")
    # one session: else attackers, at idle priority, would take half of a core from the clients
    place = course.place(name)
    stage = Stage(server, options.streams, place, POST, senders=options.senders, one_session=True)
    stage.open()
    return stage


def _attacked(
    results: Results, options: Options, server: Encke, course: Course, number: int
) -> None:
    """A phase beside attackers, who come and are thrown out."""
    with ExitStack() as stack:
        stage = stack.enter_context(_opened(options, server, course, f"attacked-{number}"))
        course.done(f"{options.attackers:,} attackers come")
        crowds = [
            stack.enter_context(child("attackers", msgspec.json.encode(plan).decode()))
            for plan in _attack_plans(options.attackers, server.port)
        ]
        time.sleep(attackers.PAUSE * attackers.RAMP)
        results.phases.append(_phase(ATTACKED, options, server, stage, course))
        course.done("the attackers are given time to be thrown out")
        for crowd in crowds:
            crowd.say("stop")
        outcomes = [crowd.hear(attackers.Outcome) for crowd in crowds]
    results.attacks.append(attackers.together(outcomes))


def _attack_plans(count: int, port: int) -> Iterator[attackers.Plan]:
    for number, first in enumerate(range(0, count, ATTACKERS_EACH)):
        size = min(ATTACKERS_EACH, count - first)
        yield attackers.Plan(port, size, f"127.0.0.{10 + number}", HEAD_TIMEOUT + GRACE)


def _phase(name: str, options: Options, server: Encke, stage: Stage, course: Course) -> Phase:
    course.begin(name)
    with Recorder([ControlPort(server.control_url, "Encke")], options.every) as recorder:
        recorder.listener = course.show
        sent = stage.send_paced(options.rate, options.minutes * 60, linger=0.0)
        recorder.read()
    seen = stage.end()
    server.until(lambda state: not state.users, "the clients have left", 60)
    readings = [
        Reading(it.time - recorder.samples[0].time, {p.pid: p.kb * 1024 for p in it.processes})
        for it in recorder.samples
    ]
    cost = sent.cost
    faults = Faults(
        lost=sent.wrong.lost,
        doubled_or_at_the_wrong_recipient=sent.wrong.doubled,
        reordered_or_misnumbered=seen.violations,
        refused=sent.refused,
        miscounted=abs(sent.accepted - sent.delivered),
        closed_streams=seen.closed,
    )
    return Phase(
        name,
        Outcome(
            sent.seconds,
            sent.messages,
            sent.accepted,
            seen.messages,
            faults,
            seen.latency,
            sent.lag,
        ),
        server_share=cost.server / cost.seconds,
        load_share=(cost.flood + cost.generate) / cost.seconds,
        other_share=cost.others / cost.seconds,
        memory=readings,
        growth=growth(readings),
    )


def growth(readings: list[Reading]) -> Growth:
    """How memory grew over these readings."""
    end = readings[-1].seconds
    minute = min(60.0, end / 3)
    first = [reading.total for reading in readings if reading.seconds <= minute]
    last = [reading.total for reading in readings if reading.seconds >= end - minute]
    rest = [reading for reading in readings if reading.seconds >= minute]
    slope = None
    if len({reading.seconds for reading in rest}) >= ENOUGH_READINGS:
        slope, _ = linear_regression(
            [reading.seconds / 60 for reading in rest], [reading.total / 1024 for reading in rest]
        )
    return Growth(median(first or last), median(last), slope)


def failed(results: Results) -> bool:
    """Whether a message was lost, doubled, reordered or misdirected, or an attacker stayed."""
    return any(phase.outcome.faults for phase in results.phases) or any(
        attack.left for attack in results.attacks
    )


# ---- tables ----------------------------------------------------------------------------

Row = tuple[str, ...]
"""Name, a figure for each kind of phase, budget, verdict."""

Kinds = list[list[Phase]]
"""The phases by kind: those without attackers; those with, if there are any."""


def _sections(results: Results, options: Options) -> list[Section]:
    kinds = [phases for name in (STEADY, ATTACKED) if (phases := results.of(name))]
    names = [phases[0].name for phases in kinds]
    rows = [*_messages(kinds), *_latency(kinds), *_cost(kinds)]
    if (ratio := results.p99_ratio) is not None:
        good = verdict(ratio <= ATTACK_BUDGET)
        rows.append(("p99, attacked : steady", "", f"{ratio:.2f}", f"<= {ATTACK_BUDGET}", good))
    rounds = f", {options.rounds} of each" if len(kinds[0]) > 1 else ""
    title = (
        f"{options.streams:,} streams, {options.rate:,.0f} messages/s by POST, "
        f"{options.minutes:g} min a phase{rounds}"
    )
    return [
        Section(title, [Table(("", *names, "budget", "verdict"), rows)]),
        Section(
            "Latency, POST to the client's read", [Table(("up to", *names), _histogram(kinds))]
        ),
        *([_attacks(results.attacks)] if results.attacks else []),
    ]


def _messages(kinds: Kinds) -> Iterator[Row]:
    outcomes = [[phase.outcome for phase in phases] for phases in kinds]
    yield "messages sent", *(f"{sum(it.sent for it in each):,}" for each in outcomes), "", ""
    yield (
        "messages that came",
        *(f"{sum(it.received for it in each):,}" for each in outcomes),
        "",
        "",
    )
    for fault in Faults.__struct_fields__:
        found = [sum(int(getattr(it.faults, fault)) for it in each) for each in outcomes]
        yield fault.replace("_", " "), *(f"{n:,}" for n in found), "0", verdict(not any(found))


def _latency(kinds: Kinds) -> Iterator[Row]:
    def each(of: Callable[[Outcome], float]) -> list[str]:
        return [f"{median(of(phase.outcome) for phase in phases):.2f} ms" for phases in kinds]

    p99s = [[phase.outcome.latency.p99 for phase in phases] for phases in kinds]
    good = verdict(all(median(p99) <= P99_BUDGET_MS for p99 in p99s))
    yield "latency p50", *each(lambda it: it.latency.p50), "", ""
    yield "latency p99", *each(lambda it: it.latency.p99), f"<= {P99_BUDGET_MS:g} ms", good
    if len(p99s[0]) > 1:
        yield "  of each phase", *(", ".join(f"{it:.2f}" for it in p99) for p99 in p99s), "", ""
    yield "latency p99.9", *each(lambda it: it.latency.p999), "", ""
    yield "latency max", *each(lambda it: it.latency.max), "", ""
    yield "load's own lag p99", *each(lambda it: it.lag.p99), "", ""


def _cost(kinds: Kinds) -> Iterator[Row]:
    def shares(of: Callable[[Phase], float]) -> list[str]:
        return [f"{median(map(of, phases)):.1%}" for phases in kinds]

    largest = [phases[0].largest / 2**20 for phases in kinds]
    growths = [phases[0].growth for phases in kinds]
    small = verdict(largest[0] <= MEMORY_BUDGET_MB)
    flat = verdict(growths[0].last_minute <= growths[0].first_minute * (1 + GROWTH_BUDGET))
    yield "server's CPU", *shares(lambda it: it.server_share), "", ""
    yield "load's CPU", *shares(lambda it: it.load_share), "", ""
    yield "others' CPU", *shares(lambda it: it.other_share), "", ""
    most = f"<= {MEMORY_BUDGET_MB:g} MB"
    yield "memory, at most", *(f"{it:.1f} MB" for it in largest), most, small
    firsts, lasts = (
        [f"{size / 2**20:.2f} MB" for size in sizes]
        for sizes in zip(*((it.first_minute, it.last_minute) for it in growths), strict=True)
    )
    yield "first minute, median", *firsts, "", ""
    yield "last minute, median", *lasts, f"<= {GROWTH_BUDGET:.0%} more", flat
    slopes = (it.slope_kb_a_minute for it in growths)
    told = ("-" if slope is None else f"{slope:+.1f} KB/min" for slope in slopes)
    yield "slope after the first", *told, "", ""


def _histogram(kinds: Kinds) -> list[Row]:
    steps = [dict[float, int]() for _ in kinds]
    for found, phases in zip(steps, kinds, strict=True):
        for bound, count in (it for phase in phases for it in phase.outcome.latency.histogram):
            found[bound] = found.get(bound, 0) + count
    totals = [max(1, sum(found.values())) for found in steps]
    return [
        (
            f"{bound:g} ms",
            *(
                f"{found.get(bound, 0):,}  {found.get(bound, 0) / total:7.2%}"
                for found, total in zip(steps, totals, strict=True)
            ),
        )
        for bound in sorted(set().union(*steps))
    ]


def _attacks(attacks: list[attackers.Outcome]) -> Section:
    columns = (
        "opened", "at the same time", f"gone within {HEAD_TIMEOUT + GRACE:g} s", "gone later",
        "left", "longest stay", "could not connect",
    )  # fmt: skip
    rows = [
        (
            f"{it.opened:,}", it.held_at_most, it.gone_in_time, it.gone - it.gone_in_time, it.left,
            f"{it.longest:.1f} s", it.failed,
        )
        for it in attacks
    ]  # fmt: skip
    title = (
        f"Attackers: a request head, one byte each {attackers.PAUSE:g} s; "
        f"the limit is {HEAD_TIMEOUT:g} s"
    )
    return Section(title, [Table(columns, rows)])
