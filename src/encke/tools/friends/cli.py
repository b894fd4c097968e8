"""The arguments of ``encke friends``."""

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ...errors import EnckeError, Refused
from ...settings import Settings, friends_store
from ...settings import load as load_settings
from .files import Direction
from .graph import Tail

if TYPE_CHECKING:
    from ...friends.store import Store
    from .remote import Remote

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEFAULTS = Settings()

Id = Annotated[str, typer.Argument(metavar="ID", help="User id.", show_default=False)]
Subscriber = Annotated[
    str,
    typer.Argument(
        metavar="SUBSCRIBER", help="Who gets what the other publishes.", show_default=False
    ),
]
Publisher = Annotated[
    str, typer.Argument(metavar="PUBLISHER", help="Who publishes.", show_default=False)
]
Control = Annotated[
    str,
    typer.Option(
        metavar="URL", envvar="ENCKE_CONTROL", help="Address of the server's control port."
    ),
]
ApiKey = Annotated[
    str,
    typer.Option(
        metavar="KEY",
        envvar="ENCKE_API_KEY",
        show_default=False,
        help="The server's key. Better in the environment: other users may see arguments.",
    ),
]
Mutual = Annotated[bool, typer.Option("--mutual", help="In both directions.")]
Count = Annotated[bool, typer.Option("--count", help="Only print how many there are.")]
Json = Annotated[
    bool,
    typer.Option("--json", help="For programs: print each as JSON, in the form that load reads."),
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="ENCKE_CONFIG", help="The server's file of settings."),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        show_default=False,
        help=f"The server's --data. [default: {DEFAULTS.data}]",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--friends",
        metavar="URL",
        show_default=False,
        help="The server's --friends: sqlite, or postgresql://... [default: sqlite]",
    ),
]
HERE = f"http://{DEFAULTS.control}"


@app.callback()
def friends() -> None:
    """Say who is subscribed to whom.

    \b
    encke friends add 123 456               # 123 gets what 456 publishes
    encke friends add 123 456 --mutual      # and 456 what 123 publishes
    encke friends list 123
    encke friends load friends.tsv

    add, remove, list and subscribers ask a running server; load, export and stats open
    its store themselves, whether or not it runs. They find it by the server's settings:
    flags here, the environment (ENCKE_DATA, ENCKE_FRIENDS), or --config FILE.
    """


@app.command()
def add(
    subscriber: Subscriber,
    publisher: Publisher,
    mutual: Mutual = False,
    control: Control = HERE,
    api_key: ApiKey = "",
) -> None:
    """Subscribe SUBSCRIBER to PUBLISHER: he gets what PUBLISHER publishes from now on."""
    with _remote(control, api_key) as remote:
        for one, other in _directions(subscriber, publisher, mutual):
            already = "" if remote.add(one, other) else " already"
            print(f"{one} is subscribed to {other}{already}")


@app.command()
def remove(
    subscriber: Subscriber,
    publisher: Publisher,
    mutual: Mutual = False,
    control: Control = HERE,
    api_key: ApiKey = "",
) -> None:
    """End SUBSCRIBER's subscription to PUBLISHER. Exit code 1 if there was none."""
    directions = _directions(subscriber, publisher, mutual)
    with _remote(control, api_key) as remote:
        missing = 0
        for one, other in directions:
            try:
                remote.remove(one, other)
            except Refused as error:
                missing += 1
                if error.status != HTTPStatus.NOT_FOUND or missing == len(directions):
                    raise
                print(error.detail)
            else:
                print(f"{one} is no longer subscribed to {other}")


@app.command("list")
def list_(
    id: Id,
    count: Count = False,
    json: Json = False,
    control: Control = HERE,
    api_key: ApiKey = "",
) -> None:
    """Print whom ID is subscribed to, an id a line."""
    with _remote(control, api_key) as remote:
        _print_ids(remote, "subscriptions", id, count, json)


@app.command()
def subscribers(
    id: Id,
    count: Count = False,
    json: Json = False,
    control: Control = HERE,
    api_key: ApiKey = "",
) -> None:
    """Print who is subscribed to ID, an id a line."""
    with _remote(control, api_key) as remote:
        _print_ids(remote, "subscribers", id, count, json)


@app.command()
def load(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The file; - reads stdin.", show_default=False)
    ],
    mutual: Mutual = False,
    direction: Annotated[
        Direction, typer.Option(help="Which id of a line with a tab is which.")
    ] = Direction.SUBSCRIBER_PUBLISHER,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad lines out instead of stopping at one.")
    ] = False,
    data: Data = None,
    where: Where = None,
    config: Config = None,
) -> None:
    """Load subscriptions from FILE into the store: millions in seconds.

    \b
    encke friends load friends.tsv
    encke friends generate --users 1000 | encke friends load -
    encke friends load friends.tsv --friends postgresql://encke@db.example.org/encke

    Each line is two ids with a tab between them, the subscriber first, or JSON:
    {"subscriber": "123", "publisher": "456"}. What was there stays. A load that broke
    off is simply done again: what is there already is left alone.

    The server may run meanwhile; what is loaded is in effect at the end, without a restart.
    """
    loading = importlib.import_module("encke.tools.friends.loading")
    settings = _settings(data, where, config)
    with _opened(file) as source, _store(settings) as store:
        loading.load(store, source, file, direction=direction, mutual=mutual, skip_bad=skip_bad)
    print(f"They are in {_place(settings)}")


