"""The arguments of ``encke flood``."""

import os
import sys
from typing import NoReturn

import typer

from ...flags import taking
from .__main__ import command
from .plan import Plan

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
@taking(Plan)
def flood(plan: Plan) -> NoReturn:
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
    64-bit number for each stream. With --counts it tells whether those came that were due.

    A stream that is opened again, after --churn or a cut, counts anew: what it missed in
    between is no violation, but makes the --counts differ.

    Signals: SIGUSR1 cuts all streams (with a TCP reset) and opens them again, and tells how
    long it took until all were back; SIGINT and SIGTERM end it.

    Exit codes: 0 all were open, and nothing wrong came; 1 else; 2 wrong usage; 69 no server.
    """
    arguments = command(plan.settled())
    sys.stdout.flush()
    os.execv(arguments[0], arguments)
