"""The report of ``python -m bench million``: budgets, tables, graphs.

Pure but for the graphs, which are drawn when the document is written.
May import: capacity, document, growth, million, stage, watch; million_graphs to draw.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
from rich.table import Table

from encke.tools.load.summary import Durations
from encke.tools.watch import draw

from . import growth, report
from .beside import Peer
from .capacity import Bound
from .document import Budget, Document, Grid, Picture, Section, memory_log
from .growth import Growth, Step
from .million import NAME, Options, Outcome, Results, Summary
from .stage import LINGER, Return, Sending

FULL = Options(connections=1_000_000, rate=10_000, seconds=300)
"""What the budgets are for; a smaller run is only judged by what must never be."""

CONNECT_BUDGET = 120.0
RETURN_BUDGET = 200.0
"""Seconds, both ends on two cores."""
MEMORY_BUDGET = 512
"""Bytes a connection of all server processes."""
P99_BUDGET = 1000.0
"""Milliseconds."""
EACH_BUDGET = 0.5
"""Rate of a send to each user, as a ratio to the C write loop's."""

_PEER = (
    "nchan stores no message; each message is a POST of its own, since it takes no others. It is "
    "shown with as many streams as one of its workers may have files. In the graph the time of "
    "each counts from its own start."
)

Block = str | Grid | Picture


class Figures(msgspec.Struct, frozen=True):
    """What results.json holds of the measurement."""

    summary: Summary
    measured: Results


def document(outcome: Outcome, options: Options, notices: list[str], directory: Path) -> Document:
    """The report; `directory` gets the log, which is attached. Raises EnckeError."""
    results, summary = outcome.results, outcome.summary
    return Document(
        benchmark="million",
        title=f"{summary.connections:,} streams on one machine",
        summary=_summary(results, summary),
        options=options,
        notices=notices,
        results=Figures(summary, results),
        budgets=list(budgets(results, summary, options)),
        sections=[
            Section("Opening", [_opening(results), _kernel(results)]),
            Section("Over time", _over_time(outcome)),
            Section("Messages", _messages(results)),
            Section("Cut off, and back", [_returned(results.returned)]),
            Section("Growth", _growth(results.steps)),
            *([Section("Beside nchan", _peer(outcome))] if results.peer else []),
            Section("How it was measured", list(_method(results))),
        ],
        attached=memory_log(outcome.samples, options.every, directory),
    )


def beforehand(options: Options, bounds: Sequence[Bound]) -> Table:
    """How many streams there will be, and why, to be printed."""
    table = report.table(
        f"{options.connections:,} streams, both ends on this machine, which allows",
        "by",
        "streams",
        "since there are",
    )
    for bound in bounds:
        table.add_row(bound.what, f"{bound.allows:,}", bound.why)
    return table


def budgets(results: Results, summary: Summary, options: Options) -> Iterator[Budget]:
    """What was promised, and what was found."""
    full = (
        summary.connections >= FULL.connections
        and options.rate >= FULL.rate
        and options.seconds >= FULL.seconds
    )

    def judged(met: bool) -> bool | None:
        return met if full else None

    streams = f"{summary.connections:,} streams"
    connect, back = summary.seconds_to_connect, summary.seconds_to_return
    yield Budget(
        f"{streams} opened and logged in",
        f"{connect:.1f} s",
        f"<= {CONNECT_BUDGET:g} s",
        judged(connect <= CONNECT_BUDGET),
    )
    memory = summary.user_bytes_a_connection
    yield Budget(
        "user space a connection, all server processes",
        f"{memory:,.0f} bytes",
        f"<= {MEMORY_BUDGET} bytes",
        judged(memory <= MEMORY_BUDGET),
    )
    yield Budget(
        "messages to random users",
        f"{summary.rate:,.0f}/s for {results.run.sending.seconds:,.0f} s",
        f">= {FULL.rate:,.0f}/s for {FULL.seconds:,.0f} s",
        judged(summary.rate >= FULL.rate),
    )
    yield Budget(
        "their latency, p99",
        f"{summary.latency_p99:,.1f} ms",
        f"<= {P99_BUDGET:,.0f} ms",
        judged(summary.latency_p99 <= P99_BUDGET),
    )
    yield from _faults(summary)
    ratio, cpu = summary.each_ratio, summary.each_cpu_ratio
    yield Budget(
        "a message to each user : C write loop",
        f"{ratio:.2f} by the clock, {cpu:.2f} by the server's CPU time",
        f">= {EACH_BUDGET}",
        judged(ratio >= EACH_BUDGET) if results.loops else None,
    )
    yield Budget(
        "all cut off, and logged in again",
        f"{back:.1f} s",
        f"<= {RETURN_BUDGET:g} s",
        judged(back <= RETURN_BUDGET),
    )
    died = results.returned.died
    yield Budget("processes that died of it", ", ".join(died) or "0", "0", not died)
    worst = max(growth.growths(results.steps), key=lambda it: it.factor, default=None)
    if worst is not None:
        yield Budget(
            "nothing grows faster than the connections",
            f"at most {worst.factor:.2f} times as fast: {_said(worst)}",
            f"<= {growth.TOLERANCE}",
            judged(worst.factor <= growth.TOLERANCE),
        )


