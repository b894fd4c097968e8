"""The report of ``python -m bench million``: budgets, tables, graphs."""

from collections.abc import Callable, Iterator, Sequence

from encke.tools.doctor import read_machine
from encke.tools.watch import Sample

from . import capacity, graphs, growth
from .beside import Measured
from .course import Course
from .growth import Growth, Step
from .loop import beside_loops
from .million import NAME, Options, Results, measure, sized
from .report import (
    Block,
    Budget,
    Report,
    Section,
    Table,
    at_most,
    facts,
    none,
    show_table,
    table,
    warned,
)
from .stage import LINGER, Return, Sending

FULL = Options(connections=1_000_000)
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

_NCHAN = (
    "nchan stores no message; each message is a POST of its own, since it takes no others. It is "
    "shown with as many streams as one of its workers may have files. In the graph the time of "
    "each counts from its own start."
)

_METHOD = (
    (
        "All processes share all cores: server, clients (`encke flood`), senders (`encke "
        "generate`), and what watches. User space is PSS, summed over all of the server's "
        "processes: a page that several share counts in parts. PSS shares the Python library's "
        "pages among the clients' processes too; with few streams that's some MB of the server's."
    ),
    (
        "The kernel's memory is the growth of its slabs (/proc/meminfo) and of the data on its way "
        "(/proc/net/sockstat) while the streams were opened, divided by the sockets: two a "
        "connection, since both ends are here. Both have the same objects, one each, so half of "
        "it is the server's. What a monitor that lists the processes' open files leaves in "
        "the slabs (an inode and an entry of /proc for each) isn't the sockets', and is left out."
    ),
    (
        "Each message is counted for its user where it's sent and where it arrives; these files "
        "are compared number by number. That none is lost, doubled or out of order in between is "
        "also checked for each stream (`--verify`). Latency is from the stamp that the sender puts "
        "into a message to the client's read."
    ),
)


def run(options: Options, course: Course) -> Report:
    """A million users' streams on this machine: memory, messages, return; and a report.

    It takes a quarter of an hour, and leaves a folder with README.md, graphs and results.json.
    With --quick and without --report nothing is kept.

    Exit code 1 if a message was refused, lost, doubled or out of order, a stream was closed,
    or could not be opened.
    """
    bounds = capacity.bounds(read_machine())
    options = sized(options, bounds)
    title = f"{options.connections:,} streams, both ends on this machine, which allows"
    rows = [(bound.what, bound.allows, bound.why) for bound in bounds]
    show_table(title, Table(("by", "streams", "since there are"), rows))
    results, samples = measure(options, bounds, course)
    title = f"{results.run.streams:,} streams on one machine"
    own = [it for it in samples if it.source == NAME]
    wrong = "A message was lost, doubled or out of order, or a stream closed."
    return Report(
        title=title,
        summary=_summary(results),
        options=options,
        results=results,
        budgets=list(budgets(results, options)),
        sections=[
            Section("Opening", [_opening(results), _kernel(results)]),
            Section("Over time", [graphs.over_time("million", own, title)]),
            Section("Messages", _messages(results)),
            Section("Cut off, and back", [_returned(results.returned)]),
            Section("Growth", _growth(results.steps)),
            *_nchan(results, samples),
            Section("How it was measured", [*_METHOD, *_method(results), *warned(results.log)]),
        ],
        log=samples,
        fault=wrong if any(results.faults.values()) else "",
    )


