"""A connection of an event loop, and what fills the body of a long request."""

import asyncio
import contextlib
import select
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable

from ..errors import SendError
from .answers import broken, is_stream, no_answer, silent, too_slow
from .pool import IDLE
from .posts import LAST_CHUNK, WRITE_SIZE, Lines
from .reader import Answer, Reader
from .server import KEEPALIVE, Server

READ_AHEAD = 64 * 1024
"""Bytes of a stream that nobody took yet, above which it isn't read for a while."""


class LoopWire(asyncio.Protocol):
    """One connection; of one task at a time."""

    def __init__(self, server: Server, timeout: float) -> None:
        self._url = server.url
        self._timeout = timeout
        self._transport: asyncio.Transport | None = None
        self._lost: SendError | None = None
        self._writable = True
        self.news = asyncio.Event()
        """Set when something has changed that its task may wait for."""
        self.reader = Reader(server.url)
        self.since = 0.0
        """When it was given back."""

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._feed(data)
        if len(self.reader.answer.body) > READ_AHEAD and not self.reader.answer.whole:
            self.transport.pause_reading()

    def eof_received(self) -> None:
        self._feed(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self.reader.keep = False
        if self._lost is None and not self.reader.answer.whole:
            error = exc if isinstance(exc, OSError) else OSError("it was closed")
            self._lost = broken(self._url, error)
        self.news.set()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self.news.set()

    # what its task calls

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def usable(self) -> bool:
        """Whether the server still has it, and has said nothing that wasn't asked for."""
        if time.monotonic() - self.since > IDLE or not self.reader.keep:
            return False
        if self.transport.is_closing():
            return False
        came = select.poll()  # what the loop hasn't seen yet
        came.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not came.poll(0)

    def close(self) -> None:
        """Close it now; may be called again."""
        self.transport.abort()

    async def ask(self, request: bytes) -> Answer:
        """Write `request`, and read its answer to the end. Raises Interrupted."""
        self._begin(request)
        return await self._answer()

    async def stream(self, head: bytes, lines: Lines, filling: "Filling") -> Answer:
        """Write a request whose body is `lines` as they are filled, and read its answer: as soon
        as that begins, no more of the body is wanted. Raises Interrupted."""
        self._begin(head)
        while self._lost is None and not self.reader.begun:
            if self._writable and lines.block:
                self.transport.write(lines.take())
                filling.room.set()
            elif self._writable and filling.done():
                self.transport.write(LAST_CHUNK)
                return await self._answer()
            else:
                await self._changed(bounded=not self._writable)
        answer = await self._answer()
        self.reader.keep = False  # the rest of the body would be taken for a request
        return answer

    async def open(self, request: bytes) -> Answer:
        """Write `request`, and read its answer: to the end, or of a stream the head.

        Raises Interrupted, or Unreachable if none comes in time.
        """
        for option in KEEPALIVE:
            self.transport.get_extra_info("socket").setsockopt(*option)
        self._begin(request)
        try:
            async with asyncio.timeout(self._timeout):
                await self._until(lambda: self.reader.headed)
        except TimeoutError:
            raise no_answer(self._url, self._timeout) from None
        if not is_stream(self.reader.answer):
            await self._answer()
        return self.reader.answer

    async def piece(self, patience: float | None) -> bytes:
        """The next bytes of a stream, b"" at its end. Raises Interrupted, also if none come for
        `patience` seconds."""
        answer = self.reader.answer
        if not answer.body and not answer.whole:
            try:
                async with asyncio.timeout(patience):
                    await self._until(lambda: bool(answer.body) or answer.whole)
            except TimeoutError:
                raise silent(self._url) from None
        piece = bytes(answer.body)
        answer.body.clear()
        self.transport.resume_reading()
        return piece

    def _begin(self, request: bytes) -> None:
        self.reader.expect()
        self.transport.write(request)

    async def _answer(self) -> Answer:
        """The rest of an answer."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._until(lambda: self.reader.answer.whole)
        except TimeoutError:
            raise too_slow(self._url) from None
        return self.reader.answer

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._lost is not None:
                raise self._lost
            await self._changed(bounded=False)

    async def _changed(self, *, bounded: bool) -> None:
        """Until there's news; `bounded`: in time."""
        self.news.clear()
        try:
            async with asyncio.timeout(self._timeout if bounded else None):
                await self.news.wait()
        except TimeoutError:
            raise too_slow(self._url) from None

    def _feed(self, piece: bytes) -> None:
        try:
            if self._lost is None:
                self.reader.feed(piece)
        except SendError as error:
            self._lost = error
        self.news.set()


class Filling:
    """Fills lines from a source of its caller's, a block ahead of the network: what came while the
    last block was being written.

    A block therefore is as large as the network is slow, up to WRITE_SIZE, and no message
    waits for others.
    """

    def __init__(self, items: "Items", lines: Lines, news: asyncio.Event) -> None:
        self._items = items
        self._lines = lines
        self._news = news
        self.room = asyncio.Event()
        """Set when the lines were taken."""
        self._task = asyncio.create_task(self._fill())
        self._task.add_done_callback(lambda _: news.set())

    def done(self) -> bool:
        """Whether all lines are there; raises what the source raised."""
        if not self._task.done():
            return False
        self._task.result()
        return True

    async def stop(self) -> None:
        """Take no more."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.exception()  # it was raised by `done`, or came too late

    async def _fill(self) -> None:
        async with contextlib.aclosing(_each(self._items)) as items:
            async for item in items:
                more = self._lines.add(item)
                self._news.set()
                if not more:
                    return
                if len(self._lines.block) >= WRITE_SIZE:
                    self.room.clear()
                    await self.room.wait()


Items = Iterable[object] | AsyncIterable[object]


async def _each(items: Items) -> AsyncGenerator[object]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
