"""The friends of a running server, through its control port."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import httpx
import msgspec

from ...client.aio import base_url, segment
from ...client.answers import decoded, failure, translated

TIMEOUT = 60.0
"""Seconds that the server may take to answer."""


class _Page(msgspec.Struct):
    count: int | None = None
    next: str | None = None
    subscriptions: list[str] = []
    subscribers: list[str] = []


class Remote:
    """A server's control port; `url` is http://HOST:PORT, or HOST:PORT.

    All methods raise as the client's do: Unreachable, Unavailable, Refused, BadUserId.
    """

    def __init__(self, url: str, api_key: str = "") -> None:
        self._url = base_url(url if "://" in url else f"http://{url}")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(timeout=TIMEOUT, headers=headers, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def add(self, subscriber: str, publisher: str) -> bool:
        """Subscribe one to the other; whether that is new."""
        return self._ask("PUT", _path(subscriber, publisher), (201, 204)).status_code == 201

    def remove(self, subscriber: str, publisher: str) -> None:
        """End a subscription; Refused (404) if there was none."""
        self._ask("DELETE", _path(subscriber, publisher), (204,))

    def count(self, kind: str, id: str) -> int:
        """How many `kind` (subscriptions or subscribers) the user has."""
        return self._page(kind, id, {"limit": "1"}).count or 0

    def ids(self, kind: str, id: str) -> Iterator[str]:
        """The ids of all `kind` (subscriptions or subscribers) of the user."""
        query: dict[str, str] = {}
        while True:
            page = self._page(kind, id, query)
            yield from page.subscriptions or page.subscribers
            if page.next is None:
                return
            query["after"] = page.next

    def _page(self, kind: str, id: str, query: dict[str, str]) -> _Page:
        answer = self._ask("GET", f"/users/{segment(id)}/{kind}", (200,), query)
        return decoded(answer.content, _Page, self._url)

    def _ask(
        self, method: str, path: str, expected: tuple[int, ...], query: dict[str, str] | None = None
    ) -> httpx.Response:
        with translated(self._url):
            answer = self._http.request(method, self._url + path, params=query)
        if answer.status_code not in expected:
            raise failure(answer, self._url)
        return answer


def _path(subscriber: str, publisher: str) -> str:
    return f"/users/{segment(subscriber)}/subscriptions/{segment(publisher)}"
