"""Friends: who is subscribed to whom, asked of a server's control port (docs/friends.md)."""

from collections.abc import Iterable, Iterator
from typing import Literal, Self

import msgspec

from ..errors import BadMessage, EnckeError
from .answers import decoded, failure
from .pool import Pool
from .posts import Lines, bulk, segment
from .reader import Answer
from .server import Field, Server

Kind = Literal["subscriptions", "subscribers"]

Pairs = Iterable[tuple[str, str]]
"""(subscriber, publisher) each."""


class Loaded(msgspec.Struct, frozen=True):
    """What became of many subscriptions: how many there are now, and how many of them are new."""

    accepted: int
    added: int


class Page(msgspec.Struct):
    """Some of a list, and where it goes on."""

    count: int | None = None
    next: str | None = None
    subscriptions: list[str] = []
    subscribers: list[str] = []


class PairLines(Lines):
    """Lines of a bulk body: SUBSCRIBER, a tab, PUBLISHER."""

    content_type = "text/tab-separated-values"

    def _write(self, id: str, message: str | bytes) -> None:
        assert isinstance(message, str)
        self.block += f"{segment(id)}\t{segment(message)}\n".encode()


class Desk:
    """The requests, and what their answers mean."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def change(self, method: str, subscriber: str, publisher: str) -> bytes:
        path = f"/users/{segment(subscriber)}/subscriptions/{segment(publisher)}"
        return self._server.head(method, path, Field("Content-Length", "0"))

    def page(self, kind: Kind, id: str, query: str) -> bytes:
        return self._server.head("GET", f"/users/{segment(id)}/{kind}{query}")

    def load(self, lines: Lines) -> bytes:
        return bulk(self._server, "/subscriptions", lines.content_type)

    def added(self, answer: Answer) -> bool:
        self._check(answer, 201, 204)
        return answer.status == 201

    def removed(self, answer: Answer) -> bool:
        if answer.status == 404 and b" is not subscribed to " in answer.body:
            return False
        self._check(answer, 204)
        return True

    def ids(self, answer: Answer) -> Page:
        self._check(answer, 200)
        return decoded(answer.body, Page, self._server.url)

    def loaded(self, answer: Answer, lines: Lines) -> Loaded:
        self._check(answer, 200)
        told = decoded(answer.body, Loaded, self._server.url)
        lines.check(told.accepted, 0)
        return told

    def _check(self, answer: Answer, *expected: int) -> None:
        if answer.status not in expected:
            raise failure(answer, self._server.url)


class Friends:
    """Subscriptions of a server, for any number of threads.

    A change is durable, and in effect for the next publication, when the method returns. All
    raise Unreachable, Interrupted, Unavailable, Refused and Closed as sending does, and BadUserId.
    What was interrupted can be done again: nothing is doubled.
    """

    def __init__(self, server: Server, timeout: float) -> None:
        self._desk = Desk(server)
        self._pool = Pool(server, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections. May be called again."""
        self._pool.close()

    def add(self, subscriber: str, publisher: str) -> bool:
        """Subscribe one to the other; whether that is new."""
        return self._desk.added(self._pool.ask(self._desk.change("PUT", subscriber, publisher)))

    def remove(self, subscriber: str, publisher: str) -> bool:
        """End a subscription; whether there was one."""
        request = self._desk.change("DELETE", subscriber, publisher)
        return self._desk.removed(self._pool.ask(request))

    def list(self, id: str) -> Iterator[str]:
        """Whom `id` is subscribed to, read page by page."""
        return self._ids("subscriptions", id)

    def subscribers(self, id: str) -> Iterator[str]:
        """Who is subscribed to `id`, read page by page."""
        return self._ids("subscribers", id)

    def count(self, kind: Kind, id: str) -> int:
        """How many subscriptions or subscribers `id` has."""
        return self._page(kind, id, "?limit=1").count or 0

    def load(self, subscriptions: Pairs) -> Loaded:
        """Make many subscriptions, each a (subscriber, publisher), in one request of any length.

        A pair that is wrong ends the request: Refused, with its number; those before it are kept.
        """
        lines = PairLines()
        if not isinstance(subscriptions, Iterable):
            raise no_pairs(subscriptions)
        answer = self._pool.stream(self._desk.load(lines), subscriptions, lines)
        return self._desk.loaded(answer, lines)

    def _ids(self, kind: Kind, id: str) -> Iterator[str]:
        segment(id)  # at once, not with the first of them
        return self._pages(kind, id)

    def _pages(self, kind: Kind, id: str) -> Iterator[str]:
        query = ""
        while True:
            page = self._page(kind, id, query)
            yield from page.subscriptions or page.subscribers
            if page.next is None:
                return
            query = f"?after={page.next}"

    def _page(self, kind: Kind, id: str, query: str) -> Page:
        return self._desk.ids(self._pool.ask(self._desk.page(kind, id, query)))


def no_pairs(given: object) -> EnckeError:
    return BadMessage(f"It takes pairs, (subscriber, publisher), not {type(given).__name__}.")
