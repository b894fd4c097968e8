"""Managing friends over HTTP: who is subscribed to whom.

    PUT, DELETE  /users/{subscriber}/subscriptions/{publisher}
    GET          /users/{id}/subscriptions, /users/{id}/subscribers     in pages
    POST         /subscriptions                                         many, as a stream

A change is durable, and in effect for the next publish, once it's answered: the router
looks subscribers up in the same store.

Nothing here can be done by a foreign web page in the browser of somebody who can reach
the port. PUT, DELETE and the media types of a bulk body aren't among what browsers send
without asking first (the Fetch standard's CORS-safelisted requests), and the control port
doesn't answer such questions. And a page whose host name was made to mean this machine
(DNS rebinding) is found out by that name, see `_check`.

Imported when it's first needed: few nodes do. May import: store_thread, problems,
friends, wire.subscriptions, settings, ids, errors.
"""

import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..errors import StoreError
from ..friends.opening import open_store
from ..friends.store import Page, Store
from ..ids import user_id
from ..settings import Settings, friends_store
from ..wire.subscriptions import FORMS, Form, Pair, Reader
from .problems import RETRY_AFTER, problem
from .store_thread import StoreThread

PAGE_LIMIT = 1000
"""Ids in one answer."""

PIECE = 32 * 1024
"""Bytes of a bulk body that are read at once: other requests go on in between."""

SLICE = 5000
"""Subscriptions that are collected for one transaction: it costs some milliseconds however
few they are. A piece may bring some more."""

OFF = (
    "This server keeps no friends. Start it with --friends sqlite, or in a cluster with "
    "--friends postgresql://..., to have subscriptions."
)

JSON = "application/json"


FOREIGN = (
    "Without an API key friends are managed from this machine only, by its own name: "
    "localhost or 127.0.0.1."
)

_is_local = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?", re.IGNORECASE).fullmatch


class Friends:
    """The handlers."""

    def __init__(self, settings: Settings) -> None:
        friends = friends_store(settings)
        self._off = friends == "off"
        self._open = bool(settings.api_key) or settings.insecure
        self._thread = StoreThread(lambda: open_store(friends, settings.data))

    def close(self) -> None:
        """Let the store go."""
        self._thread.close()

    async def subscription(self, request: Request) -> Response:
        """Make or end one subscription."""
        self._check(request)
        pair = user_id(request.path_params["subscriber"]), user_id(request.path_params["publisher"])
        if request.method == "PUT":
            added = await self._thread.call(lambda store: store.add([pair]))
            return Response(status_code=HTTPStatus.CREATED if added else HTTPStatus.NO_CONTENT)
        if not await self._thread.call(lambda store: store.remove([pair])):
            subscriber, publisher = (id.decode() for id in pair)
            raise HTTPException(
                HTTPStatus.NOT_FOUND, f"{subscriber} is not subscribed to {publisher}."
            )
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def subscriptions(self, request: Request) -> Response:
        """Whom a user is subscribed to."""
        return await self._list(
            request, "subscriptions", lambda it: it.subscriptions, lambda it: it.count_subscriptions
        )

    async def subscribers(self, request: Request) -> Response:
        """Who is subscribed to a user."""
        return await self._list(
            request, "subscribers", lambda it: it.subscribers, lambda it: it.count_subscribers
        )

    async def load(self, request: Request) -> Response:
        """Make many subscriptions, of a body of any length."""
        self._check(request)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in FORMS:
            types = " or ".join(FORMS)
            raise HTTPException(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"The body is lines; say in Content-Type how they are written: {types}.",
                {"Accept": ", ".join(FORMS)},
            )
        bulk = _Bulk(FORMS[media_type])
        try:
            async for body in request.stream():
                for start in range(0, len(body), PIECE):
                    piece = body[start : start + PIECE]
                    await self._thread.call(partial(bulk.feed, piece))
            await self._thread.call(bulk.finish)
        except StoreError as error:
            said = (
                f"{error} So many lines are kept: {bulk.accepted}. To send all again does no harm."
            )
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                said,
                {"Retry-After": RETRY_AFTER},
                accepted=bulk.accepted,
                added=bulk.added,
            )
        except ClientDisconnect:
            return problem(HTTPStatus.BAD_REQUEST, "The body has no end.")  # nobody reads it
        return Response(msgspec.json.encode(bulk.answer()), media_type=JSON)

    def _check(self, request: Request) -> None:
        """Without a key the port is reached from this machine only (settings sees to that): by
        its programs, which call it by its name, and by pages in its browsers, which say
        the name that they came under."""
        if not self._open and not _is_local(request.headers.get("host", "localhost")):
            raise HTTPException(HTTPStatus.FORBIDDEN, FOREIGN)
        if self._off:
            raise HTTPException(HTTPStatus.CONFLICT, OFF)

    async def _list(
        self,
        request: Request,
        name: str,
        pages: "Callable[[Store], Callable[[bytes, bytes | None, int], Page]]",
        counter: "Callable[[Store], Callable[[bytes], int]]",
    ) -> Response:
        """A page, and on the first one how many there are in all: to count takes long for who
        has a million."""
        self._check(request)
        id = user_id(request.path_params["id"])
        after = request.query_params.get("after")
        start = None if after is None else user_id(after)
        limit = _limit(request.query_params.get("limit", str(PAGE_LIMIT)))

        def read(store: Store) -> tuple[Page, int | None]:
            page = pages(store)(id, start, limit)
            return page, counter(store)(id) if start is None else None

        page, count = await self._thread.call(read)
        answer: dict[str, object] = {} if count is None else {"count": count}
        answer[name] = [id.decode() for id in page.ids]
        if page.more:
            answer["next"] = page.ids[-1].decode()
        return Response(
            msgspec.json.encode(answer), headers={"Cache-Control": "no-store"}, media_type=JSON
        )


class _Bulk:
    """What has become of a bulk body; on the store's thread."""

    def __init__(self, form: Form) -> None:
        self.accepted = self.added = 0  # in the store for good, and of them new
        self._reader = Reader(form)
        self._pending: list[Pair] = []

    def feed(self, piece: bytes, store: Store) -> None:
        """Take `piece`."""
        self._pending += self._reader.feed(piece)
        if len(self._pending) >= SLICE:
            self._store(store)

    def finish(self, store: Store) -> None:
        """Take the end."""
        self._pending += self._reader.finish()
        self._store(store)

    def _store(self, store: Store) -> None:
        if self._pending:
            self.added += store.add(self._pending)
            self.accepted += len(self._pending)
            self._pending = []

    def answer(self) -> dict[str, object]:
        """The counts, and the first bad lines."""
        errors = [{"line": it.number, "detail": it.reason} for it in self._reader.errors]
        return {
            "accepted": self.accepted,
            "added": self.added,
            "bad": self._reader.bad,
            "errors": errors,
        }


def _limit(text: str) -> int:
    if text.isdecimal() and text.isascii() and len(text) <= 4 and 1 <= int(text) <= PAGE_LIMIT:
        return int(text)
    raise HTTPException(HTTPStatus.BAD_REQUEST, f"?limit takes a number from 1 to {PAGE_LIMIT}.")
