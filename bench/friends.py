"""Publishing in the article's graph: a million users and their friends.

One run, all on this machine's cores, with the tools that users have:

1. the graph is made, and loaded into SQLite and PostgreSQL
2. some of its users are online; random users publish as fast as they can, beside the bare C
   write loop just before and after
3. as many as the machine can hold are online; random users publish at a given rate
4. a publisher with very many subscribers publishes, while others send to each other

What comes to whom is compared with the graph: see friends_due.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from encke.tools.watch import ControlPort, Recorder, Sample

from . import capacity, clients, friends_popular, friends_stores, loop, options
from .course import Course, noted, without_processes
from .friends_due import Audience
from .friends_popular import Cast, Popular
from .friends_stage import Listeners, Published
from .friends_stores import Loaded, Made
from .servers.encke import ROOM, Encke
from .servers.postgres import Postgres, missing
from .stage import Opening, Seen

FEW = 50_000
"""Connections up to which the server has few enough processes to be read each second."""


class Options(options.Options, frozen=True, kw_only=True):
    """Of `friends`; times in seconds, but `minutes`."""

    QUICK: ClassVar = {
        "users": 2_000,
        "friends": 5,
        "online": 300,
        "connections": 800,
        "rate": 200.0,
        "minutes": 2.0 / 60,
        "fastest_seconds": 1.0,
        "subscribers": 3_000,
        "others": 100,
        "popular_seconds": 1.5,
        "loop_messages": 20_000,
        "every": 0.25,
    }

    users: Annotated[int, Meta(ge=2, description="Users.")] = 1_000_000
    friends: Annotated[int, Meta(ge=1, description="Whom each is subscribed to.")] = 15
    graph: Annotated[
        str,
        Meta(description="File that `encke friends generate` wrote, instead of making one."),
    ] = ""
    online: Annotated[int, Meta(ge=1, description="Users online, for the highest rate.")] = 100_000
    """And of the popular publisher's subscribers."""
    connections: Annotated[
        int,
        Meta(ge=0, description="Users online, for the given rate. 0: as many as fit here."),
    ] = 0
    rate: Annotated[float, Meta(ge=1, description="Publications a second.")] = 1_000.0
    minutes: Annotated[float, Meta(ge=0.01, description="How long at that rate.")] = 5.0
    fastest_seconds: float = 30.0
    """How long they publish as fast as they can."""
    subscribers: Annotated[int, Meta(ge=1, description="Of the popular publisher.")] = 1_000_000
    others: int = 10_000
    """Users who send to each other meanwhile, and are no subscribers of the popular publisher."""
    popular_seconds: float = 20.0
    """How long they do, before and meanwhile."""
    transport: Annotated[str, Meta(description="Of the streams: test, or events.")] = "test"
    postgres: Annotated[bool, Meta(description="Load into PostgreSQL too.")] = True
    fastest: Annotated[bool, Meta(description="Publish as fast as possible.")] = True
    steady: Annotated[bool, Meta(description="Publish at a given rate.")] = True
    popular: Annotated[bool, Meta(description="Publish to very many subscribers.")] = True
    loop_messages: int = loop.MESSAGES
    every: float = 2.0
    """Between two readings of memory."""


def sized(options: Options, bounds: list[capacity.Bound]) -> Options:
    """With as many connections as the machine can hold, if they aren't given, and no more than
    there are users. Raises BenchError if it can't hold those that are needed."""
    connections = min(options.connections or capacity.most(bounds), options.users)
    online = min(options.online, options.users, options.subscribers)
    capacity.check(max(connections * options.steady, online + options.others), bounds)
    return msgspec.structs.replace(options, connections=connections, online=online)


class Fastest(msgspec.Struct, frozen=True):
    """Random users published as fast as they could."""

    opening: Opening
    published: Published
    seen: Seen
    loops: list[loop.Written]
    """Before and after, with as many streams."""
    small_loop: loop.Written | None
    """The same with as many as one process can hold."""

    @property
    def ratio(self) -> float:
        """Deliveries a second, as a ratio to the write loop's."""
        rate = fmean(it.rate for it in self.loops) if self.loops else 0.0
        return self.published.delivery_rate / rate if rate else 0.0

    @property
    def cpu_ratio(self) -> float:
        """The same by CPU time: the loop's a message to the server's a delivery."""
        us = fmean(it.us for it in self.loops) if self.loops else 0.0
        return us / self.published.server_us


