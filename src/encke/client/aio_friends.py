"""Friends for asyncio programs."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable

from .friends import Desk, Kind, Loaded, Page, PairLines, Pairs, no_pairs
from .loops import Loops
from .posts import segment
from .reader import Answer
from .server import Server


class AsyncFriends:
    """What `Friends` is, with `await` and `async for`."""

    def __init__(self, server: Server, timeout: float) -> None:
        self._desk = Desk(server)
        self._loops = Loops(server, timeout)

    async def aclose(self) -> None:
        """See `Friends.close`."""
        await self._loops.aclose()

    def close(self) -> None:
        """See `Client.close`."""
        self._loops.close()

    async def add(self, subscriber: str, publisher: str) -> bool:
        """See `Friends.add`."""
        return self._desk.added(await self._ask(self._desk.change("PUT", subscriber, publisher)))

    async def remove(self, subscriber: str, publisher: str) -> bool:
        """See `Friends.remove`."""
        request = self._desk.change("DELETE", subscriber, publisher)
        return self._desk.removed(await self._ask(request))

    def list(self, id: str) -> AsyncIterator[str]:
        """See `Friends.list`."""
        return self._ids("subscriptions", id)

    def subscribers(self, id: str) -> AsyncIterator[str]:
        """See `Friends.subscribers`."""
        return self._ids("subscribers", id)

    async def count(self, kind: Kind, id: str) -> int:
        """See `Friends.count`."""
        return (await self._page(kind, id, "?limit=1")).count or 0

    async def load(self, subscriptions: Pairs | AsyncIterable[tuple[str, str]]) -> Loaded:
        """See `Friends.load`."""
        lines = PairLines()
        if not isinstance(subscriptions, (Iterable, AsyncIterable)):
            raise no_pairs(subscriptions)
        pool = await self._loops.here()
        answer = await pool.stream(self._desk.load(lines), subscriptions, lines)
        return self._desk.loaded(answer, lines)

    def _ids(self, kind: Kind, id: str) -> AsyncIterator[str]:
        segment(id)  # at once, not with the first of them
        return self._pages(kind, id)

    async def _pages(self, kind: Kind, id: str) -> AsyncIterator[str]:
        query = ""
        while True:
            page = await self._page(kind, id, query)
            for each in page.subscriptions or page.subscribers:
                yield each
            if page.next is None:
                return
            query = f"?after={page.next}"

    async def _page(self, kind: Kind, id: str, query: str) -> Page:
        return self._desk.ids(await self._ask(self._desk.page(kind, id, query)))

    async def _ask(self, request: bytes) -> Answer:
        return await (await self._loops.here()).ask(request)
