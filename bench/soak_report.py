"""The report of ``python -m bench soak``: is it flat?"""

from collections.abc import Callable, Sequence

from encke.tools.watch import Sample

from . import graphs
from .course import Course
from .report import Block, Budget, Report, Section, Table, facts, none, table
from .soak import ABSENT, DAY, Options, Results, measure
from .soak_readings import FILES, OWN, PSS, WHOLE, Inventory, Track, more

BEND = 0.01
"""Share of its memory that a process may grow by in a day, beyond the noise, and is flat."""

ENOUGH = 1 / 3
"""Share of a day's messages from which on a slope is projected to a day."""

READINGS = "readings.tsv"

NOISE = """\
How the noise is determined: a server's memory wavers from reading to reading, and goes in
steps (an arena is taken, a table doubles), so that neighbouring readings are alike, and the
textbook's error of a slope is far too small. So the readings after the warm-up are cut into
twelve blocks, and the eleven steps from one block's mean to the next are looked at. Were
memory a random walk with steps of that spread, and without any drift, the slope of the
straight line through all readings would lie within ± noise in 95 of 100 runs. One step,
however large, is thus no growth; steps that keep coming are. Where a slope is beyond its
noise, it's stated what it comes to in a day; less than {bend:.0%} of the process's memory
is no bending. (Of six slopes one is beyond its noise by chance in one of four runs.)"""


SHARED = """\
What is judged is anonymous memory: all that a process can have written to, the heap and the
stacks. Of a process it's what it has mapped, shared or not; of all together each page counts
once. PSS, which the graph shows, counts a page that n processes share as 1/n for each: that of
a process grows when another Python process of this machine ends, or writes to a page that they
had in common since the fork. "An hour" is the slope ± its noise; "a day", what it comes to in
as many messages, logins and logouts as a day has; "of it", that as a share of the memory."""


def run(options: Options, course: Course) -> Report:
    """A day's messages, logins and logouts in an hour: does memory grow, is anything lost?

    By default as many messages as 24 hours have at 1,000 a second. If the machine can't send
    them in the time, the report says how many were sent. It leaves a folder with README.md, a
    graph, readings.tsv and results.json. With --quick and without --report nothing is kept.

    Exit code 1 if a message was lost, doubled or out of order, a process died, something
    wasn't given back, or memory grew.
    """
    results, samples, history = measure(options, course)
    caption = (
        "Memory, connections, messages and CPU, of the whole node, and of each process. "
        "Mark 1: the warm-up ends; slopes are of what follows."
    )
    memory: list[Block] = [
        graphs.over_time("soak", samples, _title(results), caption),
        SHARED,
        _memory_of(results, OWN),
        _memory_of(results, PSS),
        NOISE.format(bend=BEND),
    ]
    wrong = "A message or a process was lost, something wasn't given back, or memory grew."
    return Report(
        title=_title(results),
        summary="\n\n".join([_events(results, options), _method(options), _found(results)]),
        results=results,
        budgets=budgets(results, options),
        sections=[
            Section("Memory", memory),
            Section("What must not creep", [_creeping(results), _inventories(results.inventories)]),
            Section("Messages", [_messages(results, options)]),
            Section("Costs", [_costs(results, samples)]),
        ],
        attached={READINGS: history.table()},
        fault=wrong if faulty(results, options) else "",
    )


def _title(results: Results) -> str:
    events = f"{results.sent:,} messages, {results.logins:,} logins and logouts"
    return f"A day in {_duration(results.seconds)}: {events}" if results.sent >= DAY else events


def _events(results: Results, options: Options) -> str:
    kept_up = results.sent + results.refused >= options.messages
    return (
        f"{results.sent:,} messages, {results.logins:,} logins and {results.logouts:,} logouts in "
        f"{_duration(results.seconds)}: {results.sent / DAY:.1%} of the messages that a day has at "
        f"1,000 a second, compressed to {results.sent / results.seconds:,.0f} a second."
        + ("" if kept_up else _fell_behind(options))
    )


