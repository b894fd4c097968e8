"""The report of ``python -m bench friends``: budgets, tables, graphs.

Pure but for the graphs, which are drawn when the document is written.
May import: document, friends, friends_popular, friends_stage, stage, watch; million_graphs to
draw.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from encke.tools.load.summary import Durations
from encke.tools.watch import draw

from .document import Budget, Document, Grid, Picture, Section, memory_log
from .friends import Fastest, Options, Outcome, Results, Steady
from .friends_popular import RATE, Others, Popular
from .friends_stage import Published
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

Block = str | Grid | Picture


def document(outcome: Outcome, options: Options, notices: list[str], directory: Path) -> Document:
    """The report; `directory` gets the log, which is attached. Raises EnckeError."""
    results = outcome.results
    sections = [Section("The graph, and loading it", _stores(results))]
    if results.fastest is not None:
        sections.append(Section("As fast as they can", _fastest(results.fastest, outcome)))
    if results.steady is not None:
        sections.append(Section("At a given rate", _steady(results.steady, outcome)))
    if results.popular is not None:
        sections.append(Section("A popular publisher", _popular(results.popular, outcome)))
    samples = [sample for part in outcome.samples.values() for sample in part]
    return Document(
        benchmark="friends",
        title=f"{results.graph.users:,} users, {results.graph.subscriptions:,} subscriptions",
        summary=" ".join(_summary(results)),
        options=options,
        notices=notices,
        results=results,
        budgets=list(budgets(results, options)),
        sections=[*sections, Section("How it was measured", list(_method(results)))],
        attached=memory_log(samples, options.every, directory) if samples else [],
    )


# ---- budgets -----------------------------------------------------------------------------


def budgets(results: Results, options: Options) -> Iterator[Budget]:
    """What was promised, and what was found."""
    graph = options.users >= FULL.users and options.friends >= FULL.friends
    yield from _store_budgets(results, graph)
    if results.fastest is not None:
        yield from _fastest_budgets(results.fastest, graph and options.online >= FULL.online)
    if results.steady is not None:
        yield from _steady_budgets(results.steady, options, graph)
    if results.popular is not None:
        full = options.subscribers >= FULL.subscribers and options.online >= FULL.online
        yield from _popular_budgets(results.popular, full)
    yield Budget("publications refused", f"{results.refused:,}", "0", not results.refused)
    yield Budget("streams closed", f"{results.closed:,}", "0", not results.closed)


def _judged(full: bool, met: bool) -> bool | None:
    return met if full else None


def _store_budgets(results: Results, full: bool) -> Iterator[Budget]:
    sqlite = results.stores[0]
    yield Budget(
        f"{sqlite.subscriptions:,} subscriptions loaded into SQLite",
        f"{sqlite.seconds:.1f} s",
        f"<= {LOAD_BUDGET:g} s",
        _judged(full, sqlite.seconds <= LOAD_BUDGET),
    )
    yield Budget(
        "on disk",
        f"{sqlite.bytes / 1e6:,.0f} MB",
        f"<= {SIZE_BUDGET / 1e6:g} MB",
        _judged(full, sqlite.bytes <= SIZE_BUDGET),
    )


def _fastest_budgets(it: Fastest, full: bool) -> Iterator[Budget]:
    yield Budget(
        f"deliveries of random users' publications, {it.opening.streams:,} online, as fast as they "
        "can : C write loop",
        f"{it.ratio:.2f} by the clock, {it.cpu_ratio:.2f} by the server's CPU time",
        f">= {FASTEST_BUDGET}",
        _judged(full, it.ratio >= FASTEST_BUDGET) if it.loops else None,
    )
    yield _right(it.published)


def _steady_budgets(it: Steady, options: Options, graph: bool) -> Iterator[Budget]:
    full = graph and it.opening.streams >= FULL.connections
    long = options.rate >= FULL.rate and options.seconds >= FULL.seconds
    yield Budget(
        f"publications of random users, {it.opening.streams:,} online",
        f"{it.published.rate:,.0f}/s for {it.published.seconds:,.0f} s",
        f">= {FULL.rate:,.0f}/s for {FULL.seconds:,.0f} s",
        _judged(full and long, it.published.rate >= FULL.rate),
    )
    p99 = it.seen.latency.p99
    yield Budget(
        "their latency, p99",
        f"{p99:,.1f} ms",
        f"<= {P99_BUDGET:,.0f} ms",
        _judged(full and long, p99 <= P99_BUDGET),
    )
    memory = it.opening.bytes_a_stream
    yield Budget(
        "user space a connection, all server processes",
        f"{memory:,.0f} bytes; the store's cache {_grown(it) / 1e6:,.1f} MB in all",
        f"<= {MEMORY_BUDGET} bytes, and the cache",
        _judged(full, memory <= MEMORY_BUDGET),
    )
    yield _right(it.published)


def _popular_budgets(it: Popular, full: bool) -> Iterator[Budget]:
    yield Budget(
        f"others' p99 while somebody with {it.subscribers:,} subscribers, {it.online:,} of them "
        "online, publishes : before",
        f"{it.ratio:.1f}",
        f"<= {OTHERS_BUDGET:g}",
        _judged(full, it.ratio <= OTHERS_BUDGET),
    )
    wrongs = [str(wrong) for wrong in it.wrongs if wrong]
    yield Budget("wrong among these", "; ".join(wrongs) or "0", "0", not wrongs)


def _right(it: Published) -> Budget:
    return Budget(
        f"of {it.deliveries:,} deliveries, compared with the graph", str(it.wrong), "0",
        not it.wrong,
    )  # fmt: skip


def _grown(it: Steady) -> int:
    return max(0, it.router_after - it.router_before)


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
    first = results.stores[0]
    rows = [
        (
            it.store,
            f"{it.subscriptions:,}",
            f"{it.seconds:.1f} s",
            f"{it.subscriptions / it.seconds:,.0f}",
            f"{it.bytes / 1e6:,.0f} MB",
            f"{it.bytes / max(1, it.subscriptions):.0f}",
            f"{it.lookup_us:,.0f} µs",
            f"{it.seconds / first.seconds:.2f}",
        )
        for it in results.stores
    ]
    columns = (
        "", "subscriptions", "loaded in", "a second", "on disk", "bytes each", "a lookup",
        "time : SQLite",
    )  # fmt: skip
    made = results.graph.seconds
    took = f"It took {made:.1f} s to make and write. " if made else ""
    said = (
        f"The graph has {results.graph.subscriptions:,} subscriptions of "
        f"{results.graph.users:,} users: who is newer is subscribed to who is older. {took}"
        "A lookup is one user's subscribers, by a program of one thread; the server asks for "
        "many at once."
    )
    return [
        said,
        Grid(columns, rows),
    ]


def _fastest(it: Fastest, outcome: Outcome) -> list[Block]:
    blocks: list[Block] = [Grid(("", ""), list(_rows(it.opening, it.published)))]
    us = it.published.server_us
    floor = [("Encke", it.published.delivery_rate, us, "")]
    loops = [*zip(("before", "after"), it.loops, strict=False)]
    if it.small_loop is not None:
        loops.append(("what one can hold", it.small_loop))
    for when, loop in loops:
        name = f"C write loop to {loop.streams:,}, processes: {loop.processes}, {when}"
        ratio = f"{it.published.delivery_rate / loop.rate:.2f}, {loop.us / us:.2f}"
        floor.append((name, loop.rate, loop.us, ratio))
    blocks.append(
        Grid(
            ("", "messages/s", "CPU a message", "Encke : it, clock, CPU"),
            [(name, f"{rate:,.0f}", f"{us:.1f} µs", ratio) for name, rate, us, ratio in floor],
        )
    )
    return [*blocks, _shares(it.published), *_over_time("fastest", outcome)]


def _steady(it: Steady, outcome: Outcome) -> list[Block]:
    rows = [
        *_rows(it.opening, it.published),
        ("router's process before the first publication", f"{it.router_before / 1e6:.1f} MB"),
        ("behind the last one", f"{it.router_after / 1e6:.1f} MB"),
        (
            f"written later than due (gathered for {LINGER:g} ms), p99",
            f"{it.published.lag.p99:.1f} ms",
        ),
    ]
    title = f"From publishing to arrival, {it.opening.streams:,} streams"
    return [
        Grid(("", ""), rows),
        _shares(it.published),
        *_histogram(it.seen.latency, title, "steady-latency"),
        *_over_time("steady", outcome),
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
        yield f"{name}, cores", f"{getattr(it.cost, name) / it.cost.seconds:.2f}"


def _shares(it: Published) -> Grid:
    """Where CPU time goes."""

    def row(name: str, user: float, system: float) -> tuple[str, ...]:
        each = (user, system, user + system)
        return (
            name,
            *(f"{seconds / it.deliveries * 1e6:.2f}" for seconds in each),
            f"{(user + system) / it.publications * 1e6:.2f}",
            f"{(user + system) / it.cost.seconds:.2f}",
        )

    rows = [row(share.name, share.user, share.system) for share in it.shares]
    generate = it.cost.generate
    rows.append(
        (
            "generate", "", "", f"{generate / it.deliveries * 1e6:.2f}",
            f"{generate / it.publications * 1e6:.2f}", f"{generate / it.cost.seconds:.2f}",
        )
    )  # fmt: skip
    return Grid(
        ("CPU", "user, µs a delivery", "kernel", "both", "both, a publication", "cores"), rows
    )


def _popular(it: Popular, outcome: Outcome) -> list[Block]:
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
            (name, f"{getattr(alone.arrivals, of):,.1f} ms",
             f"{getattr(meanwhile.arrivals, of):,.1f} ms")
            for name, of in (("first arrival", "min"), ("median", "p50"), ("last arrival", "max"))
        ),
        ("answered after", f"{alone.answered.seconds * 1e3:,.0f} ms", f"{answered * 1e3:,.0f} ms"),
        ("compared with the graph", str(alone.wrong), str(meanwhile.wrong)),
    ]  # fmt: skip
    columns = ("his messages", "alone", "one after the other, beside others'")
    pair = (("before", it.before), ("while he publishes", meanwhile.others))
    return [
        Grid(columns, rows),
        "In the second column the first and the last arrival are those of all messages together.",
        Grid(
            ("others' messages", "number", "a second", "p50", "p90", "p99", "max", "wrong"),
            [_others(name, others) for name, others in pair],
        ),
        *_histogram(it.before.seen.latency, "Others' messages, before", "others-before"),
        *_histogram(
            meanwhile.others.seen.latency, "Others' messages, while he publishes", "others-while"
        ),
        *_over_time("popular", outcome),
    ]


def _others(name: str, it: Others) -> tuple[str, ...]:
    latency = it.seen.latency
    durations = (latency.p50, latency.p90, latency.p99, latency.max)
    return (
        name,
        f"{it.messages:,}",
        f"{it.rate:,.0f}",
        *(f"{duration:,.2f} ms" for duration in durations),
        str(it.wrong),
    )


def _histogram(latency: Durations, title: str, name: str) -> list[Picture]:
    def drawn(path: Path) -> None:
        from . import million_graphs

        million_graphs.latencies(latency, title, path)

    return _pictures(name, f"{title}.", drawn) if latency.count else []


def _over_time(part: str, outcome: Outcome) -> list[Picture]:
    drawn = partial(draw, outcome.samples[part], title="Publishing to friends")
    caption = "Memory, connections, messages and CPU, of the whole server and of each process."
    return _pictures(part, caption, drawn)


def _pictures(name: str, caption: str, drawn: Callable[[Path], None]) -> list[Picture]:
    return [
        Picture(f"{name}.png", caption, drawn),
        Picture(f"{name}.svg", "The same as SVG.", drawn),
    ]


def _method(results: Results) -> Iterator[Block]:
    yield (
        "All processes share all cores: server, clients (`encke flood`), publishers (`encke "
        "generate --publish --ndjson`), and what watches. Who publishes is drawn from all users, "
        "online or not, each as often as any other; who is online was drawn likewise."
    )
    yield (
        "Each delivery is compared with the graph, as it is in the file that was loaded: which "
        "streams a publication must come to is not asked of the server or its store. Each "
        "publication has a random key of 63 bits. The clients keep for each stream how many came "
        "and the sum of their keys, and both must be what the graph says: a message that is "
        "missing, doubled or astray changes the sums."
    )
    yield (
        "A ratio to the C write loop is that of deliveries to messages that it writes (60 bytes, "
        "each by one write) to as many sockets, with as many processes as it takes to hold them, "
        "round by round, without doing anything else; `encke flood` reads them, as from the "
        "server. Both are timed from the first message until the last has come."
    )
    yield (
        f"Others' messages are {RATE:,.0f} a second, to random ones of users who have no friends "
        "and are no subscribers of the popular publisher; by NDJSON."
    )
    if results.log:
        yield "The server warned:\n\n" + "\n".join(f"    {line}" for line in results.log[:20])
