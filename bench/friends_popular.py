"""A publisher with very many subscribers: how long their messages take, and how others fare.

First one message of theirs, alone. Then a steady load between others: by itself, and while they
publish all the time, the next message as soon as the one before is answered.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from encke.tools.load.summary import Durations

from . import counts
from .course import Course
from .friends_due import Audience, Mismatch
from .friends_stage import Answered, Listeners
from .servers.encke import Encke
from .stage import Seen, Stage

RATE = 1_000.0
"""Messages a second between others."""


class Message(msgspec.Struct, frozen=True):
    """One message of theirs; from POSTing it to each arrival."""

    answered: Answered
    arrivals: Durations
    wrong: Mismatch


class Others(msgspec.Struct, frozen=True):
    """Messages between others."""

    messages: int
    rate: float
    seen: Seen
    wrong: counts.Difference


class Meanwhile(msgspec.Struct, frozen=True):
    """Others' messages while they published."""

    others: Others
    publications: list[Answered]
    arrivals: Durations
    wrong: Mismatch


class Popular(msgspec.Struct, frozen=True):
    """What was measured."""

    subscribers: int
    online: int
    alone: Message
    before: Others
    meanwhile: Meanwhile

    @property
    def ratio(self) -> float:
        """Others' p99 while they publish, as a ratio to what it was before."""
        return self.meanwhile.others.seen.latency.p99 / self.before.seen.latency.p99

    @property
    def all_others(self) -> list[Others]:
        return [self.before, self.meanwhile.others]

    @property
    def wrongs(self) -> list[Mismatch | counts.Difference]:
        others = [it.wrong for it in self.all_others]
        return [self.alone.wrong, self.meanwhile.wrong, *others]


class Cast(msgspec.Struct, frozen=True):
    """Who is who: subscribers are numbered from 1 to `subscribers`, who of them is online is
    in `audience`; then comes the publisher, then the others."""

    audience: Audience
    subscribers: int
    others: int

    @property
    def publisher(self) -> int:
        return self.subscribers + 1


def write(subscribers: int, file: Path) -> None:
    """Write the subscriptions to the publisher, for `encke friends load`."""
    with file.open("w") as lines:
        lines.writelines(f"{user}\t{subscribers + 1}\n" for user in range(1, subscribers + 1))


def measure(server: Encke, cast: Cast, seconds: float, course: Course, transport: str) -> Popular:
    """Measure, others' messages for so long each time. Raises BenchError."""
    alone = _alone(server, cast, course.place("alone"), transport)
    course.done(
        f"{alone.answered.delivered:,} of {cast.subscribers:,} subscribers online: first after "
        f"{alone.arrivals.min:,.1f} ms, last after {alone.arrivals.max:,.0f} ms; {alone.wrong}"
    )
    course.begin("others' messages")
    before = _others(server, cast, 0, seconds, course.place("before"))
    course.begin("others' messages while they publish")
    meanwhile = _meanwhile(server, cast, seconds, course, transport)
    popular = Popular(cast.subscribers, len(cast.audience.online), alone, before, meanwhile)
    course.done(
        f"others' p99: {before.seen.latency.p99:.2f} ms before, "
        f"{meanwhile.others.seen.latency.p99:.2f} ms while they published "
        f"{len(meanwhile.publications)} messages: {popular.ratio:.1f} times"
    )
    return popular


def _alone(server: Encke, cast: Cast, directory: Path, transport: str) -> Message:
    with _listeners(server, cast, directory, transport) as listeners:
        answered = listeners.publish_one(cast.publisher)
        wrong = listeners.await_all()
        return Message(answered, listeners.end().latency, wrong)


def _others(server: Encke, cast: Cast, beside: int, seconds: float, directory: Path) -> Others:
    first = cast.publisher + 1
    with Stage(server, cast.others, directory, first_id=first, beside=beside) as stage:
        stage.open()
        sent = stage.send_paced(RATE, seconds)
        others = Others(sent.messages, sent.rate, stage.end(), sent.wrong)
    _all_gone(server, beside)
    return others


def _meanwhile(
    server: Encke, cast: Cast, seconds: float, course: Course, transport: str
) -> Meanwhile:
    with _listeners(server, cast, course.place("listeners"), transport) as listeners:
        with _publishing(listeners, cast.publisher) as publications:
            online = len(cast.audience.online)
            others = _others(server, cast, online, seconds, course.place("meanwhile"))
        wrong = listeners.await_all()
        return Meanwhile(others, publications, listeners.end().latency, wrong)


@contextmanager
def _listeners(server: Encke, cast: Cast, directory: Path, transport: str) -> Iterator[Listeners]:
    """Those of their subscribers who are online."""
    with Listeners(server, cast.audience, cast.publisher, directory, transport) as listeners:
        listeners.open()
        yield listeners
    _all_gone(server, 0)


@contextmanager
def _publishing(listeners: Listeners, publisher: int) -> Iterator[list[Answered]]:
    """Inside, they publish, one message after the other."""
    answers: list[Answered] = []
    enough = threading.Event()

    def publish() -> None:
        while not enough.is_set():
            answers.append(listeners.publish_one(publisher))

    with ThreadPoolExecutor(1) as thread:
        publishing = thread.submit(publish)
        try:
            yield answers
        finally:
            enough.set()
    publishing.result()  # raises what it couldn't do


def _all_gone(server: Encke, beside: int) -> None:
    server.until(lambda state: state.streams == state.users == beside, "all are gone", 60)
