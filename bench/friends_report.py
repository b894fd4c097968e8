"""The report of ``python -m bench friends``: budgets, tables, graphs."""

from collections.abc import Iterator

from encke.tools.doctor import read_machine

from . import capacity, graphs
from .course import Course
from .friends import Fastest, Options, Results, Steady, measure, sized
from .friends_popular import RATE, Popular
from .friends_stage import Published
from .loop import beside_loops
from .report import Block, Budget, Report, Section, Table, at_most, facts, none, table, warned
from .stage import LINGER, Opening

FULL = Options(connections=1_000_000)
"""What the budgets are for; a smaller run is only judged by what must never be."""

LOAD_BUDGET = 30.0
"""Seconds."""
SIZE_BUDGET = 400_000_000
"""Bytes."""
FASTEST_BUDGET = 0.7
"""Deliveries a second, as a ratio to the C write loop's messages."""
P99_BUDGET = 1_000.0
"""Milliseconds."""
MEMORY_BUDGET = 512
"""Bytes a connection of all server processes, without the store's cache."""
OTHERS_BUDGET = 2.0
"""Others' p99 while a popular publisher publishes, as a ratio to what it is else."""

TITLE = "Publishing to friends"

_METHOD = (
    (
        "All processes share all cores: server, clients (`encke flood`), publishers (`encke "
        "generate --publish --ndjson`), and what watches. Who publishes is drawn from all users, "
        "online or not, each as often as any other; who is online was drawn likewise."
    ),
    (
        "Each delivery is compared with the graph, as it is in the file that was loaded: which "
        "streams a publication must come to is not asked of the server or its store. Each "
        "publication has a random key of 63 bits. The clients keep for each stream how many came "
        "and the sum of their keys, and both must be what the graph says: a message that is "
        "missing, doubled or astray changes the sums."
    ),
    (
        "A ratio to the C write loop is that of deliveries to messages that it writes (60 bytes, "
        "each by one write) to as many sockets, with as many processes as it takes to hold them, "
        "round by round, without doing anything else; `encke flood` reads them, as from the "
        "server. Both are timed from the first message until the last has come."
    ),
    (
        f"Others' messages are {RATE:,.0f} a second, to random ones of users who have no friends "
        "and are no subscribers of the popular publisher; by NDJSON."
    ),
)


def run(options: Options, course: Course) -> Report:
    """Publishing in the article's graph: loading it, fan-out, a popular publisher; a report.

    Every delivery is compared with the graph. It leaves a folder with README.md, graphs and
    results.json. With --quick and without --report nothing is kept.

    Exit code 1 if somebody got what wasn't due, or didn't get what was; if a message was refused,
    or a stream closed.
    """
    bounds = capacity.bounds(read_machine())
    options = sized(options, bounds)
    results, samples = measure(options, bounds, course)
    parts = [Section("The graph, and loading it", _stores(results))]
    if results.fastest is not None:
        shown = graphs.over_time("fastest", samples["fastest"], TITLE)
        parts.append(Section("As fast as they can", [*_fastest(results.fastest), shown]))
    if results.steady is not None:
        shown = graphs.over_time("steady", samples["steady"], TITLE)
        parts.append(Section("At a given rate", [*_steady(results.steady), shown]))
    if results.popular is not None:
        shown = graphs.over_time("popular", samples["popular"], TITLE)
        parts.append(Section("A popular publisher", [*_popular(results.popular), shown]))
    wrong = "Somebody didn't get what was due, or got something else."
    return Report(
        title=f"{results.graph.users:,} users, {results.graph.subscriptions:,} subscriptions",
        summary=" ".join(_summary(results)),
        options=options,
        results=results,
        budgets=list(budgets(results, options)),
        sections=[*parts, Section("How it was measured", [*_METHOD, *warned(results.log)])],
        log=[sample for part in samples.values() for sample in part],
        fault=wrong if results.faulty else "",
    )


# ---- budgets -----------------------------------------------------------------------------


