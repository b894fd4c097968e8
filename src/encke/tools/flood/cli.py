"""The arguments of ``encke flood``."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ...errors import BadSettings
from .__main__ import command
from .plan import Plan

app = typer.Typer(add_completion=False, rich_markup_mode=None)

DEFAULTS = Plan()


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def flood(
    connections: Annotated[
        int,
        typer.Option(
            "--connections",
            "-n",
            min=0,
            metavar="N",
            help="Streams. 0: as many as --urls has lines, else 1000.",
            show_default=False,
        ),
    ] = 0,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Address of a stream; {} stands for the user id.")
    ] = DEFAULTS.url,
    first_id: Annotated[
        int, typer.Option(min=0, metavar="N", help="The first user id; the others follow.")
    ] = DEFAULTS.first_id,
    urls: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the address of a stream a line; for --url."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: VALUE'",
            show_default=False,
            help="A header of the requests; may be given several times.",
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option(min=0, metavar="MS", help="Milliseconds between two opens.")
    ] = 0.0,
    rate: Annotated[
        float,
        typer.Option(
            min=0, metavar="N", help="Opens a second. 0: as fast as the server takes them."
        ),
    ] = 0.0,
    in_flight: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            show_default=False,
            help="Streams of a process that may be under way to being open. 0: up to 256, and no "
            "more than a listening queue of 4096 takes from all processes together.",
        ),
    ] = 0,
    connections_per_process: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            show_default=False,
            help="Streams of a process. 0: as many as its open files allow, up to 20,000.",
        ),
    ] = 0,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, metavar="S", help="Seconds from connecting to the response's head."),
    ] = DEFAULTS.timeout,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try again to open what could not be opened.")
    ] = False,
    reconnect: Annotated[
        bool, typer.Option("--reconnect", help="Open again what was closed; implies --retry.")
    ] = False,
    reconnect_delay: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="S",
            help="Seconds until a closed stream is opened again; half to one and a half of it.",
        ),
    ] = DEFAULTS.reconnect_delay,
    cut: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="S",
            show_default=False,
            help="Cut all streams at once, S seconds after all were open, and open them again.",
        ),
    ] = 0.0,
    churn: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="N",
            show_default=False,
            help="Once all are open, close N a second, one after the other, by FIN and by RST in "
            "turns, and open them again.",
        ),
    ] = 0.0,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check that the messages of each stream count up without a hole or repetition.",
        ),
    ] = False,
    counts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the number of messages of each stream in FILE."),
    ] = None,
    sums: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep the sum of the publications' keys of each stream in FILE."
        ),
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds between two lines.")
    ] = DEFAULTS.every,
    duration: Annotated[
        float,
        typer.Option(min=0, metavar="S", help="End after S seconds.", show_default="until Ctrl-C"),
    ] = 0.0,
    json: Annotated[
        bool, typer.Option("--json", help="For programs: print a JSON object a line.")
    ] = False,
) -> NoReturn:
    """Open very many streams, keep them, and count what comes.

    \b
    encke flood --connections 1000
    encke flood --connections 1000000 --verify
    encke flood --urls mochi-urls.txt --interval 10
    encke flood --connections 10000 --churn 100 --reconnect-delay 5
    encke flood --url 'http://127.0.0.1:8080/sub/{}' --connections 10000

    It prints `Stats: {connected,closed,chunks}` each 10 seconds. It works against any
    server whose streams are chunked, or end with the connection: a chunk is a message; of
    text/event-stream an event with data; of a body that isn't chunked a line.

    As many processes share the streams as the open-files limit demands. To a server on this
    machine they connect from as many addresses 127.x.y.z as they need, since an address has
    only some 28,000 ports, half of which are found quickly.

    What `encke generate --stamp` sends is recognized: then the time from sending to
    arrival is told, and --verify also finds a message that is missing or comes twice
    between others of the same sender. To prove that none was lost at all, give both tools
    --counts and compare the two files with `cmp`: they hold a 32-bit number for each user
    (little-endian), and are up to date at any time.

    Of what `encke generate --publish --stamp` publishes each stream gets only some. Each
    publication has a key, a random number; --sums FILE holds the sum of those that came, a
    64-bit number for each stream. With --counts it tells whether it were those that were due.

    A stream that is opened again, after --churn or a cut, counts anew: what it missed in
    between is no violation, but makes the --counts differ.

    Signals: SIGUSR1 cuts all streams (with a TCP reset) and opens them again, and tells how
    long it took until all were back; SIGINT and SIGTERM end it.

    Exit codes: 0 all were open, and nothing wrong came; 1 else; 2 wrong usage; 69 no server.
    """
    if interval and rate:
        raise BadSettings("Give either --interval or --rate: one follows from the other.")
    if urls and url != DEFAULTS.url:
        raise BadSettings("Give either --url or --urls.")
    plan = Plan(
        url=url,
        urls=str(urls or ""),
        connections=connections or (0 if urls else 1000),
        first_id=first_id,
        headers=tuple(header or ()),
        rate=1000 / interval if interval else rate,
        in_flight=in_flight,
        per_process=connections_per_process,
        timeout=timeout,
        retry=retry,
        reconnect=reconnect,
        reconnect_delay=reconnect_delay,
        cut=cut,
        churn=churn,
        verify=verify,
        counts=str(counts or ""),
        sums=str(sums or ""),
        every=every,
        duration=duration,
        json=json,
    )
    arguments = command(plan)
    sys.stdout.flush()
    os.execv(arguments[0], arguments)