def budgets(results: Results, options: Options) -> Iterator[Budget]:
    """What was promised, and what was found."""
    opening, sending = results.run.opening, results.run.sending
    full = (
        opening.streams >= FULL.connections
        and options.rate >= FULL.rate
        and options.minutes >= FULL.minutes
    )
    opened = f"{opening.streams:,} streams opened and logged in"
    yield at_most(opened, opening.seconds, CONNECT_BUDGET, "{:.1f} s", judged=full)
    what, memory = "user space a connection, all server processes", opening.bytes_a_stream
    yield at_most(what, memory, MEMORY_BUDGET, "{:,.0f} bytes", judged=full)
    yield Budget(
        "messages to random users",
        f"{sending.rate:,.0f}/s for {sending.seconds:,.0f} s",
        f">= {FULL.rate:,.0f}/s for {FULL.minutes * 60:,.0f} s",
        sending.rate >= FULL.rate if full else None,
    )
    p99 = results.run.seen.latency.p99
    yield at_most("their latency, p99", p99, P99_BUDGET, "{:,.1f} ms", judged=full)
    yield from (none(what, found) for what, found in results.faults.items())
    yield Budget(
        "a message to each user : C write loop",
        f"{results.each_ratio:.2f} by the clock, {results.each_cpu_ratio:.2f} by the server's CPU "
        "time",
        f">= {EACH_BUDGET}",
        results.each_ratio >= EACH_BUDGET if full and results.loops else None,
    )
    back = results.seconds_to_return
    yield at_most("all cut off, and logged in again", back, RETURN_BUDGET, "{:.1f} s", judged=full)
    yield none("processes that died of it", ", ".join(results.returned.died))
    worst = max(growth.growths(results.steps), key=lambda it: it.factor, default=None)
    if worst is not None:
        yield Budget(
            "nothing grows faster than the connections",
            f"at most {worst.factor:.2f} times as fast: {_said(worst)}",
            f"<= {growth.TOLERANCE}",
            worst.factor <= growth.TOLERANCE if full else None,
        )


def _said(found: Growth) -> str:
    return f"{found.quantity}, {found.fewer:,} to {found.more:,}"


def _summary(results: Results) -> str:
    opening, sending, latency = results.run.opening, results.run.sending, results.run.seen.latency
    return (
        f"{opening.streams:,} clients opened a stream each, within {opening.seconds:.1f} s, server "
        f"and clients on the same machine. The server took **{opening.bytes_a_stream:,.0f} bytes "
        f"of user space a connection**, the kernel {opening.kernel.bytes_a_socket:,.0f} bytes a "
        f"socket. {sending.messages:,} messages to random users, {sending.rate:,.0f} a second, "
        f"took {latency.p50:.1f} ms (p50), {latency.p99:.1f} ms (p99), {latency.max:,.0f} ms at "
        f"most; {results.faults['messages lost']:,} were lost, "
        f"{results.faults['messages doubled']:,} came twice. Each user got a message of their own "
        f"at {results.each.delivery_rate:,.0f} a second. Cut off all at once, the clients were "
        f"back after {results.seconds_to_return:.1f} s."
    )


# ---- sections ----------------------------------------------------------------------------


def _opening(results: Results) -> Table:
    it, used = results.run.opening, results.run.opening.kernel
    bound = results.bounds[0]
    buckets = f"{used.buckets:,}; {used.sockets / used.buckets:.1f}" if used.buckets else "?"
    server = f"{it.cost.server:.1f} s: {it.cost.server / it.streams * 1e6:.0f} µs each"
    clients = f"{it.cost.flood:.1f} s: {it.flood_share:.0%} of what the machine was busy with"
    return facts(
        ("this machine allows", f"{bound.allows:,}, by {bound.what}"),
        ("streams", it.streams),
        ("processes of the server, and of the clients", f"{len(it.opened)}, {it.flood_processes}"),
        ("until all were open", f"{it.seconds:.1f} s: {it.streams / it.seconds:,.0f} a second"),
        ("server's CPU", server),
        ("clients' CPU", clients),
        ("attempts that failed; overflows of the queue", f"{it.failed:,}; {it.overflows:,}"),
        ("server's memory without a stream", f"{sum(it.empty) / 1e6:.1f} MB"),
        ("with all of them", f"{it.memory / 1e6:.1f} MB"),
        ("a connection: of all of it", f"{it.bytes_a_stream:,.0f} bytes"),
        ("a connection: what came with them", f"{it.growth_a_stream:,.0f} bytes"),
        ("clients' memory a connection", f"{it.flood_bytes_a_stream:,.0f} bytes"),
        ("buckets of the kernel's table of sockets; sockets in each", buckets),
    )


def _kernel(results: Results) -> Table:
    used = results.run.opening.kernel
    return facts(
        ("slabs", "", f"{used.slabs / used.sockets:,.0f}"),
        ("data on its way", "", f"{used.socket_pages / used.sockets:,.0f}"),
        *(
            (f"of the slabs: {it.name}", f"{it.a_socket:.2f}", f"{it.bytes_a_socket:,.0f}")
            for it in used.objects
            if it.a_socket >= 0.1
        ),
        ("stacks and page tables of all processes", "", f"{used.processes / 1e6:,.1f} MB in all"),
        ("left by listing /proc/PID/fd, reclaimable", "", f"{used.listed / 1e6:,.1f} MB in all"),
        of=(f"the kernel's, {used.sockets:,} sockets", "objects each", "bytes each"),
    )