class Steady(msgspec.Struct, frozen=True):
    """Random users published at a rate."""

    opening: Opening
    published: Published
    seen: Seen
    router_before: int
    router_after: int
    """Memory of the router's process (PSS, bytes), which has the store's cache, before the first
    publication and behind the last one."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; what wasn't is None."""

    bounds: list[capacity.Bound]
    graph: Made
    stores: list[Loaded]
    fastest: Fastest | None = None
    steady: Steady | None = None
    popular: Popular | None = None
    timelines: dict[str, list[Sample]] = {}
    """By part; without each process, which is in the log."""
    log: list[str] = []
    """What the nodes have warned of."""

    @property
    def _loads(self) -> "list[Fastest | Steady]":
        return [it for it in (self.fastest, self.steady) if it is not None]

    @property
    def refused(self) -> int:
        """Messages that weren't accepted."""
        return sum(it.published.refused for it in self._loads)

    @property
    def closed(self) -> int:
        """Streams that the server has closed."""
        others = self.popular.all_others if self.popular else []
        return sum(it.seen.closed for it in (*self._loads, *others))

    @property
    def wrong(self) -> bool:
        """Whether somebody got what wasn't due, or didn't get what was."""
        popular = self.popular.wrongs if self.popular else []
        return any([*(it.published.wrong for it in self._loads), *popular])

    @property
    def faulty(self) -> bool:
        """Whether anything is as it must never be."""
        return self.wrong or bool(self.refused) or bool(self.closed)


Samples = dict[str, list[Sample]]
"""All of them with each process, for log and graph, by part."""


def measure(
    options: Options, bounds: list[capacity.Bound], course: Course
) -> tuple[Results, Samples]:
    """Raises BenchError if a step can't be carried out."""
    return _Run(options, course).run(bounds)