def _method(options: Options) -> str:
    return (
        f"{options.streams:,} streams: half of them stay, and each of their messages is accounted "
        f"for; the other half churn, {options.churn:,.0f} leaving and coming back a second, by FIN "
        "and RST in turns. Messages go to all alike, and to "
        f"{options.streams // ABSENT:,} users who aren't there; {options.posts:g} a second by a "
        "POST each, the others by NDJSON. What the server does by the clock (heartbeats, limits "
        "of time) runs at its usual pace, and isn't compressed.\n\n"
        f"The node is read every {options.period:g} s ([{READINGS}]({READINGS})); the first "
        f"{options.warm_up:.3g} s, in which caches fill and arenas are taken, are not judged; all "
        "processes of the load were there before."
    )


def _found(results: Results) -> str:
    """What the slopes say, in a sentence."""
    judged = [track for track in results.tracks if track.quantity == OWN]
    if not judged or any(_share(track, results) is None for track in judged):
        return "The run is too short to say what its slopes come to in a day."
    bent = [track for track in judged if track.slope is not None and not track.slope.flat]
    if not bent:
        return "**Memory is flat**: the slope of each process, and of all, is within its noise."
    said = (
        f"{track.process} {_day(track, results):+,.0f} KB in a day, "
        f"{_share(track, results):+.2%} of it ({verdict(track, results)})"
        for track in bent
    )
    rest = "" if len(bent) == len(judged) else "; the slopes of the others are within theirs"
    return f"Memory beyond the noise: {', '.join(said)}{rest}."


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


def _fell_behind(options: Options) -> str:
    return (
        f" The machine did not keep up with the {options.messages / options.pace:,.0f} a second "
        f"that {options.messages:,} messages take: that's how many were sent in the time."
    )


# ---- budgets ---------------------------------------------------------------------------


def budgets(results: Results, options: Options) -> list[Budget]:
    """What was promised, and what was found."""
    return [
        _at_least("messages", results.sent, options.messages),
        _at_least("logins, and logouts", min(results.logins, results.logouts), options.logins),
        *faults(results, options),
        growth(results),
    ]


def faulty(results: Results, options: Options) -> bool:
    """Whether there was a fault, or memory grew. To be slow is none."""
    return any(budget.met is False for budget in [*faults(results, options), growth(results)])


def faults(results: Results, options: Options) -> list[Budget]:
    """What must not be in any run, however short."""
    staying, churning = results.staying, results.churning
    before, *_, half, emptied = results.inventories
    return [
        none("messages that were not accepted", results.refused),
        none("lost, of those to the staying half", results.wrong.lost),
        none("doubled, of those", results.wrong.doubled),
        none("out of order, of those to anyone", staying.violations + churning.violations),
        none("streams that could not be opened", staying.failed.total + churning.failed.total),
        none("streams of the staying half that were closed", staying.closed),
        none("processes that died", results.replaced),
        _held("connections and users, once the churning half has left", half, options.staying),
        _held("connections and users, once all have left", emptied, 0),
        _no_more("open files then, more than at first", more(emptied.files, before.files)),
        _no_more("threads then, more than at first", more(emptied.threads, before.threads)),
    ]


def _at_least(what: str, found: int, least: int) -> Budget:
    return Budget(what, f"{found:,}", f">= {least:,}", found >= least)


def _held(what: str, found: Inventory, streams: int) -> Budget:
    said, limit = (" and ".join(f"{it:,}" for it in each) for each in (found.held, [streams] * 2))
    return Budget(what, said, limit, said == limit)


def _no_more(what: str, found: dict[str, int]) -> Budget:
    return none(what, ", ".join(f"{name} {count:,}" for name, count in found.items()))


def growth(results: Results) -> Budget:
    """The largest growth beyond its noise; None: too short a run to say."""
    what = "growth of any process, or of all, in a day, if beyond the noise"
    memory = [it for it in results.tracks if it.quantity == OWN]
    limit = f"< {BEND:.0%}"
    shares = []
    for track in memory:
        share = _share(track, results)
        if track.slope is None or share is None:
            return Budget(what, "too short a run", limit, None)
        shares.append(0.0 if track.slope.flat else share)
    most = max(shares, default=0.0)
    return Budget(what, f"{most:+.2%}" if most > 0 else "none", limit, most < BEND)


# ---- memory ----------------------------------------------------------------------------


def _day(track: Track, results: Results) -> float | None:
    """What the slope comes to in as many messages as a day has, KB; None: too short a run."""
    if track.slope is None or results.sent < ENOUGH * DAY:
        return None
    return track.slope.kb_per_hour * results.hours_a_day