def _faults(summary: Summary) -> Iterator[Budget]:
    for what, found in (
        ("messages refused", summary.refused),
        ("messages lost", summary.lost),
        ("messages doubled", summary.doubled),
        ("messages out of order", summary.violations),
        ("streams closed", summary.streams_closed),
    ):
        yield Budget(what, f"{found:,}", "0", not found)


def _said(found: Growth) -> str:
    return f"{found.quantity}, {found.fewer:,} to {found.more:,}"


def _summary(results: Results, summary: Summary) -> str:
    latency = results.run.seen.latency
    return (
        f"{summary.connections:,} clients opened a stream each, within "
        f"{summary.seconds_to_connect:.1f} s, server and clients on the same machine. The server "
        f"took **{summary.user_bytes_a_connection:,.0f} bytes of user space a connection**, the "
        f"kernel {summary.kernel_bytes_a_socket:,.0f} bytes a socket. "
        f"{summary.messages:,} messages to random users, {summary.rate:,.0f} a second, took "
        f"{latency.p50:.1f} ms (p50), {latency.p99:.1f} ms (p99), {latency.max:,.0f} ms at most; "
        f"{summary.lost:,} were lost, {summary.doubled:,} came twice. Each user got a message of "
        f"their own at {summary.each_rate:,.0f} a second. Cut off all at once, the clients were "
        f"back after {summary.seconds_to_return:.1f} s."
    )


# ---- sections ----------------------------------------------------------------------------


def _opening(results: Results) -> Grid:
    it = results.run.opening
    bound = results.bounds[0]
    used, buckets = it.kernel, "?"
    if used.buckets:
        buckets = f"{used.buckets:,}; {used.sockets / used.buckets:.1f}"
    rows = [
        ("this machine allows", f"{bound.allows:,}, by {bound.what}"),
        ("streams", f"{it.streams:,}"),
        ("processes of the server, and of the clients", f"{len(it.opened)}, {it.flood_processes}"),
        ("until all were open", f"{it.seconds:.1f} s: {it.streams / it.seconds:,.0f} a second"),
        (
            "server's CPU",
            f"{it.cost.server:.1f} s: {it.cost.server / it.streams * 1e6:.0f} µs each",
        ),
        (
            "clients' CPU",
            f"{it.cost.flood:.1f} s: {it.flood_share:.0%} of what the machine was busy with",
        ),
        ("attempts that failed; overflows of the queue", f"{it.failed:,}; {it.overflows:,}"),
        ("server's memory without a stream", f"{sum(it.empty) / 1e6:.1f} MB"),
        ("with all of them", f"{it.memory / 1e6:.1f} MB"),
        ("a connection: of all of it", f"{it.bytes_a_stream:,.0f} bytes"),
        ("a connection: what came with them", f"{it.growth_a_stream:,.0f} bytes"),
        ("clients' memory a connection", f"{it.flood_bytes_a_stream:,.0f} bytes"),
        ("buckets of the kernel's table of sockets; sockets in each", buckets),
    ]
    return Grid(("", ""), rows)


def _kernel(results: Results) -> Grid:
    used = results.run.opening.kernel
    rows = [
        ("slabs", "", f"{used.slabs / used.sockets:,.0f}"),
        ("data on its way", "", f"{used.socket_pages / used.sockets:,.0f}"),
        *(
            (f"of the slabs: {it.name}", f"{it.a_socket:.2f}", f"{it.bytes_a_socket:,.0f}")
            for it in used.objects
            if it.a_socket >= 0.1
        ),
        ("stacks and page tables of all processes", "", f"{used.processes / 1e6:,.1f} MB in all"),
        ("left by listing /proc/PID/fd, reclaimable", "", f"{used.listed / 1e6:,.1f} MB in all"),
    ]
    return Grid((f"the kernel's, {used.sockets:,} sockets", "objects each", "bytes each"), rows)


def _over_time(outcome: Outcome) -> list[Block]:
    samples = [it for it in outcome.samples if it.source == NAME]
    title = f"{outcome.summary.connections:,} streams"
    drawn = partial(draw, samples, title=title)
    caption = "Memory, connections, messages and CPU, of the whole server and of each process."
    return [
        Picture("million.png", caption, drawn),
        Picture("million.svg", "The same as SVG.", drawn),
    ]


