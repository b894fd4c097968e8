"""Managing friends over HTTP: who is subscribed to whom.

    PUT, DELETE  /users/{subscriber}/subscriptions/{publisher}
    GET          /users/{id}/subscriptions, /users/{id}/subscribers     in pages
    POST         /subscriptions                                         many, as a stream

A change is durable, and in effect for the next publish, once it's answered: the router
looks subscribers up in the same store.

Nothing here can be done by a foreign web page in the browser of somebody who can reach
the port: see wire.cross_origin. And PUT, DELETE and the media types of a bulk body aren't among
what browsers send without asking first (the Fetch standard's CORS-safelisted requests); the
control port doesn't answer such questions.

Imported when it's first needed: few nodes do.
"""

from collections.abc import Callable
from http import HTTPStatus

import msgspec

from ..errors import StoreError
from ..friends.opening import open_store
from ..friends.store import Page, Store
from ..ids import user_id
from ..reactor.loop import Reactor
from ..settings import Settings, friends_store
from ..wire.response import JSON
from ..wire.subscriptions import FORMS, Form, Pair, Reader
from .problems import FAILED, RETRY_AFTER, Rejected, problem, problem_of
from .response import NOT_STORED, Later, Response
from .routes import Asked
from .store_thread import StoreThread

PAGE_LIMIT = 1000
"""Ids in one answer."""

TRANSACTION_SIZE = 5000
"""Subscriptions that are collected for one transaction: it costs some milliseconds however
few they are. A piece may bring some more."""

OFF = (
    "This server keeps no friends. Start it with --friends sqlite, or in a cluster with "
    "--friends postgresql://..., to have subscriptions."
)


class Friends:
    """The handlers."""

    def __init__(self, settings: Settings, reactor: Reactor) -> None:
        friends = friends_store(settings)
        self._off = friends == "off"
        self._thread = StoreThread(reactor, lambda: open_store(friends, settings.data))

    def close(self) -> None:
        """Let the store go."""
        self._thread.close()

    def check(self, answered: Callable[[str], None]) -> None:
        """Call `answered` with what is wrong with the store, empty if nothing seems to be."""
        wrong: list[str] = []

        def failed(error: StoreError) -> Response:
            wrong.append(str(error))
            return problem_of(error)

        def told(response: Response | None) -> None:
            answered("".join(wrong) if wrong or response is None else FAILED)

        self._thread.call(
            lambda store: store.subscriptions(b"0", None, 1), lambda _: None, failed
        ).then(told)

    def subscribe(self, asked: Asked) -> Later:
        """Make one subscription."""
        pair = self._pair(asked)
        return self._thread.call(
            lambda store: store.add([pair]),
            lambda added: Response(HTTPStatus.CREATED if added else HTTPStatus.NO_CONTENT),
        )

    def unsubscribe(self, asked: Asked) -> Later:
        """End one subscription."""
        pair = self._pair(asked)
        subscriber, publisher = (id.decode() for id in pair)

        def answer(removed: int) -> Response:
            if removed:
                return Response(HTTPStatus.NO_CONTENT)
            detail = f"{subscriber} is not subscribed to {publisher}."
            return problem(HTTPStatus.NOT_FOUND, detail)

        return self._thread.call(lambda store: store.remove([pair]), answer)

    def subscriptions(self, asked: Asked) -> Later:
        """Whom a user is subscribed to."""
        return self._list(
            asked, "subscriptions", lambda it: it.subscriptions, lambda it: it.count_subscriptions
        )

    def subscribers(self, asked: Asked) -> Later:
        """Who is subscribed to a user."""
        return self._list(
            asked, "subscribers", lambda it: it.subscribers, lambda it: it.count_subscribers
        )

    def load(self, asked: Asked) -> "_Bulk":
        """Make many subscriptions, of a body of any length."""
        self._check()
        kind = asked.header(b"content-type") or b""
        media_type = kind.decode("latin-1").partition(";")[0].strip().lower()
        if media_type not in FORMS:
            raise Rejected(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "The body is lines; say in Content-Type how they are written: "
                f"{' or '.join(FORMS)}.",
                ((b"Accept", ", ".join(FORMS).encode()),),
            )
        return _Bulk(self._thread, FORMS[media_type])

    def _check(self) -> None:
        """Whether there is anything to manage."""
        if self._off:
            raise Rejected(HTTPStatus.CONFLICT, OFF)

    def _pair(self, asked: Asked) -> Pair:
        """The subscriber and the publisher whose subscription it is."""
        self._check()
        subscriber, publisher = asked.places
        return user_id(subscriber), user_id(publisher)

    def _list(
        self,
        asked: Asked,
        name: str,
        pages: Callable[[Store], Callable[[bytes, bytes | None, int], Page]],
        counter: Callable[[Store], Callable[[bytes], int]],
    ) -> Later:
        """A page, and on the first one how many there are in all: to count takes long for who
        has a million."""
        self._check()
        id = user_id(asked.places[0])
        after = asked.query(b"after")
        start = None if after is None else user_id(after)
        limit = _limit(asked.query(b"limit"))

        def read(store: Store) -> tuple[Page, int | None]:
            page = pages(store)(id, start, limit)
            return page, counter(store)(id) if start is None else None

        def answer(found: tuple[Page, int | None]) -> Response:
            page, count = found
            said: dict[str, object] = {} if count is None else {"count": count}
            said[name] = [id.decode() for id in page.ids]
            if page.more:
                said["next"] = page.ids[-1].decode()
            return Response(HTTPStatus.OK, msgspec.json.encode(said), JSON, NOT_STORED)

        return self._thread.call(read, answer)


class _Bulk:
    """Takes a bulk body; a response.Body. What has become of it is the store's thread's."""

    def __init__(self, thread: StoreThread, form: Form) -> None:
        self._thread = thread
        self._accepted = self._added = 0  # in the store for good, and of them new
        self._reader = Reader(form)
        self._pending: list[Pair] = []

    def feed(self, piece: bytes) -> Later:
        """Take `piece`."""

        def take(store: Store) -> None:
            self._pending += self._reader.feed(piece)
            if len(self._pending) >= TRANSACTION_SIZE:
                self._keep(store)

        return self._thread.call(take, lambda _: None, self._failed)

    def finish(self) -> Later:
        """Take the end."""

        def take(store: Store) -> None:
            self._pending += self._reader.finish()
            self._keep(store)

        return self._thread.call(take, lambda _: self._answer(), self._failed)

    def _keep(self, store: Store) -> None:
        if self._pending:
            self._added += store.add(self._pending)
            self._accepted += len(self._pending)
            self._pending = []

    def _answer(self) -> Response:
        """The counts, and the first bad lines."""
        errors = [{"line": it.number, "detail": it.reason} for it in self._reader.errors]
        said = {
            "accepted": self._accepted,
            "added": self._added,
            "bad": self._reader.bad,
            "errors": errors,
        }
        return Response(HTTPStatus.OK, msgspec.json.encode(said), JSON)

    def _failed(self, error: StoreError) -> Response:
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{error} So many lines are kept: {self._accepted}. To send all again does no harm.",
            RETRY_AFTER,
            accepted=self._accepted,
            added=self._added,
        )


def _limit(raw: bytes | None) -> int:
    if raw is None:
        return PAGE_LIMIT
    if raw.isdigit() and len(raw) <= 4 and 1 <= int(raw) <= PAGE_LIMIT:
        return int(raw)
    raise Rejected(HTTPStatus.BAD_REQUEST, f"?limit takes a number from 1 to {PAGE_LIMIT}.")
