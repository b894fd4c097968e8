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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from statistics import linear_regression, median
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from encke.tools.watch import ControlPort, Recorder, Sample

from . import attackers, options
from .course import Course, without_processes
from .report import Report, Section, Table, table, verdict
from .servers.encke import ROOM, Encke
from .servers.processes import child
from .stage import POST, Seen, Sending, Stage

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

    QUICK: ClassVar = {"streams": 200, "rate": 500.0, "minutes": 0.05, "every": 0.5}

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


class Growth(msgspec.Struct):
    """Medians of the readings (bytes) in the first and the last minute, and the slope.

    Of a short phase it's the first and last third.
    """

    first_minute: float
    last_minute: float
    slope_kb_a_minute: float | None
    """By least squares, over what follows the first minute; None: too few readings."""


class Phase(msgspec.Struct):
    """One phase."""

    name: str
    sending: Sending
    seen: Seen
    memory: list[Sample]
    """Of the server."""
    growth: Growth

    @property
    def largest(self) -> int:
        """Bytes."""
        return max(it.kb for it in self.memory) * 1024


FAULTS: dict[str, Callable[[Phase], int]] = {
    "lost": lambda it: it.sending.wrong.lost,
    "doubled or at the wrong recipient": lambda it: it.sending.wrong.doubled,
    "reordered or misnumbered": lambda it: it.seen.violations,
    "refused": lambda it: it.sending.refused,
    "miscounted": lambda it: abs(it.sending.accepted - it.sending.delivered),
    "closed streams": lambda it: it.seen.closed,
}
"""What must not be; all 0 in a good run. Miscounted: how much more, or less, the answers promise
than one delivery a message."""


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
            median(phase.seen.latency.p99 for phase in results.of(name))
            for name in (STEADY, ATTACKED)
        )
        results.p99_ratio = attacked / steady if steady else None
    wrong = "Not every message came once, in order, or an attacker stayed."
    return Report(
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
    samples = recorder.samples
    return Phase(name, sent, seen, without_processes(samples), growth(samples))


def growth(readings: Sequence[Sample]) -> Growth:
    """How memory grew over these readings."""
    points = [(it.time - readings[0].time, it.kb) for it in readings]
    end, _ = points[-1]
    minute = min(60.0, end / 3)
    first = [kb for seconds, kb in points if seconds <= minute]
    last = [kb for seconds, kb in points if seconds >= end - minute]
    rest = [(seconds / 60, kb) for seconds, kb in points if seconds >= minute]
    slope = None
    if len(dict(rest)) >= ENOUGH_READINGS:
        slope, _ = linear_regression(*zip(*rest, strict=True))
    return Growth(median(first or last) * 1024, median(last) * 1024, slope)


def failed(results: Results) -> bool:
    """Whether a message was lost, doubled, reordered or misdirected, or an attacker stayed."""
    wrong = any(of(phase) for phase in results.phases for of in FAULTS.values())
    return wrong or any(attack.left for attack in results.attacks)


# ---- tables ----------------------------------------------------------------------------

Row = tuple[str, ...]
"""Name, a figure for each kind of phase, budget, verdict."""

Kinds = list[list[Phase]]
"""The phases by kind: those without attackers; those with, if there are any."""


def _sections(results: Results, options: Options) -> list[Section]:
    kinds = [phases for name in (STEADY, ATTACKED) if (phases := results.of(name))]
    names = [phases[0].name for phases in kinds]
    rows = list(_rows(kinds))
    if (ratio := results.p99_ratio) is not None:
        good = verdict(ratio <= ATTACK_BUDGET)
        rows.append(("p99, attacked : steady", "", f"{ratio:.2f}", f"<= {ATTACK_BUDGET}", good))
    rounds = f", {options.rounds} of each" if len(kinds[0]) > 1 else ""
    title = (
        f"{options.streams:,} streams, {options.rate:,.0f} messages/s by POST, "
        f"{options.minutes:g} min a phase{rounds}"
    )
    latency = Table(("up to", *names), _histogram(kinds))
    return [
        Section(title, [Table(("", *names, "budget", "verdict"), rows)]),
        Section("Latency, POST to the client's read", [latency]),
        *([_attacks(results.attacks)] if results.attacks else []),
    ]


def _rows(kinds: Kinds) -> Iterator[Row]:
    def row(
        name: str,
        said: str,
        of: Callable[[Phase], float],
        limit: str = "",
        good: bool | None = None,
        whole: Callable[[Iterator[float]], float] = median,
    ) -> Row:
        figures = (said.format(whole(map(of, phases))) for phases in kinds)
        return name, *figures, limit, "" if good is None else verdict(good)

    yield row("messages sent", "{:,}", lambda it: it.sending.messages, whole=sum)
    yield row("messages that came", "{:,}", lambda it: it.seen.messages, whole=sum)
    for fault, of in FAULTS.items():
        good = not any(of(phase) for phases in kinds for phase in phases)
        yield row(fault, "{:,}", of, "0", good, whole=sum)
    p99s = [[phase.seen.latency.p99 for phase in phases] for phases in kinds]
    fast = all(median(p99) <= P99_BUDGET_MS for p99 in p99s)
    most = f"<= {P99_BUDGET_MS:g} ms"
    yield row("latency p50", "{:.2f} ms", lambda it: it.seen.latency.p50)
    yield row("latency p99", "{:.2f} ms", lambda it: it.seen.latency.p99, most, fast)
    if len(p99s[0]) > 1:
        yield "  of each phase", *(", ".join(f"{it:.2f}" for it in p99) for p99 in p99s), "", ""
    yield row("latency p99.9", "{:.2f} ms", lambda it: it.seen.latency.p999)
    yield row("latency max", "{:.2f} ms", lambda it: it.seen.latency.max)
    yield row("load's own lag p99", "{:.2f} ms", lambda it: it.sending.lag.p99)
    yield row("server's CPU", "{:.1%}", lambda it: it.sending.cost.share("server"))
    yield row("load's CPU", "{:.1%}", lambda it: it.sending.cost.share("flood", "generate"))
    yield row("others' CPU", "{:.1%}", lambda it: it.sending.cost.share("others"))
    first = kinds[0][0]
    small = first.largest / 2**20 <= MEMORY_BUDGET_MB
    flat = first.growth.last_minute <= first.growth.first_minute * (1 + GROWTH_BUDGET)
    most = f"<= {MEMORY_BUDGET_MB:g} MB"
    yield row("memory, at most", "{:.1f} MB", lambda it: it.largest / 2**20, most, small, next)
    size = "{:.2f} MB"
    yield row("first minute, median", size, lambda it: it.growth.first_minute / 2**20, whole=next)
    more, last = f"<= {GROWTH_BUDGET:.0%} more", "last minute, median"
    yield row(last, size, lambda it: it.growth.last_minute / 2**20, more, flat, next)
    slopes = (phases[0].growth.slope_kb_a_minute for phases in kinds)
    told = ("-" if slope is None else f"{slope:+.1f} KB/min" for slope in slopes)
    yield "slope after the first", *told, "", ""


def _histogram(kinds: Kinds) -> list[Row]:
    steps = [dict[float, int]() for _ in kinds]
    for found, phases in zip(steps, kinds, strict=True):
        for bound, count in (it for phase in phases for it in phase.seen.latency.histogram):
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
    limit = HEAD_TIMEOUT + GRACE
    columns: dict[str, Callable[[attackers.Outcome], str | int]] = {
        "opened": lambda it: it.opened,
        "at the same time": lambda it: it.held_at_most,
        f"gone within {limit:g} s": lambda it: it.gone_in_time,
        "gone later": lambda it: it.gone - it.gone_in_time,
        "left": lambda it: it.left,
        "longest stay": lambda it: f"{it.longest:.1f} s",
        "could not connect": lambda it: it.failed,
    }
    title = (
        f"Attackers: a request head, one byte each {attackers.PAUSE:g} s; "
        f"the limit is {HEAD_TIMEOUT:g} s"
    )
    return Section(title, [table(attacks, columns)])