def budgets(results: Results, options: Options) -> Iterator[Budget]:
    """What was promised, and what was found."""
    graph = options.users >= FULL.users and options.friends >= FULL.friends
    sqlite = results.stores[0]
    loaded = f"{sqlite.subscriptions:,} subscriptions loaded into SQLite"
    yield at_most(loaded, sqlite.seconds, LOAD_BUDGET, "{:.1f} s", judged=graph)
    yield at_most("on disk", sqlite.bytes / 1e6, SIZE_BUDGET / 1e6, "{:,.0f} MB", judged=graph)
    if (fastest := results.fastest) is not None:
        full = graph and options.online >= FULL.online
        yield Budget(
            f"deliveries of random users' publications, {fastest.opening.streams:,} online, as "
            "fast as they can : C write loop",
            f"{fastest.ratio:.2f} by the clock, {fastest.cpu_ratio:.2f} by the server's CPU time",
            f">= {FASTEST_BUDGET}",
            fastest.ratio >= FASTEST_BUDGET if full and fastest.loops else None,
        )
        yield _right(fastest.published)
    if results.steady is not None:
        yield from _steady_budgets(results.steady, options, graph)
    if (popular := results.popular) is not None:
        full = options.subscribers >= FULL.subscribers and options.online >= FULL.online
        what = (
            f"others' p99 while somebody with {popular.subscribers:,} subscribers, "
            f"{popular.online:,} of them online, publishes : before"
        )
        yield at_most(what, popular.ratio, OTHERS_BUDGET, "{:.1f}", judged=full)
        yield none("wrong among these", "; ".join(str(wrong) for wrong in popular.wrongs if wrong))
    yield none("publications refused", results.refused)
    yield none("streams closed", results.closed)


def _steady_budgets(it: Steady, options: Options, graph: bool) -> Iterator[Budget]:
    full = graph and it.opening.streams >= FULL.connections
    long = full and options.rate >= FULL.rate and options.minutes >= FULL.minutes
    yield Budget(
        f"publications of random users, {it.opening.streams:,} online",
        f"{it.published.rate:,.0f}/s for {it.published.seconds:,.0f} s",
        f">= {FULL.rate:,.0f}/s for {FULL.minutes * 60:,.0f} s",
        it.published.rate >= FULL.rate if long else None,
    )
    yield at_most("their latency, p99", it.seen.latency.p99, P99_BUDGET, "{:,.1f} ms", judged=long)
    memory, cache = it.opening.bytes_a_stream, max(0, it.router_after - it.router_before)
    yield Budget(
        "user space a connection, all server processes",
        f"{memory:,.0f} bytes; the store's cache {cache / 1e6:,.1f} MB in all",
        f"<= {MEMORY_BUDGET} bytes, and the cache",
        memory <= MEMORY_BUDGET if full else None,
    )
    yield _right(it.published)


def _right(it: Published) -> Budget:
    what = f"of {it.deliveries:,} deliveries, compared with the graph"
    return Budget(what, str(it.wrong), "0", not it.wrong)


# ---- sections ----------------------------------------------------------------------------


def _summary(results: Results) -> Iterator[str]:
    graph, sqlite = results.graph, results.stores[0]
    yield (
        f"{graph.users:,} users with {graph.subscriptions:,} subscriptions, Barabási and Albert's "
        f"graph, were loaded into SQLite in {sqlite.seconds:.1f} s: {sqlite.bytes / 1e6:,.0f} MB."
    )
    if results.fastest is not None:
        it = results.fastest.published
        yield (
            f"With {results.fastest.opening.streams:,} of them online, random users published "
            f"{it.rate:,.0f} messages a second, of which **{it.delivery_rate:,.0f} a second** were "
            f"delivered."
        )
    if results.steady is not None:
        it, seen = results.steady.published, results.steady.seen
        yield (
            f"With {results.steady.opening.streams:,} online, {it.rate:,.0f} publications a second "
            f"made {it.delivery_rate:,.0f} deliveries, which took {seen.latency.p50:.1f} ms (p50), "
            f"{seen.latency.p99:.1f} ms (p99)."
        )
    if results.popular is not None:
        popular = results.popular
        yield (
            f"A message to {popular.subscribers:,} subscribers, {popular.online:,} of whom were "
            f"online, came first after {popular.alone.arrivals.min:,.1f} ms, last after "
            f"{popular.alone.arrivals.max:,.0f} ms."
        )


def _stores(results: Results) -> list[Block]:
    first, graph = results.stores[0], results.graph
    took = f"It took {graph.seconds:.1f} s to make and write. " if graph.seconds else ""
    said = (
        f"The graph has {graph.subscriptions:,} subscriptions of {graph.users:,} users: who is "
        f"newer is subscribed to who is older. {took}"
        "A lookup is one user's subscribers, by a program of one thread; the server asks for "
        "many at once."
    )
    loaded = table(
        results.stores,
        {
            "": lambda it: it.store,
            "subscriptions": lambda it: it.subscriptions,
            "loaded in": lambda it: f"{it.seconds:.1f} s",
            "a second": lambda it: f"{it.subscriptions / it.seconds:,.0f}",
            "on disk": lambda it: f"{it.bytes / 1e6:,.0f} MB",
            "bytes each": lambda it: f"{it.bytes / max(1, it.subscriptions):.0f}",
            "a lookup": lambda it: f"{it.lookup_us:,.0f} µs",
            "time : SQLite": lambda it: f"{it.seconds / first.seconds:.2f}",
        },
    )
    return [said, loaded]