def _messages(results: Results) -> list[Block]:
    paced, latency = results.run.sending, results.run.seen.latency
    columns = ("", "to random users", "to each", "to each again")
    sendings = (paced, results.each, results.each_again)
    blocks: list[Block] = [Grid(columns, list(_rows(sendings)))]
    if results.loops:
        floor = [("Encke, to each", results.each.delivery_rate, results.each.server_us, "")]
        for when, it in zip(("before", "after"), results.loops, strict=True):
            name = f"C write loop to {it.streams:,}, {when}"
            server = results.each.server_us
            cpu = f"{it.us / server:.2f}" if server else "?"  # too few messages to tell
            ratio = f"{results.each.delivery_rate / it.rate:.2f}, {cpu}"
            floor.append((name, it.rate, it.us, ratio))
        blocks.append(
            Grid(
                ("", "messages/s", "CPU a message", "Encke : it, clock, CPU"),
                [(name, f"{rate:,.0f}", f"{us:.1f} µs", ratio) for name, rate, us, ratio in floor],
            )
        )
    if latency.count:
        title = f"From sending to arrival, {results.run.streams:,} streams"
        blocks.append(_histogram(latency, title, "latency.png"))
        blocks.append(_histogram(latency, title, "latency.svg"))
    return blocks


def _rows(sendings: Sequence[Sending]) -> Iterator[tuple[str, ...]]:
    yield "messages", *(f"{it.messages:,}" for it in sendings)
    yield "delivered, says the server", *(f"{it.delivered:,}" for it in sendings)
    yield "refused", *(f"{it.refused:,}" for it in sendings)
    yield "lost, doubled", *(f"{it.wrong.lost:,}, {it.wrong.doubled:,}" for it in sendings)
    yield "until all had come", *(f"{it.seconds:.1f} s" for it in sendings)
    yield "messages/s", *(f"{it.delivery_rate:,.0f}" for it in sendings)
    yield "server's CPU a message", *(f"{it.server_us:.1f} µs" for it in sendings)
    for name in ("flood", "generate"):
        costs = (getattr(it.cost, name) / it.messages * 1e6 for it in sendings)
        yield f"encke {name}'s", *(f"{cost:.1f} µs" for cost in costs)
    for name in ("server", "flood", "generate", "others"):
        shares = (getattr(it.cost, name) / it.cost.seconds for it in sendings)
        yield f"{name}, cores", *(f"{share:.2f}" for share in shares)
    gathered = f"written later than due (gathered for {LINGER:g} ms), p99"
    yield gathered, *(f"{it.lag.p99:.1f} ms" for it in sendings[:1]), "", ""


def _histogram(latency: Durations, title: str, name: str) -> Picture:
    def drawn(path: Path) -> None:
        from . import million_graphs

        million_graphs.latencies(latency, title, path)

    caption = "The same as SVG." if name.endswith(".svg") else "Latency."
    return Picture(name, caption, drawn)


def _returned(it: Return) -> Grid:
    logged_in = "" if it.seconds_logged_in is None else f"{it.seconds_logged_in:.1f} s"
    rows = [
        ("until the last stream was open again", f"{it.seconds:.1f} s"),
        ("until the node's state had all users, once", logged_in),
        ("server's, clients' CPU", f"{it.cost.server:.1f} s, {it.cost.flood:.1f} s"),
        ("attempts that failed, and were made again", f"{it.failed:,}"),
        ("ListenOverflows", f"{it.overflows:,}"),
        ("ListenDrops", f"{it.drops:,}"),
        ("processes that died", ", ".join(it.died) or "0"),
    ]
    return Grid((f"{it.streams:,} streams, cut by a reset", ""), rows)


