"""The arguments of ``encke generate``."""

import typer

from ... import scheduling
from ...flags import taking
from .plan import Plan
from .run import run

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
@taking(Plan)
def generate(plan: Plan) -> int:
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
    `t=NANOSECONDS s=SENDER.NUMBER`: when it was written, by whom, and its number among
    this sender's messages to this user. `encke flood` finds the time to its arrival, holes and
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
    plan = plan.settled()
    scheduling.batch()
    return run(plan)
