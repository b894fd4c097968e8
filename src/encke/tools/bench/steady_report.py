"""The tables of ``encke bench steady``.

May import: steady, ledger, report.
"""

from rich.table import Table

from . import attackers, report
from .ledger import BOUNDS
from .steady import GRACE, HEAD_TIMEOUT, Options, PhaseResult, Results

P99_BUDGET_MS = 5.0
MEMORY_BUDGET_MB = 40.0
GROWTH_BUDGET = 0.01
"""Of memory, from the first minute's median to the last's: less is noise."""
ATTACK_BUDGET = 1.5
"""p99 beside attackers to p99 without."""

Row = tuple[str, list[str], str, bool | None]
"""Name, a figure for each phase, budget, whether it was met."""


def tables(results: Results, options: Options) -> list[Table]:
    """The outcome, to be printed."""
    phases = results.phases
    made = report.table(
        f"{options.streams:,} streams, {options.rate:,.0f} messages/s by POST, "
        f"{options.minutes:g} min a phase",
        "",
        *(phase.name for phase in phases),
        "budget",
        "",
    )
    rows = [*_messages(phases), *_latency(phases), *_cost(phases)]
    if (ratio := results.p99_ratio) is not None:
        name = "p99, attacked : steady"
        rows.append((name, ["", f"{ratio:.2f}"], f"<= {ATTACK_BUDGET}", ratio <= ATTACK_BUDGET))
    for name, figures, budget, good in rows:
        made.add_row(name, *figures, budget, "" if good is None else report.verdict(good))
    return [made, _histogram(phases), *([_attack(results.attack)] if results.attack else [])]


def _messages(phases: list[PhaseResult]) -> list[Row]:
    outcomes = [phase.outcome for phase in phases]
    rows: list[Row] = [
        ("messages sent", [f"{one.sent:,}" for one in outcomes], "", None),
        ("messages that came", [f"{one.received:,}" for one in outcomes], "", None),
    ]
    for fault in outcomes[0].faults.__struct_fields__:
        counts = [int(getattr(one.faults, fault)) for one in outcomes]
        rows.append((fault.replace("_", " "), [f"{n:,}" for n in counts], "0", not any(counts)))
    return rows


def _latency(phases: list[PhaseResult]) -> list[Row]:
    latencies = [phase.outcome.latency for phase in phases]
    good = all(latency.p99 <= P99_BUDGET_MS for latency in latencies)
    lags = [f"{phase.outcome.lag.p99:.2f} ms" for phase in phases]
    return [
        ("latency p50", [f"{latency.p50:.2f} ms" for latency in latencies], "", None),
        (
            "latency p99",
            [f"{latency.p99:.2f} ms" for latency in latencies],
            f"<= {P99_BUDGET_MS:g} ms",
            good,
        ),
        ("latency p99.9", [f"{latency.p999:.2f} ms" for latency in latencies], "", None),
        ("latency max", [f"{latency.max:.2f} ms" for latency in latencies], "", None),
        ("load's own lag p99", lags, "", None),
    ]


def _cost(phases: list[PhaseResult]) -> list[Row]:
    largest = [phase.largest / 2**20 for phase in phases]
    growths = [phase.growth for phase in phases]
    flat = growths[0].last_minute <= growths[0].first_minute * (1 + GROWTH_BUDGET)
    return [
        ("server's CPU", [f"{phase.server_share:.1%}" for phase in phases], "", None),
        ("load's CPU", [f"{phase.load_share:.1%}" for phase in phases], "", None),
        ("others' CPU", [f"{phase.other_share:.1%}" for phase in phases], "", None),
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


def _histogram(phases: list[PhaseResult]) -> Table:
    made = report.table("Latency, POST to the client's read", "up to", *(p.name for p in phases))
    names = [f"{bound:g} ms" for bound in BOUNDS] + ["more"]
    for name, *counts in zip(names, *(p.outcome.histogram for p in phases), strict=True):
        if any(counts):
            shares = (
                f"{count:,}  {count / max(1, phase.outcome.received):7.2%}"
                for count, phase in zip(counts, phases, strict=True)
            )
            made.add_row(name, *shares)
    return made


def _attack(attack: attackers.Outcome) -> Table:
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