def _messages(results: Results) -> list[Block]:
    each = results.each
    sendings = (results.run.sending, each, results.each_again)
    columns = ("", "to random users", "to each", "to each again")
    blocks: list[Block] = [Table(columns, list(_rows(sendings)))]
    if results.loops:
        named = {
            f"C write loop to {it.streams:,}, {when}": it
            for when, it in zip(("before", "after"), results.loops, strict=True)
        }
        blocks.append(beside_loops("Encke, to each", each, named))
    title = f"From sending to arrival, {results.run.streams:,} streams"
    return [*blocks, *graphs.latencies("latency", results.run.seen.latency, title)]


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


def _returned(it: Return) -> Table:
    logged_in = "" if it.seconds_logged_in is None else f"{it.seconds_logged_in:.1f} s"
    return facts(
        ("until the last stream was open again", f"{it.seconds:.1f} s"),
        ("until the node's state had all users, once", logged_in),
        ("server's, clients' CPU", f"{it.cost.server:.1f} s, {it.cost.flood:.1f} s"),
        ("attempts that failed, and were made again", it.failed),
        ("ListenOverflows", it.overflows),
        ("ListenDrops", it.drops),
        ("processes that died", ", ".join(it.died) or "0"),
        of=(f"{it.streams:,} streams, cut by a reset", ""),
    )


def _growth(steps: Sequence[Step]) -> list[Block]:
    memory = table(
        (step.opening for step in steps),
        {
            "streams": lambda it: it.streams,
            "processes": lambda it: len(it.opened),
            "until open": lambda it: f"{it.seconds:.1f} s",
            "server": lambda it: f"{it.memory / 1e6:.1f} MB",
            "a stream": lambda it: f"{it.bytes_a_stream:,.0f}",
            "came with it": lambda it: f"{it.growth_a_stream:,.0f}",
            "kernel, a socket": lambda it: f"{it.kernel.bytes_a_socket:,.0f}",
        },
    )
    messages = table(
        steps,
        {
            "streams": lambda it: it.streams,
            "messages/s": lambda it: f"{it.sending.rate:,.0f}",
            "CPU a message": lambda it: f"{it.sending.server_us:.1f} µs",
            "p50": lambda it: f"{it.seen.latency.p50:.1f} ms",
            "p99": lambda it: f"{it.seen.latency.p99:.1f} ms",
            "max": lambda it: f"{it.seen.latency.max:.1f} ms",
        },
    )
    blocks: list[Block] = [memory, messages]
    if len(steps) > 1:
        columns: dict[str, Callable[[Growth], str | int]] = {
            "": lambda it: it.quantity,
            "from streams": lambda it: it.fewer,
            "to": lambda it: it.more,
            "factor": lambda it: f"{it.factor:.2f}",
        }
        blocks += [
            (
                "How much faster than the connections a quantity has grown from one size to the "
                f"next: 1 is as fast, less is slower; up to {growth.TOLERANCE} is noise. The "
                f"kernel's memory is compared from {growth.ENOUGH_SOCKETS:,} sockets on: with "
                "fewer, what its slabs have in reserve is more than what the sockets take."
            ),
            table(growth.growths(steps), columns),
            graphs.growth(steps, "From few streams to many"),
        ]
    return blocks


def _nchan(results: Results, samples: Sequence[Sample]) -> list[Section]:
    if (nchan := results.nchan) is None:
        return []
    rows = list(_compared(results.run, results.returned, nchan))
    title, caption = "Encke and nchan", "Encke and nchan in the same axes."
    drawn = graphs.over_time("beside", samples, title, caption, aligned=True)
    compared = Table(("", "Encke", "nchan, one worker"), rows)
    return [Section("Beside nchan", [compared, _NCHAN, drawn])]


def _compared(run: Step, returned: Return, nchan: Measured) -> Iterator[tuple[str, ...]]:
    openings, seen = (run.opening, nchan.opening), (run.seen, nchan.seen)
    sendings = (run.sending, nchan.sending)
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
    yield "cut off, and back", *(f"{it.seconds:.1f} s" for it in (returned, nchan.returned))


def _method(results: Results) -> Iterator[Block]:
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
