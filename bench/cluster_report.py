"""The report of ``python -m bench cluster``: budgets and tables."""

import operator
from collections.abc import Iterator
from itertools import product
from statistics import median

from . import graphs
from .cluster import Options, Results, measure
from .cluster_crossing import ACROSS, ALONE, GATEWAYS, WAYS, Crossing, contestant
from .cluster_memory import Memory
from .cluster_spread import NODES, Spread
from .course import Course
from .one_core import Lacking, groups
from .report import Block, Budget, Report, Section, at_most, facts, none, table
from .servers.nats import missing

FULL = Options()
"""What the budgets are for; a smaller run is only judged by what must never be."""

P99_BUDGET = 20.0
"""Milliseconds."""
MEMORY_BUDGET = 512
"""Bytes a user, of Encke's memory, beyond what it is without NATS."""
RETURN_BUDGET = 10.0
"""Seconds from when NATS is back until all interest is."""
RATIO_BUDGET = 0.5
"""Throughput of messages that cross NATS, to that of those that don't."""

_SPREAD_HOW = (
    f"{NODES} NATS servers are joined, each has a node. Messages are sent to each node by a "
    "POST each, to users wherever they are, so two of three cross. Each is counted for its "
    "user where it's sent and where it arrives, and these counts are compared; holes, "
    "repetitions and disorder are also looked for in each stream. All processes share all "
    "cores."
)

_INTEREST_HOW = (
    "A user logs in on one node. From the last byte of the head on, messages are sent to them "
    "through a node at another NATS server, each 0.2 ms one; counted is the time when the "
    "first one that came was sent. At the same NATS server it's the first one always."
)

_CROSSING_HOW = (
    "Messages to random streams. Alone: one node has them and is sent to. Across: one node "
    "has them, another one is sent to, a NATS server is between. All server processes, NATS "
    "among them, are on one core, the clients on another one. The time is that until the last "
    "message has come; medians of the rounds."
)

_MEMORY_HOW = (
    "Each user has a stream; memory is PSS, summed over all of its processes. The NATS server "
    "is ended and started again: it keeps nothing, so the node subscribes to all users anew, "
    "and says that it's ready once the server has processed that."
)


def run(options: Options, course: Course) -> Report:
    """Nodes joined through NATS: delivery, throughput, memory, return; and a report.

    It takes some ten minutes, needs nats-server and a C compiler, and leaves a folder with
    README.md, a graph and results.json. With --quick and without --report nothing is kept.

    Exit code 1 if a message was refused, lost, doubled or out of order, or a stream was closed.
    """
    if reason := missing():
        raise Lacking(f"this benchmark: {reason}.")
    return report(measure(options, course), options)


def report(results: Results, options: Options) -> Report:
    """What was found."""
    parts = []
    if (spread := results.spread) is not None:
        parts.append(Section("Three nodes, three NATS servers", _spread(spread)))
        parts.append(Section("From the head to being reached", _interest(spread)))
    if (crossing := results.crossing) is not None:
        parts.append(Section("Across NATS, and alone", _crossing(crossing)))
    if (memory := results.memory) is not None:
        parts.append(Section("Very many users of one node", _memory(memory)))
    wrong = "A message was refused, lost, doubled or out of order."
    return Report(
        title="Nodes joined through NATS",
        summary=" ".join(_summary(results)),
        results=results,
        budgets=list(budgets(results, options)),
        sections=parts,
        fault=wrong if results.faulty else "",
    )


def budgets(results: Results, options: Options) -> Iterator[Budget]:
    """What was promised, and what was found."""
    if results.spread is not None:
        yield from _spread_budgets(results.spread, options)
    if results.crossing is not None:
        yield from _crossing_budgets(results.crossing, options)
    if results.memory is not None:
        yield from _memory_budgets(results.memory)