def _fastest(it: Fastest) -> list[Block]:
    loops = [*zip(("before", "after"), it.loops, strict=False)]
    if it.small_loop is not None:
        loops.append(("what one can hold", it.small_loop))
    named = {
        f"C write loop to {loop.streams:,}, processes: {loop.processes}, {when}": loop
        for when, loop in loops
    }
    return [
        facts(*_rows(it.opening, it.published)),
        beside_loops("Encke", it.published, named),
        _shares(it.published),
    ]


def _steady(it: Steady) -> list[Block]:
    late = f"written later than due (gathered for {LINGER:g} ms), p99"
    title = f"From publishing to arrival, {it.opening.streams:,} streams"
    return [
        facts(
            *_rows(it.opening, it.published),
            ("router's process before the first publication", f"{it.router_before / 1e6:.1f} MB"),
            ("behind the last one", f"{it.router_after / 1e6:.1f} MB"),
            (late, f"{it.published.lag.p99:.1f} ms"),
        ),
        _shares(it.published),
        *graphs.latencies("steady-latency", it.seen.latency, title),
    ]


def _rows(opening: Opening, it: Published) -> Iterator[tuple[str, str]]:
    yield "streams", f"{opening.streams:,}"
    yield "until all were open", f"{opening.seconds:.1f} s"
    yield "user space a connection, all server processes", f"{opening.bytes_a_stream:,.0f} bytes"
    yield "publications", f"{it.publications:,}"
    yield "publications/s", f"{it.rate:,.0f}"
    yield "deliveries", f"{it.deliveries:,}; says the server: {it.claimed:,}"
    yield "deliveries a publication", f"{it.deliveries / it.publications:.2f}"
    yield "until all had come", f"{it.seconds:.1f} s"
    yield "deliveries/s", f"{it.delivery_rate:,.0f}"
    yield "compared with the graph", str(it.wrong)
    for name in ("server", "flood", "generate", "others"):
        yield f"{name}, cores", f"{it.cost.share(name):.2f}"


def _shares(it: Published) -> Table:
    """Where CPU time goes; what the generator took isn't split."""

    def each(seconds: float | None) -> str:
        return "" if seconds is None else f"{seconds / it.deliveries * 1e6:.2f}"

    parts = [(share.name, share.user, share.system, share.both) for share in it.shares]
    return table(
        [*parts, ("generate", None, None, it.cost.generate)],
        {
            "CPU": lambda its: its[0],
            "user, µs a delivery": lambda its: each(its[1]),
            "kernel": lambda its: each(its[2]),
            "both": lambda its: each(its[3]),
            "both, a publication": lambda its: f"{its[3] / it.publications * 1e6:.2f}",
            "cores": lambda its: f"{its[3] / it.cost.seconds:.2f}",
        },
    )


def _popular(it: Popular) -> list[Block]:
    alone, meanwhile = it.alone, it.meanwhile
    count = len(meanwhile.publications)
    answered = sum(each.seconds for each in meanwhile.publications) / max(1, count)
    delivered = sum(each.delivered for each in meanwhile.publications)
    rows = [
        ("subscribers", f"{it.subscribers:,}", ""),
        ("of them online", f"{it.online:,}", ""),
        ("messages", "1", f"{count}"),
        ("delivered, says the server", f"{alone.answered.delivered:,}", f"{delivered:,}"),
        *(
            (name, *(f"{getattr(its, of):,.1f} ms" for its in (alone.arrivals, meanwhile.arrivals)))
            for name, of in (("first arrival", "min"), ("median", "p50"), ("last arrival", "max"))
        ),
        ("answered after", f"{alone.answered.seconds * 1e3:,.0f} ms", f"{answered * 1e3:,.0f} ms"),
        ("compared with the graph", str(alone.wrong), str(meanwhile.wrong)),
    ]
    before, during = it.before, meanwhile.others
    others = table(
        (("before", before), ("while they publish", during)),
        {
            "others' messages": lambda its: its[0],
            "number": lambda its: its[1].messages,
            "a second": lambda its: f"{its[1].rate:,.0f}",
            "p50": lambda its: f"{its[1].seen.latency.p50:,.2f} ms",
            "p90": lambda its: f"{its[1].seen.latency.p90:,.2f} ms",
            "p99": lambda its: f"{its[1].seen.latency.p99:,.2f} ms",
            "max": lambda its: f"{its[1].seen.latency.max:,.2f} ms",
            "wrong": lambda its: str(its[1].wrong),
        },
    )
    return [
        facts(*rows, of=("the publisher's messages", "alone", "one by one, beside others'")),
        "In the second column the first and the last arrival are those of all messages together.",
        others,
        *graphs.latencies("others-before", before.seen.latency, "Others' messages, before"),
        *graphs.latencies("others-while", during.seen.latency, "Others' messages, meanwhile"),
    ]
