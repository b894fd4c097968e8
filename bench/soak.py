"""A day's events in an hour. Does anything grow, or get lost?

The article ran for 24 hours, at 1,000 messages a second: 86,400,000. What makes a server
grow is what happens to it rather than the time, so as many messages, logins and logouts
are brought about as a day has, as fast as `minutes` demands.

Half of the streams stay, and each of their messages is accounted for: exactly once, in
order. The other half churns: so many a second leave, by FIN and RST in turns, and come
back. Messages go by NDJSON, some by a POST each; to all streams alike, and to users who
aren't there. When the load has ended, the churning half leaves, then the other one: each
time the node must return to what is left.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from encke.errors import BadSettings
from encke.tools.watch import ControlPort, Recorder, Sample

from . import counts, options
from .course import Course, Mark, noted
from .servers.encke import ROOM, Encke
from .soak_readings import History, Inventory, Track, inventory
from .tools import Flooded, Generated, Tool, flood, generate

DAY = 86_400_000
"""Messages of the article's day: 24 hours at 1,000 a second."""

LEEWAY = 2.0
"""Seconds before the end at which all is due, so that what is late can be made up for."""

ABSENT = 20
"""There's a user who isn't there for so many who are."""

SENDERS = 4
"""Connections for NDJSON, and as many for POST: to more than one gateway."""

ARRIVAL = 15.0
"""Seconds that the last messages, and their answers, may take."""

SETTLE = 30.0
"""Seconds that those who leave may take to be gone."""

READINGS = 1000
"""At most; a longer run is read less often."""

Streams = AbstractContextManager[Tool[Flooded]]
Sender = AbstractContextManager[Tool[Generated]]


class Options(options.Options, frozen=True, kw_only=True):
    """Of `soak`."""

    QUICK: ClassVar = {
        "minutes": 0.15,
        "messages": 45_000,
        "logins": 450,
        "streams": 200,
        "posts": 50.0,
        "every": 0.4,
        "questions": 200,
    }

    minutes: Annotated[float, Meta(ge=0.05, description="How long messages are sent.")] = 60.0
    messages: Annotated[int, Meta(ge=1, description="Messages in that time.")] = DAY
    logins: Annotated[int, Meta(ge=1, description="Logins in that time, and as many logouts.")] = (
        1_000_000
    )
    streams: Annotated[
        int, Meta(ge=2, description="Open streams; half of them leave and come back.")
    ] = 10_000
    posts: Annotated[
        float, Meta(ge=1, description="Of the messages, so many a second by POST.")
    ] = 200.0
    every: float = 5.0
    """Seconds between two readings of the node."""
    questions: int = 2000
    """To the control port, first: it's asked so rarely that it would warm up for hours."""

    @property
    def seconds(self) -> float:
        return self.minutes * 60

    @property
    def pace(self) -> float:
        """Seconds in which all is due."""
        return self.seconds - min(LEEWAY, self.seconds / 10)

    @property
    def warm_up(self) -> float:
        """Seconds from the first message that aren't judged: caches fill, arenas are taken."""
        return min(300.0, self.seconds / 6)

    @property
    def churn(self) -> float:
        """Streams that leave, and come back, a second."""
        return self.logins / self.pace

    @property
    def staying(self) -> int:
        """Streams that stay; the others churn."""
        return self.streams // 2

    @property
    def period(self) -> float:
        """Seconds between two readings."""
        return max(self.every, self.seconds / READINGS)


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen."""

    seconds: float
    """From the first message until the last was answered."""
    readings: int
    ndjson: Generated
    post: Generated
    staying: Flooded
    churning: Flooded
    due: int
    """Messages to the streams that stay."""
    wrong: counts.Difference
    """Of these."""
    tracks: list[Track]
    inventories: list[Inventory]
    """Before the first stream, with all open, after the load, and as they leave."""
    replaced: int
    """Processes of the node that died."""
    slow_clients: int

    @property
    def sent(self) -> int:
        """Messages that the server accepted."""
        return self.ndjson.accepted + self.post.accepted

    @property
    def refused(self) -> int:
        """Messages that it didn't, or not in time."""
        return self.ndjson.sent + self.post.sent - self.sent

    @property
    def logins(self) -> int:
        """All of them, those that open a stream for the first time too."""
        return self.inventories[-1].logins

    @property
    def logouts(self) -> int:
        """At the end, when all have left."""
        return self.inventories[-1].logouts

    @property
    def hours_a_day(self) -> float:
        """Hours that as many messages take as a day has."""
        return DAY / max(1, self.sent) * self.seconds / 3600