def _spread_budgets(spread: Spread, options: Options) -> Iterator[Budget]:
    full = (
        spread.users >= FULL.spread_users
        and options.rate >= FULL.rate
        and options.minutes >= FULL.minutes
    )
    yield Budget(
        f"messages to {spread.users:,} users of three nodes, from all three",
        f"{spread.rate:,.0f}/s for {spread.seconds:,.0f} s",
        f">= {FULL.rate:,.0f}/s for {FULL.minutes * 60:,.0f} s",
        spread.rate >= FULL.rate if full else None,
    )
    p99 = spread.came.latency.p99
    yield at_most("their latency, p99", p99, P99_BUDGET, "{:,.1f} ms", judged=full)
    yield none("of them refused", spread.refused)
    yield none("of them lost", spread.wrong.lost)
    yield none("of them doubled", spread.wrong.doubled)
    yield none("of them out of order", spread.came.violations)
    yield none("streams closed", spread.came.closed)


def _crossing_budgets(crossing: Crossing, options: Options) -> Iterator[Budget]:
    full = options.crossing_seconds >= FULL.crossing_seconds
    for ratio in crossing.ratios:
        yield Budget(
            f"across NATS : alone, {ratio.name}",
            f"{ratio.wall:.2f} by the clock, {ratio.cpu:.2f} by CPU time",
            f">= {RATIO_BUDGET}",
            ratio.wall >= RATIO_BUDGET if full else None,
        )
    errors = [sample.error for sample in crossing.samples if sample.error]
    yield none("measurements in which not all came", "; ".join(errors))


def _memory_budgets(memory: Memory) -> Iterator[Budget]:
    full = memory.joined.streams >= FULL.users
    users = f"{memory.joined.streams:,} users on one node"
    what = f"{users}: Encke's memory a user, beyond that without NATS"
    yield at_most(what, memory.more_a_user, MEMORY_BUDGET, "{:,.0f} bytes", judged=full)
    what = "all of their interest restored, after NATS was restarted"
    yield at_most(what, memory.seconds_to_return, RETURN_BUDGET, "{:.1f} s", judged=full)
    yield Budget(
        f"of {memory.messages:,} messages through another node then: refused, lost, doubled",
        f"{memory.refused:,}, {memory.wrong.lost:,}, {memory.wrong.doubled:,}",
        "0",
        not (memory.refused or memory.wrong),
    )


def _summary(results: Results) -> Iterator[str]:
    if (spread := results.spread) is not None:
        yield (
            f"{spread.users:,} users on three nodes, each at a NATS server of its own: "
            f"{spread.messages:,} messages from all three, {spread.rate:,.0f} a second, took "
            f"{spread.came.latency.p50:.1f} ms (p50), {spread.came.latency.p99:.1f} ms (p99); "
            f"{spread.wrong.lost:,} were lost, {spread.wrong.doubled:,} came twice, "
            f"{spread.came.violations:,} out of order."
        )
    if (crossing := results.crossing) is not None and crossing.ratios:
        rates = [ratio.wall for ratio in crossing.ratios]
        yield (
            f"Messages that cross NATS are delivered at {min(rates):.2f} to {max(rates):.2f} of "
            "the rate of those that don't, on the same core."
        )
    if (memory := results.memory) is not None:
        yield (
            f"With {memory.joined.streams:,} users a node takes {memory.more_a_user:,.0f} bytes a "
            f"user more than alone, the NATS server {memory.nats_a_user:,.0f}; "
            f"{memory.seconds_to_return:.1f} s after the NATS server was back, so were all."
        )


# ---- sections ----------------------------------------------------------------------------


