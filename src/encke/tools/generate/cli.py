"""The arguments of ``encke generate``."""

from pathlib import Path
from typing import Annotated

import typer

from ... import scheduling
from ...errors import BadSettings
from .plan import Distribution, Plan
from .run import run

app = typer.Typer(add_completion=False, rich_markup_mode=None)

DEFAULTS = Plan()


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def generate(
    to: Annotated[
        str, typer.Option(metavar="URL", envvar="ENCKE_URL", help="Address of the server.")
    ] = DEFAULTS.to,
    path: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            show_default=False,
            help="Where a message is sent; {} stands for the user id. [default: /send/{}; "
            "with --ndjson /send; with --publish /publish/{} and /publish]",
        ),
    ] = "",
    publish: Annotated[
        bool,
        typer.Option(
            "--publish", help="Publish for random users: to all who are subscribed to them."
        ),
    ] = False,
    count: Annotated[
        int, typer.Option("--count", "-c", min=0, metavar="N", help="Messages. 0: no limit.")
    ] = 0,
    duration: Annotated[
        float, typer.Option(min=0, metavar="S", help="End after S seconds. 0: no limit.")
    ] = 0.0,
    interval: Annotated[
        float,
        typer.Option(min=0, metavar="MS", help="Milliseconds between two messages of a sender."),
    ] = 0.0,
    rate: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="N",
            help="Messages a second, of all senders. 0: as fast as the server answers.",
        ),
    ] = 0.0,
    linger: Annotated[
        float,
        typer.Option(
            min=0,
            max=1000,
            metavar="MS",
            help="Write only each MS milliseconds, all that is due then: cheaper for the server.",
        ),
    ] = DEFAULTS.linger,
    senders: Annotated[
        int, typer.Option(min=1, metavar="N", help="Connections; each user has one of them.")
    ] = DEFAULTS.senders,
    pipeline: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Requests of a sender without an answer, at most; of NDJSON 4."
        ),
    ] = DEFAULTS.pipeline,
    first_id: Annotated[
        int, typer.Option(min=0, metavar="N", help="The first user id.")
    ] = DEFAULTS.first_id,
    max_id: Annotated[
        int, typer.Option(min=0, metavar="N", help="The last user id.")
    ] = DEFAULTS.max_id,
    each: Annotated[
        bool, typer.Option("--each", help="One message to each user, instead of random ones.")
    ] = False,
    distribution: Annotated[
        Distribution,
        typer.Option(help="Who gets them: all alike, or few much and a long tail little."),
    ] = DEFAULTS.distribution,
    exponent: Annotated[
        float,
        typer.Option(
            min=0.0, max=10.0, help="Of zipf: user k of them gets in proportion to k^-exponent."
        ),
    ] = DEFAULTS.exponent,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="For the same users in the same order again.")
    ] = None,
    body: Annotated[str, typer.Option(metavar="TEXT", help="The message.")] = DEFAULTS.body,
    size: Annotated[
        int, typer.Option(min=0, metavar="BYTES", help="Fill the message up to this size.")
    ] = 0,
    stamp: Annotated[
        bool,
        typer.Option(
            "--stamp",
            help="Put time, sender and number before the message, for `encke flood`.",
        ),
    ] = False,
    ndjson: Annotated[
        bool, typer.Option("--ndjson", help="Many messages a request, as NDJSON.")
    ] = False,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Messages of an NDJSON body, at most.")
    ] = DEFAULTS.batch,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry",
            help="Send again what was answered with 503, after the time that it names (it may come "
            "twice); and wait for a server that isn't there.",
        ),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds to wait for an answer.")
    ] = DEFAULTS.timeout,
    counts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the number of messages to each user in FILE."),
    ] = None,
    sums: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep the sum of each publisher's keys in FILE (--publish)."
        ),
    ] = None,
    api_key: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            envvar="ENCKE_API_KEY",
            show_default=False,
            help="Key for sending. Better in the environment: other users may see arguments.",
        ),
    ] = "",
    every: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds between two lines.")
    ] = DEFAULTS.every,
    json: Annotated[
        bool, typer.Option("--json", help="For programs: print a JSON object a line.")
    ] = False,
) -> int:
    """Send messages to random users, at a given pace, until all are sent, or Ctrl-C.

    \b
    encke generate --count 10000 --max-id 1000
    encke generate --rate 1000 --duration 60 --max-id 10000 --stamp
    encke generate --senders 10 --interval 100 --distribution zipf --max-id 1000000
    encke generate --each --ndjson --max-id 1000000
    encke generate --publish --ndjson --rate 1000 --max-id 1000000
    encke generate --to http://127.0.0.1:8080 --path '/pub/{}' --count 1000

    It tells how many messages were sent, accepted, and (by Encke) delivered; the errors;
    the time of the answers; and the lag: how much later than due its own messages left.
    A message is due at its time whether or not those before it were answered, unless
    --pipeline requests of its sender are under way.

    A user's messages all come from the same sender. With --stamp each begins with
    `t=NANOSECONDS s=SENDER.NUMBER`: when it was written, by whom, and the how-manieth of
    this sender to this user it is. `encke flood` finds the time to its arrival, holes and
    repetitions; a message that wasn't accepted leaves a hole.

    --counts FILE holds a 32-bit number for each user (little-endian): how often the server
    says that it delivered to them; 1 for each message where it doesn't say that of each
    (NDJSON, a node that hands messages on to others, other servers). `cmp` compares it with
    the file of `encke flood --counts`.

    With --publish messages go out from random users to their subscribers; then --counts holds
    how many each has published, and a stamp `t=NANOSECONDS p=KEY`, with a random number as
    the publication's key. --sums FILE holds the sum of each publisher's keys, 64-bit numbers.
    Who is subscribed to whom then tells what `encke flood --counts FILE --sums FILE` must have.

    Exit codes: 0 all were accepted; 1 not all; 2 wrong usage; 69 no server.
    """
    if interval and rate:
        raise BadSettings("Give either --interval or --rate: one follows from the other.")
    plan = Plan(
        to=to,
        path=path,
        publish=publish,
        ndjson=ndjson,
        count=count,
        duration=duration,
        rate=senders * 1000 / interval if interval else rate,
        linger=linger,
        senders=senders,
        pipeline=pipeline,
        batch=batch,
        first_id=first_id,
        max_id=max_id,
        each=each,
        distribution=distribution,
        exponent=exponent,
        seed=seed,
        body=body,
        size=size,
        stamp=stamp,
        retry=retry,
        timeout=timeout,
        counts=str(counts or ""),
        sums=str(sums or ""),
        api_key=api_key,
        every=every,
        json=json,
    )
    scheduling.batch()
    return run(plan)
