"""The tables of ``python -m bench steady``.

With several phases of a kind: sums of messages, medians of latencies and shares; memory
is that of the first, since what attackers took is kept for the next ones.

May import: steady, attackers, generator, ledger, report.
"""

from collections.abc import Callable
from statistics import median

from rich.table import Table

from . import attackers, report
from .generator import Outcome
from .ledger import BOUNDS, Faults
from .steady import ATTACKED, GRACE, HEAD_TIMEOUT, STEADY, Options, PhaseResult, Results

P99_BUDGET_MS = 5.0
MEMORY_BUDGET_MB = 40.0
GROWTH_BUDGET = 0.01
"""Of memory, from the first minute's median to the last's: less is noise."""
ATTACK_BUDGET = 1.5
"""p99 beside attackers to p99 without."""

Row = tuple[str, list[str], str, bool | None]
"""Name, a figure for each kind of phase, budget, whether it was met."""

Kinds = list[list[PhaseResult]]
"""The phases by kind: those without attackers; those with, if there are any."""


def tables(results: Results, options: Options) -> list[Table]:
    """The outcome, to be printed."""
    kinds = [phases for name in (STEADY, ATTACKED) if (phases := results.of(name))]
    rounds = f", {options.rounds} of each" if options.rounds > 1 else ""
    made = report.table(
        f"{options.streams:,} streams, {options.rate:,.0f} messages/s by POST, "
        f"{options.minutes:g} min a phase{rounds}",
        "",
        *(phases[0].name for phases in kinds),
        "budget",
        "",
    )
    rows = [*_messages(kinds), *_latency(kinds), *_cost(kinds)]
    if (ratio := results.p99_ratio) is not None:
        name = "p99, attacked : steady"
        rows.append((name, ["", f"{ratio:.2f}"], f"<= {ATTACK_BUDGET}", ratio <= ATTACK_BUDGET))
    for name, figures, budget, good in rows:
        made.add_row(name, *figures, budget, "" if good is None else report.verdict(good))
    return [made, _histogram(kinds), *([_attacks(results.attacks)] if results.attacks else [])]


def _messages(kinds: Kinds) -> list[Row]:
    outcomes = [[phase.outcome for phase in phases] for phases in kinds]

    def sums(name: str, *, of_faults: bool = False) -> list[int]:
        return [
            sum(int(getattr(one.faults if of_faults else one, name)) for one in each)
            for each in outcomes
        ]

    rows: list[Row] = [
        ("messages sent", [f"{n:,}" for n in sums("sent")], "", None),
        ("messages that came", [f"{n:,}" for n in sums("received")], "", None),
    ]
    for fault in Faults.__struct_fields__:
        counts = sums(fault, of_faults=True)
        rows.append((fault.replace("_", " "), [f"{n:,}" for n in counts], "0", not any(counts)))
    return rows


def _latency(kinds: Kinds) -> list[Row]:
    def each(of: Callable[[Outcome], float]) -> list[str]:
        return [f"{median(of(phase.outcome) for phase in phases):.2f} ms" for phases in kinds]

    p99s = [[phase.outcome.latency.p99 for phase in phases] for phases in kinds]
    good = all(median(p99) <= P99_BUDGET_MS for p99 in p99s)
    rows: list[Row] = [
        ("latency p50", each(lambda one: one.latency.p50), "", None),
        ("latency p99", each(lambda one: one.latency.p99), f"<= {P99_BUDGET_MS:g} ms", good),
    ]
    if len(p99s[0]) > 1:
        rounds = [", ".join(f"{one:.2f}" for one in p99) for p99 in p99s]
        rows.append(("  of each phase", rounds, "", None))
    return [
        *rows,
        ("latency p99.9", each(lambda one: one.latency.p999), "", None),
        ("latency max", each(lambda one: one.latency.max), "", None),
        ("load's own lag p99", each(lambda one: one.lag.p99), "", None),
    ]


def _cost(kinds: Kinds) -> list[Row]:
    def shares(of: Callable[[PhaseResult], float]) -> list[str]:
        return [f"{median(map(of, phases)):.1%}" for phases in kinds]

    largest = [phases[0].largest / 2**20 for phases in kinds]
    growths = [phases[0].growth for phases in kinds]
    flat = growths[0].last_minute <= growths[0].first_minute * (1 + GROWTH_BUDGET)
    return [
        ("server's CPU", shares(lambda phase: phase.server_share), "", None),
        ("load's CPU", shares(lambda phase: phase.load_share), "", None),
        ("others' CPU", shares(lambda phase: phase.other_share), "", None),
        (
            "memory, at most",
            [f"{megabytes:.1f} MB" for megabytes in largest],
            f"<= {MEMORY_BUDGET_MB:g} MB",
            largest[0] <= MEMORY_BUDGET_MB,
        ),
        ("first minute, median", [f"{g.first_minute / 2**20:.2f} MB" for g in growths], "", None),
        (
            "last minute, median",
            [f"{g.last_minute / 2**20:.2f} MB" for g in growths],
            f"<= {GROWTH_BUDGET:.0%} more",
            flat,
        ),
        ("slope after the first", [_slope(g.slope_kb_a_minute) for g in growths], "", None),
    ]


def _slope(slope: float | None) -> str:
    return "-" if slope is None else f"{slope:+.1f} KB/min"


def _histogram(kinds: Kinds) -> Table:
    made = report.table(
        "Latency, POST to the client's read", "up to", *(phases[0].name for phases in kinds)
    )
    names = [f"{bound:g} ms" for bound in BOUNDS] + ["more"]
    histograms = (
        map(sum, zip(*(phase.outcome.histogram for phase in phases), strict=True))
        for phases in kinds
    )
    received = [sum(phase.outcome.received for phase in phases) for phases in kinds]
    for name, *counts in zip(names, *histograms, strict=True):
        if any(counts):
            shares = (
                f"{count:,}  {count / max(1, of):7.2%}"
                for count, of in zip(counts, received, strict=True)
            )
            made.add_row(name, *shares)
    return made


def _attacks(attacks: list[attackers.Outcome]) -> Table:
    made = report.table(
        f"Attackers: a request head, one byte each {attackers.PAUSE:g} s; "
        f"the limit is {HEAD_TIMEOUT:g} s",
        "opened",
        "at the same time",
        f"gone within {HEAD_TIMEOUT + GRACE:g} s",
        "gone later",
        "left",
        "longest stay",
        "could not connect",
    )
    for attack in attacks:
        made.add_row(
            f"{attack.opened:,}",
            f"{attack.held_at_most:,}",
            f"{attack.gone_in_time:,}",
            f"{attack.gone - attack.gone_in_time:,}",
            f"{attack.left:,}",
            f"{attack.longest:.1f} s",
            f"{attack.failed:,}",
        )
    return made