def _spread(it: Spread) -> list[Block]:
    def each(seconds: float) -> str:
        return f"{seconds / it.messages * 1e6:.1f} µs a message, {seconds / it.seconds:.2f} cores"

    found = facts(
        ("users, of three nodes together", it.users),
        ("until all streams were open", f"{it.seconds_to_open:.1f} s"),
        ("messages", it.messages),
        ("accepted a second", f"{it.rate:,.0f}"),
        ("until the last one had come", f"{it.seconds:.1f} s"),
        ("from sending to arrival", str(it.came.latency)),
        *(
            (f"node {number}: from sending to the answer", str(sent.answers))
            for number, sent in enumerate(it.sent)
        ),
        *((f"node {at}: later than due", str(sent.lag)) for at, sent in enumerate(it.sent)),
        ("CPU: nodes", each(it.nodes_cpu)),
        ("CPU: NATS servers", each(it.nats_cpu)),
        ("CPU: encke flood", each(it.flood_cpu)),
        ("CPU: encke generate", each(it.generate_cpu)),
        ("CPU: others", f"{it.others_cpu / it.seconds:.2f} cores"),
    )
    title = "From sending to arrival, three nodes"
    return [_SPREAD_HOW, found, *graphs.latencies("latency", it.came.latency, title)]


def _interest(spread: Spread) -> list[Block]:
    it = spread.interest
    times = (("p50", it.p50), ("p99", it.p99), ("max", it.max))
    found = facts(
        ("users who logged in, one after the other", it.rounds),
        ("of them reached by the first message", it.at_once),
        *(
            (f"from the head to the first message that came, {name}", f"{seconds * 1000:.2f} ms")
            for name, seconds in times
        ),
    )
    return [_INTEREST_HOW, found]


def _crossing(crossing: Crossing) -> list[Block]:
    group = groups(crossing.samples)
    rates = table(
        (
            group[contestant(name, gateways), how]
            for gateways, how, name in product(GATEWAYS, WAYS, (ALONE, ACROSS))
        ),
        {
            "": lambda its: f"{its[0].contestant}, {its[0].how}",
            "messages/s": lambda its: f"{median(it.rate for it in its):,.0f}",
            "CPU a message": lambda its: f"{median(it.us for it in its):.1f} µs",
            "of it nodes": lambda its: f"{median(it.us - it.nats_us for it in its):.1f} µs",
            "of it NATS": lambda its: f"{median(it.nats_us for it in its):.1f} µs",
            "load's CPU": lambda its: f"{median(it.load_share for it in its):.0%}",
            "others' CPU": lambda its: f"{median(it.other_share for it in its):.0%}",
        },
    )
    compared = table(
        crossing.ratios,
        {
            "across : alone": lambda it: it.name,
            "by the clock": lambda it: f"{it.wall:.2f}",
            "by CPU time": lambda it: f"{it.cpu:.2f}",
        },
    )
    return [_CROSSING_HOW, rates, compared]


def _memory(it: Memory) -> list[Block]:
    opened = table(
        (("alone", it.alone), ("joined", it.joined)),
        {
            "": operator.itemgetter(0),
            "until all open": lambda its: f"{its[1].seconds:.1f} s",
            "server's CPU": lambda its: f"{its[1].cost.server:.1f} s",
            "memory": lambda its: f"{its[1].memory / 1e6:.1f} MB",
            "a user": lambda its: f"{its[1].bytes_a_stream:,.0f}",
            "came with the users": lambda its: f"{its[1].growth_a_stream:,.0f}",
        },
    )
    found = facts(
        ("Encke's memory a user more than alone", f"{it.more_a_user:,.0f} bytes"),
        ("the NATS server's memory without a user", f"{it.nats_before / 1e6:.1f} MB"),
        ("with all of them", f"{it.nats_after / 1e6:.1f} MB"),
        ("a user", f"{it.nats_a_user:,.0f} bytes"),
        ("its CPU while all logged in", f"{it.nats_open_cpu:.1f} s"),
        ("NATS ended, until the node said that it isn't ready", f"{it.seconds_to_notice:.2f} s"),
        ("NATS back, until the node was ready again", f"{it.seconds_to_return:.2f} s"),
        ("subscriptions that the server had then", it.subscriptions),
        ("streams closed", it.closed),
    )
    return [_MEMORY_HOW, opened, found]