def _share(track: Track, results: Results) -> float | None:
    """The same as a share of the memory."""
    day = _day(track, results)
    return None if day is None else day / max(1.0, track.mean)


def verdict(track: Track, results: Results) -> str:
    """Whether memory is flat, in a word."""
    slope, share = track.slope, _share(track, results)
    if slope is None:
        return "too few readings"
    if slope.flat:
        return "flat"
    if share is None:
        return "beyond the noise"
    if abs(share) < BEND:
        return "no bending"
    return "**grows**" if share > 0 else "shrinks"


def _memory_of(results: Results, quantity: str) -> Table:
    columns: dict[str, Callable[[Track], str]] = {
        quantity: lambda it: "all" if it.process == WHOLE else it.process,
        **_RANGE,
        "an hour": _slope,
        "a day": lambda it: _signed(_day(it, results), "{:+,.1f}"),
        "of it": lambda it: _signed(_share(it, results), "{:+.2%}"),
        "": lambda it: verdict(it, results),
    }
    return table((it for it in results.tracks if it.quantity == quantity), columns)


_RANGE: dict[str, Callable[[Track], str]] = {
    "lowest": lambda it: f"{it.lowest:,.0f}",
    "mean": lambda it: f"{it.mean:,.0f}",
    "highest": lambda it: f"{it.highest:,.0f}",
}


def _signed(figure: float | None, said: str) -> str:
    return "-" if figure is None else said.format(figure)


def _slope(track: Track) -> str:
    slope = track.slope
    return f"{slope.kb_per_hour:+,.1f} ± {slope.noise:,.1f}" if slope else "-"


# ---- counts ----------------------------------------------------------------------------


def _creeping(results: Results) -> Table:
    def name(it: Track) -> str:
        return it.quantity.replace("_", " ") + ("" if it.process == WHOLE else f", {it.process}")

    tracks = sorted((it for it in results.tracks if it.quantity not in (OWN, PSS)), key=name)
    flat = {" ": lambda it: "flat" if it.slope and it.slope.flat else ""}
    return table(tracks, {"": name, **_RANGE, "an hour": _slope, **flat})


def _inventories(seen: Sequence[Inventory]) -> Table:
    return table(
        seen,
        {
            "": lambda it: it.when,
            "connections": lambda it: it.connections,
            "users": lambda it: it.users,
            "logins": lambda it: it.logins,
            "logouts": lambda it: it.logouts,
            FILES: lambda it: sum(it.files.values()),
            "threads": lambda it: sum(it.threads.values()),
            OWN: lambda it: it.memory,
        },
    )


# ---- messages and costs ----------------------------------------------------------------


def _messages(results: Results, options: Options) -> Table:
    ndjson, post = results.ndjson, results.post
    delivered = ndjson.delivered + post.delivered
    came = results.staying.messages + results.churning.messages
    latency = results.staying.latency
    return facts(
        ("asked for", options.messages),
        ("accepted, of NDJSON", ndjson.accepted),
        ("accepted, of POST", post.accepted),
        ("delivered, as the server says", delivered),
        ("came", came),
        ("written to who was just leaving", delivered - came),
        ("to the staying half: due", results.due),
        ("came", results.staying.messages),
        ("clients that were too slow, and closed", results.slow_clients),
        ("latency, staying half: p50", f"{latency.p50:.2f} ms"),
        ("p99", f"{latency.p99:.2f} ms"),
        ("p99.9", f"{latency.p999:.2f} ms"),
        ("max", f"{latency.max:.2f} ms"),
        of=("", "messages"),
    )


def _costs(results: Results, samples: Sequence[Sample]) -> Table:
    load = (
        ("encke generate, NDJSON", results.ndjson.cpu_seconds, results.ndjson.accepted),
        ("encke generate, POST", results.post.cpu_seconds, results.post.accepted),
        ("encke flood, staying", results.staying.cpu_seconds, results.staying.messages),
        ("encke flood, churning", results.churning.cpu_seconds, results.churning.messages),
    )
    used = ("the server", samples[-1].cpu_seconds, results.sent)
    rows = [
        (name, f"{cpu:,.1f} s", f"{cpu / max(1, count) * 1e6:.1f} us")
        for name, cpu, count in (used, *load)
    ]
    return Table(("CPU", "in all", "a message"), rows)
