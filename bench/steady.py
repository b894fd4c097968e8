"""``python -m bench steady``: does it stay exact, fast and small under a steady load?

Messages to random users at a fixed rate, each by ``POST /send/{id}``, each checked for
exactly once, in order, right recipient; latency from POST to the client's read; memory
of each server process all the while. With attackers, phases without them and phases of
the same length beside slow-header attackers take turns, and show what these do to the good
clients.

Server and load run on all cores, as they do elsewhere.

May import: generator, attackers, load.usage, peers, processes, report.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import linear_regression, median

import msgspec

from encke.tools.load.usage import busy_seconds

from . import attackers, generator, report
from .peers import Server, encke
from .processes import BenchError, Cores, Talker, running
from .report import Say

HEAD_TIMEOUT = 10.0
"""Seconds that the measured server gives a request head."""

GRACE = 2.0
"""Seconds that an attacker may stay beyond that."""

ATTACKERS_EACH = 15_000
"""Attackers in one process: 20,000 files is a common hard limit."""

ENOUGH_READINGS = 6
"""For a slope that means anything."""

SAMPLE_EVERY, SAY_EVERY = 5, 10
"""Seconds between two readings of memory, and between two printed lines."""


STEADY, ATTACKED = "steady", "attacked"
"""The kinds of phases."""


class Options(msgspec.Struct, frozen=True):
    """The flags of the command; `minutes` is the length of a phase."""

    streams: int = 10_000
    rate: float = 1_000.0
    minutes: float = 10.0
    attackers: int = 0
    rounds: int = 1
    """Phases of each kind."""
    gateways: int = 2
    senders: int = 16


class Reading(msgspec.Struct):
    """Memory at one time; bytes of PSS by pid."""

    seconds: float
    memory: dict[int, int]

    @property
    def total(self) -> int:
        """Of all processes."""
        return sum(self.memory.values())


class Growth(msgspec.Struct):
    """Medians of the readings (bytes) in the first and the last minute, and the slope.

    Of a short phase it's the first and last third.
    """

    first_minute: float
    last_minute: float
    slope_kb_a_minute: float | None
    """By least squares, over what follows the first minute; None: too few readings."""


class PhaseResult(msgspec.Struct):
    """One phase. Shares are CPU seconds a second; memory in bytes."""

    name: str
    outcome: generator.Outcome
    server_share: float
    load_share: float
    other_share: float
    """What the rest of the machine, attackers too, was busy with: large means noise."""
    timeline: list[generator.Progress]
    memory: list[Reading]
    growth: Growth

    @property
    def largest(self) -> int:
        """The largest reading."""
        return max(reading.total for reading in self.memory)


class Results(msgspec.Struct):
    """What was seen."""

    phases: list[PhaseResult]
    attacks: list[attackers.Outcome]
    p99_ratio: float | None
    """With attackers to without, of the medians of the phases."""

    def of(self, name: str) -> list[PhaseResult]:
        """The phases of a kind."""
        return [phase for phase in self.phases if phase.name == name]


def run(options: Options, _cores: Cores, _notices: list[str]) -> Results:
    """Measure; raises BenchError if it can't be done."""
    if options.streams > 19_000:
        raise BenchError("--streams: at most 19,000, more than that takes several machines.")
    with ExitStack() as stack:
        server = stack.enter_context(
            encke(
                None,
                options.gateways,
                options.streams + options.attackers,
                head_timeout=HEAD_TIMEOUT,
            )
        )
        report.progress(f"opening {options.streams:,} streams")
        load = stack.enter_context(
            _child(generator.Plan(server.port, options.streams, options.senders), "generator")
        )
        load.hear(generator.Progress)
        say = stack.enter_context(report.speaker())
        results = Results([], [], None)
        for _ in range(options.rounds):
            results.phases.append(_phase(STEADY, options, server, load, say))
            if options.attackers:
                _attacked(results, options, server, load, say)
    if options.attackers:
        steady, attacked = (
            median(phase.outcome.latency.p99 for phase in results.of(name))
            for name in (STEADY, ATTACKED)
        )
        results.p99_ratio = attacked / steady if steady else None
    return results


def _attacked(results: Results, options: Options, server: Server, load: Talker, say: Say) -> None:
    """A phase beside attackers, who come and are thrown out."""
    with ExitStack() as stack:
        crowds = [
            stack.enter_context(_child(plan, "attackers"))
            for plan in _attack_plans(options.attackers, server.port)
        ]
        say(f"{options.attackers:,} attackers come", True)
        time.sleep(attackers.PAUSE * attackers.RAMP)
        results.phases.append(_phase(ATTACKED, options, server, load, say))
        say("the attackers are given time to be thrown out", True)
        for crowd in crowds:
            crowd.say("stop")
        outcomes = [crowd.hear(attackers.Outcome) for crowd in crowds]
    results.attacks.append(attackers.together(outcomes))


@contextmanager
def _child(plan: msgspec.Struct, module: str) -> Iterator[Talker]:
    command = [
        sys.executable, "-m", f"{__package__}.{module}", msgspec.json.encode(plan).decode()
    ]  # fmt: skip
    # one session: else attackers, at idle priority, would take half of a core from the clients
    with running(command, None, own_session=False) as process:
        yield Talker(process, module)


def _attack_plans(count: int, port: int) -> Iterator[attackers.Plan]:
    for number, first in enumerate(range(0, count, ATTACKERS_EACH)):
        size = min(ATTACKERS_EACH, count - first)
        yield attackers.Plan(port, size, f"127.0.0.{10 + number}", HEAD_TIMEOUT + GRACE)


def _phase(name: str, options: Options, server: Server, load: Talker, say: Say) -> PhaseResult:
    plan = generator.Phase(options.minutes * 60, options.rate)
    cpu, busy, start = server.cpu_seconds(), busy_seconds(), time.monotonic()
    load.say(msgspec.json.encode(plan).decode())
    readings: list[Reading] = []
    timeline: list[generator.Progress] = []
    sample_at, say_at = 0.0, float(SAY_EVERY)
    outcome = None
    while outcome is None:
        progress = load.hear(generator.Progress)
        outcome, progress.outcome = progress.outcome, None
        timeline.append(progress)
        if progress.elapsed >= sample_at or outcome:
            readings.append(Reading(progress.elapsed, server.memory()))
            sample_at += SAMPLE_EVERY
        keep = progress.elapsed >= say_at
        say_at += SAY_EVERY * keep
        say(_line(name, progress, readings[-1]), keep)
    elapsed = time.monotonic() - start
    used, busy = server.cpu_seconds() - cpu, busy_seconds() - busy
    return PhaseResult(
        name,
        outcome,
        server_share=used / elapsed,
        load_share=outcome.cpu_seconds / elapsed,
        other_share=max(0.0, busy - used - outcome.cpu_seconds) / elapsed,
        timeline=timeline,
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


def _line(name: str, progress: generator.Progress, reading: Reading) -> str:
    latency = progress.latency
    return (
        f"{name} {progress.elapsed:5.0f} s  sent {progress.sent:,}  came {progress.received:,}  "
        f"p50 {latency.p50:.2f}  p99 {latency.p99:.2f}  max {latency.max:.2f} ms  "
        f"PSS {reading.total / 2**20:.1f} MB"
    )


def failed(results: Results) -> bool:
    """Whether a message was lost, doubled, reordered or misdirected, or an attacker stayed."""
    return any(phase.outcome.faults for phase in results.phases) or any(
        attack.left for attack in results.attacks
    )
