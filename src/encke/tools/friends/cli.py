"""The arguments of ``encke friends``."""

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from ...errors import EnckeError
from ...flags import taking
from ...loading import load as load_settings
from ...settings import Settings, friends_store
from .options import Generate, Listing, Load, OfServer, OfStore, Stats, Subscription

if TYPE_CHECKING:
    from ...client.friends import Friends, Kind
    from ...friends.store import Store

TIMEOUT = 60.0
"""Seconds that the server may take to answer."""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
@taking(Subscription)
def add(asked: Subscription) -> None:
    """Subscribe SUBSCRIBER to PUBLISHER: they get what PUBLISHER publishes from now on."""
    with _remote(asked) as remote:
        for one, other in _directions(asked):
            already = "" if remote.add(one, other) else " already"
            print(f"{one} is subscribed to {other}{already}")


@app.command()
@taking(Subscription)
def remove(asked: Subscription) -> None:
    """End SUBSCRIBER's subscription to PUBLISHER. Exit code 1 if there was none."""
    directions = _directions(asked)
    with _remote(asked) as remote:
        missing = []
        for one, other in directions:
            if remote.remove(one, other):
                print(f"{one} is no longer subscribed to {other}")
                continue
            missing.append(f"{one} is not subscribed to {other}.")
            if len(missing) == len(directions):
                raise EnckeError(missing[-1])
            print(missing[-1])


@app.command("list")
@taking(Listing)
def list_(asked: Listing) -> None:
    """Print whom ID is subscribed to, an id a line."""
    _print_ids("subscriptions", asked)


@app.command()
@taking(Listing)
def subscribers(asked: Listing) -> None:
    """Print who is subscribed to ID, an id a line."""
    _print_ids("subscribers", asked)


@app.command()
@taking(Load)
def load(asked: Load) -> None:
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
    settings = _settings(asked)
    with _opened(asked.file) as source, _store(settings) as store:
        loading.load(
            store,
            source,
            asked.file,
            direction=asked.direction,
            mutual=asked.mutual,
            skip_bad=asked.skip_bad,
        )
    print(f"They are in {_place(settings)}")


@app.command()
@taking(OfStore)
def export(asked: OfStore) -> None:
    """Print all subscriptions: SUBSCRIBER, a tab, PUBLISHER a line, as load reads them.

    \b
    encke friends export | gzip > friends.tsv.gz
    encke friends export --data old | encke friends load - --friends postgresql://...
    """
    with _store(_existing(asked)) as store:
        _write(b"%b\t%b\n" % pair for pair in store.pairs())


@app.command()
@taking(Generate)
def generate(asked: Generate) -> None:
    """Print a graph of friends for tests, in the form that load reads: a few users are
    very popular, most are not (Barabási and Albert's model, which the article uses).

    \b
    encke friends generate --users 1000000 --friends 15 > friends.tsv
    encke friends load friends.tsv

    The users come one after the other, and each chooses --friends of those who are there,
    the popular ones more likely. --tail says who subscribes to whom then:

    \b
    publishers    newcomers subscribe to those chosen. Everyone has 15 subscriptions, most
                  have a few subscribers, and some have thousands: what they publish
                  goes to thousands. As in life, where stars are heard.
    subscribers   those chosen subscribe to newcomers. Everyone has at most 15 subscribers,
                  and some have thousands of subscriptions: they hear everyone. That is
                  the article's list of edges, read as "subscriber, publisher".
    mutual        each to the other: twice as many subscriptions.

    It takes igraph (pip install 'encke[graph]'), and a GB of memory for a million users.
    """
    graph = importlib.import_module("encke.tools.friends.graph")
    _write(graph.lines(asked.users, asked.friends, asked.seed, asked.tail, asked.first_id))


@app.command()
@taking(Stats)
def stats(asked: Stats) -> None:
    """Say how subscriptions are distributed: how many have how many.

    \b
    encke friends stats
    encke friends stats --plot friends.png

    A plot takes matplotlib (pip install 'encke[plot]').
    """
    if asked.plot is not None:
        importlib.import_module("encke.tools.watch.plot").check(asked.plot)
    degrees = importlib.import_module("encke.tools.friends.degrees")
    with _store(_existing(asked)) as store:
        distribution = degrees.Distribution.of(store)
    if asked.json:
        print(importlib.import_module("msgspec").json.encode(distribution).decode())
    else:
        print(*distribution.lines(), sep="\n")
    if asked.plot is not None:
        importlib.import_module("encke.tools.friends.plot").draw(distribution, asked.plot)


def _directions(asked: Subscription) -> list[tuple[str, str]]:
    one, other = asked.subscriber, asked.publisher
    return [(one, other), (other, one)] if asked.mutual else [(one, other)]


def _remote(asked: OfServer) -> "Friends":
    url = asked.control if "://" in asked.control else f"http://{asked.control}"
    server = importlib.import_module("encke.client.server").Server(url, asked.api_key)
    friends: Friends = importlib.import_module("encke.client.friends").Friends(server, TIMEOUT)
    return friends


def _print_ids(kind: "Kind", asked: Listing) -> None:
    id = asked.id
    line = "{}\n"
    if asked.json:  # ids need no escaping
        line = f'{{{{"subscriber": "{id}", "publisher": "{{}}"}}}}\n'
        if kind == "subscribers":
            line = f'{{{{"subscriber": "{{}}", "publisher": "{id}"}}}}\n'
    with _remote(asked) as remote:
        if asked.count:
            print(remote.count(kind, id))
        else:
            ids = remote.list(id) if kind == "subscriptions" else remote.subscribers(id)
            _write(line.format(each).encode() for each in ids)


def _settings(asked: OfStore) -> Settings:
    settings = load_settings({"data": asked.data, "friends": asked.where}, file=asked.config)
    if friends_store(settings) == "off":
        raise EnckeError("Friends are off; name a store: --friends sqlite, or postgresql://...")
    return settings


def _existing(asked: OfStore) -> Settings:
    """The same, of a store that there is: reading makes none."""
    settings = _settings(asked)
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