def _growth(steps: Sequence[Step]) -> list[Block]:
    memory = Grid(
        (
            "streams",
            "processes",
            "until open",
            "server",
            "a stream",
            "came with it",
            "kernel, a socket",
        ),
        [
            (
                f"{it.streams:,}",
                f"{len(it.opened)}",
                f"{it.seconds:.1f} s",
                f"{it.memory / 1e6:.1f} MB",
                f"{it.bytes_a_stream:,.0f}",
                f"{it.growth_a_stream:,.0f}",
                f"{it.kernel.bytes_a_socket:,.0f}",
            )
            for it in (step.opening for step in steps)
        ],
    )
    messages = Grid(
        ("streams", "messages/s", "CPU a message", "p50", "p99", "max"),
        [
            (
                f"{step.streams:,}",
                f"{step.sending.rate:,.0f}",
                f"{step.sending.server_us:.1f} µs",
                *(f"{value:.1f} ms" for value in (latency.p50, latency.p99, latency.max)),
            )
            for step, latency in ((step, step.seen.latency) for step in steps)
        ],
    )
    blocks: list[Block] = [memory, messages]
    if len(steps) > 1:
        named = [(f"{it.quantity}", f"{it.fewer:,}", f"{it.more:,}", f"{it.factor:.2f}")
                 for it in growth.growths(steps)]  # fmt: skip
        blocks.append(
            "How much faster than the connections a quantity has grown from one size to the next: "
            f"1 is as fast, less is slower; up to {growth.TOLERANCE} is noise. The kernel's memory "
            f"is compared from {growth.ENOUGH_SOCKETS:,} sockets on: with fewer, what its slabs "
            "have in reserve is more than what the sockets take."
        )
        blocks.append(Grid(("", "from streams", "to", "factor"), named))

        def drawn(path: Path) -> None:
            from . import million_graphs

            million_graphs.growth(steps, "From few streams to many", path)

        blocks.append(Picture("growth.png", "Growth; streams on a logarithmic axis.", drawn))
        blocks.append(Picture("growth.svg", "The same as SVG.", drawn))
    return blocks


def _peer(outcome: Outcome) -> list[Block]:
    run, peer = outcome.results.run, outcome.results.peer
    assert peer is not None
    drawn = partial(draw, outcome.samples, title="Encke and nchan", aligned=True)
    return [
        Grid(
            ("", "Encke", "nchan, one worker"), list(_compared(run, outcome.results.returned, peer))
        ),
        _PEER,
        Picture("beside.png", "Encke and nchan in the same axes.", drawn),
        Picture("beside.svg", "The same as SVG.", drawn),
    ]


def _compared(run: Step, returned: Return, peer: Peer) -> Iterator[tuple[str, ...]]:
    openings, seen = (run.opening, peer.opening), (run.seen, peer.seen)
    sendings = (run.sending, peer.sending)
    yield "streams", *(f"{it.streams:,}" for it in openings)
    yield "until open", *(f"{it.seconds:.1f} s" for it in openings)
    yield "memory", *(f"{it.memory / 1e6:.1f} MB" for it in openings)
    yield "bytes a connection", *(f"{it.bytes_a_stream:,.0f}" for it in openings)
    yield "kernel's bytes a socket", *(f"{it.kernel.bytes_a_socket:,.0f}" for it in openings)
    yield "messages/s", *(f"{it.rate:,.0f}" for it in sendings)
    yield "lost, doubled", *(f"{it.wrong.lost:,}, {it.wrong.doubled:,}" for it in sendings)
    yield "CPU a message", *(f"{it.server_us:.1f} µs" for it in sendings)
    yield "latency p50", *(f"{it.latency.p50:.1f} ms" for it in seen)
    yield "latency p99", *(f"{it.latency.p99:.1f} ms" for it in seen)
    yield "cut off, and back", *(f"{it.seconds:.1f} s" for it in (returned, peer.returned))


def _method(results: Results) -> Iterator[Block]:
    yield (
        "All processes share all cores: server, clients (`encke flood`), senders (`encke "
        "generate`), and what watches. User space is PSS, summed over all of the server's "
        "processes: a page that several share counts in parts. PSS shares the Python library's "
        "pages among the clients' processes too; with few streams that's some MB of the server's."
    )
    yield (
        "The kernel's memory is the growth of its slabs (/proc/meminfo) and of the data on its way "
        "(/proc/net/sockstat) while the streams were opened, divided by the sockets: two a "
        "connection, since both ends are here. Both have the same objects, one each, so half of "
        "it is the server's. What a monitor that lists the processes' open files leaves in "
        "the slabs (an inode and an entry of /proc for each) isn't the sockets', and is left out."
    )
    yield (
        "Each message is counted for its user where it's sent and where it arrives; these files "
        "are compared number by number. That none is lost, doubled or out of order in between is "
        "also checked for each stream (`--verify`). Latency is from the stamp that the sender puts "
        "into a message to the client's read."
    )
    if results.loops:
        yield (
            f"The C write loop writes 60 bytes to each of {results.loops[0].streams:,} sockets, "
            "round by round, and does nothing else; `encke flood` reads, as from the server. Both "
            "are timed from the first message until the last has come."
        )
    recorder = results.recorder_cpu_seconds / results.watched_seconds
    control = results.control_cpu_seconds / results.watched_seconds
    yield (
        f"Watching took {recorder:.1%} of a core in the program that measures, and {control:.1%} "
        "in the node's control process, which counts as the server's."
    )
    if results.log:
        yield "The server warned:\n\n" + "\n".join(f"    {line}" for line in results.log[:20])