class _Run:
    """One run."""

    def __init__(self, options: Options, course: Course) -> None:
        self._options = options
        self._course = course
        directory = course.place("friends")
        self._graph = Path(options.graph) if options.graph else directory / "friends.tsv"
        self._data = directory / "data"
        self._samples: Samples = {}
        self._log: list[str] = []

    def run(self, bounds: list[capacity.Bound]) -> tuple[Results, Samples]:
        options = self._options
        graph = self._make()
        stores = [self._sqlite(self._graph, "SQLite"), *self._postgres()]
        results = Results(
            bounds=bounds,
            graph=graph,
            stores=stores,
            fastest=self._fastest() if options.fastest else None,
            steady=self._steady() if options.steady else None,
            popular=self._popular(stores) if options.popular else None,
            timelines={name: without_processes(its) for name, its in self._samples.items()},
            log=self._log,
        )
        return results, self._samples

    # the stores

    def _make(self) -> Made:
        options = self._options
        self._course.begin(f"a graph of {options.users:,} users with {options.friends} friends")
        if options.graph:
            return Made(options.users, friends_stores.count(self._graph), 0.0)
        made = friends_stores.make(options.users, options.friends, self._graph)
        self._course.done(f"{made.subscriptions:,} subscriptions made in {made.seconds:.1f} s")
        return made

    def _sqlite(self, file: Path, name: str) -> Loaded:
        before = friends_stores.size(self._data)
        loaded = self._load(name, file, "sqlite", self._data)
        return self._loaded(loaded, friends_stores.size(self._data) - before)

    def _postgres(self) -> Iterator[Loaded]:
        if not self._options.postgres or self._course.left_out("PostgreSQL", missing()):
            return
        with Postgres() as database:
            empty = database.bytes()
            loaded = self._load("PostgreSQL", self._graph, database.url, self._graph.parent)
            yield self._loaded(loaded, database.bytes() - empty)

    def _load(self, name: str, file: Path, friends: str, data: Path) -> Loaded:
        self._course.begin(f"loading into {name}")
        return friends_stores.load(name, file, self._options.users, friends=friends, data=data)

    def _loaded(self, it: Loaded, size: int) -> Loaded:
        self._course.done(
            f"{it.store}: {it.subscriptions:,} subscriptions loaded in {it.seconds:.1f} s, "
            f"{size / 1e6:,.0f} MB; {it.lookup_us:,.0f} us a lookup"
        )
        return msgspec.structs.replace(it, bytes=size)

    # the parts

    def _fastest(self) -> Fastest:
        options, course = self._options, self._course
        with self._online("fastest", options.online) as (_, recorder, listeners):
            opening = self._open(listeners)
            course.begin("the C write loop; random users publish; the write loop", recorder)
            with loop.beside(course, options.online, options.loop_messages) as loops:
                published = listeners.publish_fastest(options.fastest_seconds)
            small = None
            if clients.missing() is None:
                streams = min(loop.STREAMS, options.online)
                small = loop.measure(streams, options.loop_messages, course.place("loop-small"))
            course.begin("the clients leave", recorder)
            fastest = Fastest(opening, published, listeners.end(), loops, small)
        course.done(
            f"{published.rate:,.0f} publications/s, {published.delivery_rate:,.0f} deliveries/s; "
            f"{published.wrong}; the C write loop: {loop.said(loops)}"
        )
        return fastest

    def _steady(self) -> Steady:
        options, course = self._options, self._course
        with self._online("steady", options.connections) as (server, recorder, listeners):
            opening = self._open(listeners)
            router = _router(server)
            before = server.memory()[router]
            course.begin(f"{options.rate:,.0f} publications/s", recorder)
            published = listeners.publish_paced(options.rate, options.minutes * 60)
            after = server.settled_memory()[router]
            course.begin("the clients leave", recorder)
            steady = Steady(opening, published, listeners.end(), before, after)
        course.done(
            f"{published.publications:,} publications at {published.rate:,.0f}/s, "
            f"{published.delivery_rate:,.0f} deliveries/s, p99 {steady.seen.latency.p99:,.1f} ms; "
            f"{published.wrong}"
        )
        return steady

    def _popular(self, stores: list[Loaded]) -> Popular:
        options = self._options
        place = self._course.place("popular")
        subscriptions = place / "popular.tsv"
        friends_popular.write(options.subscribers, subscriptions)
        self._data = place / "data"
        stores.append(self._sqlite(subscriptions, "SQLite, the popular publisher's"))
        online = _some(options.subscribers, options.online)
        audience = Audience(subscriptions, online, options.subscribers + 1)
        cast = Cast(audience, options.subscribers, options.others)
        self._course.begin("a publisher with very many subscribers")
        with self._node("popular", options.online + options.others) as (server, _):
            return friends_popular.measure(
                server, cast, options.popular_seconds, self._course, options.transport
            )

    @contextmanager
    def _online(self, name: str, online: int) -> Iterator[tuple[Encke, Recorder, Listeners]]:
        """A node, watched, and so many of the users, not connected yet."""
        users, course = self._options.users, self._course
        course.begin(f"choosing {online:,} users, and what is due to whom")
        audience = Audience(self._graph, _some(users, online), users)
        place, transport = course.place(name), self._options.transport
        with (
            self._node(name, online) as (server, recorder),
            Listeners(server, audience, users, place, transport) as listeners,
        ):
            yield server, recorder, listeners

    def _open(self, listeners: Listeners) -> Opening:
        self._course.begin("connecting")
        opening = listeners.open()
        self._course.done(
            f"{opening.streams:,} streams open after {opening.seconds:.1f} s; "
            f"{opening.bytes_a_stream:,.0f} bytes each"
        )
        return opening

    @contextmanager
    def _node(self, name: str, streams: int) -> Iterator[tuple[Encke, Recorder]]:
        """A node with the store, watched; what it warns of is kept."""
        every = self._options.every if streams <= FEW else max(5.0, self._options.every)
        self._course.marks.clear()
        with (
            Encke("--max-connections", str(streams + ROOM), "--data", str(self._data)) as server,
            Recorder([ControlPort(server.control_url, name)], every) as recorder,
        ):
            recorder.listener = self._course.show
            yield server, recorder
            recorder.read()
            self._log += server.warnings()
        self._samples[name] = noted(recorder.samples, self._course.marks, every / 4)


def _some(users: int, count: int) -> list[int]:
    """`count` of the users from 1 to `users`: the same ones each time."""
    return Random(1).sample(range(1, users + 1), count)


def _router(server: Encke) -> int:
    """The process that looks up subscribers: the router, or the only gateway."""
    pids = server.named_pids()
    return pids.get("router") or pids["gateway-0"]