def check(options: Options) -> None:
    """Raises BadSettings if this can't be done."""
    if options.posts * options.seconds >= options.messages:
        raise BadSettings(
            f"--posts: {options.posts:g} a second would be all of --messages, or more; "
            "most go by NDJSON."
        )


def measure(options: Options, course: Course) -> tuple[Results, list[Sample], History]:
    """Raises BenchError if it can't be done at all, BadSettings for the options.

    Faults of the server raise nothing: they're found in the results.
    """
    check(options)
    with Encke("--max-connections", str(options.streams + ROOM)) as server:
        return _Soak(server, options, course).run()


class _Soak:
    """The soak of a node."""

    def __init__(self, server: Encke, options: Options, course: Course) -> None:
        self._server = server
        self._options = options
        self._directory = course.place("soak")
        self._course = course
        self._control = ControlPort(server.control_url)
        self._history = History(server)

    def run(self) -> tuple[Results, list[Sample], History]:
        server, options = self._server, self._options
        for _ in range(options.questions):
            self._control.read()
        before = inventory(server, "before the first stream")
        with ExitStack() as stack:
            self._course.begin(f"opening {options.streams:,} streams")
            staying = stack.enter_context(self._staying())
            churning = stack.enter_context(self._churning())
            for clients in (staying, churning):
                clients.until(lambda figures: figures.event == "connected", 120)
            opened = self._once("all open", lambda now: now.logins >= options.streams)
            ndjson, post, judged, samples = self._load()
            due = counts.total([self._directory / "ndjson", self._directory / "post"])
            due = due[: options.staying]
            wrong = counts.wait_for(due, self._directory / "got", ARRIVAL)
            loaded = inventory(server, "after the load")
            left, half = churning.end(), (options.staying, options.staying)
            halved = self._once("the churning half has left", lambda now: now.held == half)
            stayed = staying.end()
            emptied = self._once("all have left", lambda now: now.returned_to(before))
        state = server.state()
        results = Results(
            seconds=max(ndjson.elapsed, post.elapsed),
            readings=len(self._history.times),
            ndjson=ndjson,
            post=post,
            staying=stayed,
            churning=left,
            due=sum(due),
            wrong=wrong,
            tracks=self._history.tracks(*judged),
            inventories=[before, opened, loaded, halved, emptied],
            replaced=sum(process.restarts for process in state.processes),
            slow_clients=state.slow_clients,
        )
        warm = Mark(judged[0], "the warm-up ends")
        return results, noted(samples, [warm]), self._history

    # the load

    def _staying(self) -> Streams:
        return flood(
            *("--url", f"{self._server.url}/test/{{}}"),
            *("--connections", str(self._options.staying)),
            *("--verify", "--counts", str(self._directory / "got")),
        )

    def _churning(self) -> Streams:
        options = self._options
        return flood(
            *("--url", f"{self._server.url}/test/{{}}"),
            *("--connections", str(options.streams - options.staying)),
            *("--first-id", str(options.staying + 1)),
            *("--verify", "--churn", str(options.churn), "--retry"),
        )

    def _load(self) -> tuple[Generated, Generated, tuple[float, float], list[Sample]]:
        """Send, and watch: what became of it by NDJSON and by POST, and from when to when
        (seconds since the epoch) the readings count."""
        options = self._options
        recorder = Recorder([self._control], options.period, limit=READINGS + 200)
        recorder.listener = self._read
        self._course.begin(f"{options.messages:,} messages in {options.minutes:g} minutes")
        by_post = round(options.posts * options.seconds)
        with (
            recorder,
            self._sending(options.messages - by_post, "ndjson", "--ndjson") as lines,
            self._sending(by_post, "post") as posts,
        ):
            began = time.time()
            ndjson = lines.result(options.seconds + ARRIVAL)
            judged = began + options.warm_up, time.time()
            return ndjson, posts.result(ARRIVAL), judged, recorder.samples

    def _sending(self, count: int, kind: str, *how: str) -> Sender:
        options = self._options
        everyone = options.streams + options.streams // ABSENT
        return generate(
            self._server.url,
            *("--count", str(count), "--rate", str(count / options.pace)),
            *("--duration", str(options.seconds), "--senders", str(SENDERS)),
            *("--max-id", str(everyone), "--stamp"),
            *("--counts", str(self._directory / kind), *how),
        )

    def _read(self, samples: Sequence[Sample]) -> None:
        self._history.take(samples[0])
        self._course.show(samples)

    # the end

    def _once(self, when: str, condition: Callable[[Inventory], bool]) -> Inventory:
        """What the node holds once that fulfils `condition`; or, if it won't, what it has."""
        give_up = time.monotonic() + SETTLE
        while not condition(found := inventory(self._server, when)):
            if time.monotonic() > give_up:
                break
            time.sleep(0.1)
        return found