@app.command()
def export(data: Data = None, where: Where = None, config: Config = None) -> None:
    """Print all subscriptions: SUBSCRIBER, a tab, PUBLISHER a line, as load reads them.

    \b
    encke friends export | gzip > friends.tsv.gz
    encke friends export --data old | encke friends load - --friends postgresql://...
    """
    with _store(_existing(data, where, config)) as store:
        _write(b"%b\t%b\n" % pair for pair in store.pairs())


@app.command()
def generate(
    users: Annotated[int, typer.Option(min=2, metavar="N", help="Users.")] = 1_000_000,
    friends: Annotated[int, typer.Option(min=1, metavar="N", help="Friends of each user.")] = 15,
    tail: Annotated[
        Tail,
        typer.Option(help="On which side the popular ones are; see above."),
    ] = Tail.PUBLISHERS,
    first_id: Annotated[
        int, typer.Option(min=0, metavar="N", help="The first user id; the others follow.")
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed makes the same graph.")] = 0,
) -> None:
    """Print a graph of friends for tests, in the form that load reads: a few users are
    very popular, most are not (Barabási and Albert's model, which the article uses).

    \b
    encke friends generate --users 1000000 --friends 15 > friends.tsv
    encke friends load friends.tsv

    The users come one after the other, and each chooses --friends of those who are there,
    the popular ones more likely. --tail says who subscribes to whom then:

    \b
    publishers    each subscribes to whom he chose. Everyone has 15 subscriptions, most
                  have a few subscribers, and some have thousands: what they publish
                  goes to thousands. As in life, where stars are heard.
    subscribers   whom he chose subscribes to him. Everyone has at most 15 subscribers,
                  and some have thousands of subscriptions: they hear everyone. That is
                  the article's list of edges, read as "subscriber, publisher".
    mutual        each to the other: twice as many subscriptions.

    It takes igraph (pip install 'encke[graph]'), and a GB of memory for a million users.
    """
    graph = importlib.import_module("encke.tools.friends.graph")
    _write(graph.lines(users, friends, seed, tail, first_id))


@app.command()
def stats(
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the distribution to FILE, .png or .svg."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs: print JSON.")] = False,
    data: Data = None,
    where: Where = None,
    config: Config = None,
) -> None:
    """Say how subscriptions are distributed: how many have how many.

    \b
    encke friends stats
    encke friends stats --plot friends.png

    A plot takes matplotlib (pip install 'encke[plot]').
    """
    if plot is not None:
        importlib.import_module("encke.tools.watch.plot").check(plot)
    degrees = importlib.import_module("encke.tools.friends.degrees")
    with _store(_existing(data, where, config)) as store:
        distribution = degrees.Distribution.of(store)
    if json:
        print(importlib.import_module("msgspec").json.encode(distribution).decode())
    else:
        print(*distribution.lines(), sep="\n")
    if plot is not None:
        importlib.import_module("encke.tools.friends.plot").draw(distribution, plot)


def _directions(one: str, other: str, mutual: bool) -> list[tuple[str, str]]:
    return [(one, other), (other, one)] if mutual else [(one, other)]


def _remote(control: str, api_key: str) -> "Remote":
    remote: Remote = importlib.import_module("encke.tools.friends.remote").Remote(control, api_key)
    return remote


def _print_ids(remote: "Remote", kind: str, id: str, count: bool, json: bool) -> None:
    if count:
        print(remote.count(kind, id))
        return
    line = "{}\n"
    if json:  # ids need no escaping
        line = f'{{{{"subscriber": "{id}", "publisher": "{{}}"}}}}\n'
        if kind == "subscribers":
            line = f'{{{{"subscriber": "{{}}", "publisher": "{id}"}}}}\n'
    _write(line.format(each).encode() for each in remote.ids(kind, id))


def _settings(data: str | None, where: str | None, config: Path | None) -> Settings:
    settings = load_settings({"data": data, "friends": where}, file=config)
    if friends_store(settings) == "off":
        raise EnckeError("Friends are off; name a store: --friends sqlite, or postgresql://...")
    return settings


def _existing(data: str | None, where: str | None, config: Path | None) -> Settings:
    """The same, of a store that there is: reading makes none."""
    settings = _settings(data, where, config)
    if friends_store(settings) == "sqlite" and not Path(settings.data).is_dir():
        raise EnckeError(
            f"No friends are in {_place(settings)}; name the server's directory with --data."
        )
    return settings


def _place(settings: Settings) -> str:
    """Which store it is, without its password."""
    store = friends_store(settings)
    return str(Path(settings.data).absolute()) if store == "sqlite" else store.rpartition("@")[2]


@contextlib.contextmanager
def _store(settings: Settings) -> "Iterator[Store]":
    opening = importlib.import_module("encke.friends.opening")
    with contextlib.closing(opening.open_store(friends_store(settings), settings.data)) as store:
        yield store


@contextlib.contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 (it's closed below)
    except OSError as error:
        raise EnckeError(f"{name} can't be read: {error.strerror}.") from None
    with file:
        yield file


def _write(blocks: Iterable[bytes]) -> None:
    """Write to stdout; quietly no further once nobody reads it."""
    out = sys.stdout.buffer
    for block in blocks:
        out.write(block)
    out.flush()
