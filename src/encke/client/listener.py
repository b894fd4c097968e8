"""Listening: one user's stream, kept open as a browser's EventSource keeps it."""

import asyncio
import sys
from collections import deque
from typing import Self

from ..errors import Interrupted, SendError
from .answers import is_stream
from .feed import LOST, Feed, Message, OnLost, OnOpen
from .loop_wire import LoopWire
from .loops import LoopPool, Loops

READ_AHEAD = 1024 * 1024
"""Bytes of messages that may wait for the program; when more would, the stream is not read."""


class Listener:
    """The messages to one user, as an asynchronous iterator.

    Each is a `str` whose `publisher` tells whether it came from a friend. Two ways to use it::

        async for message in client.listen("123"):
            ...

        async with client.listen("123") as stream:  # here the user is reachable
            async for message in stream:
                ...

    The second way closes the stream when the block is left, however that happens; after
    the first one's `break`, it stays open until `aclose`, or until the client is closed.
    A wait for the next message may be cancelled, as by `asyncio.timeout`: none is lost.

    A stream that is lost is opened anew, as a browser's EventSource does it: after the
    time that the server asks for, doubled with each failure up to 30 s, and varied so
    that a server which comes back isn't met by everyone at once. Messages sent in
    between don't come later. `on_lost` is called with the reason and the seconds until
    the next attempt, `on_open` each time that the user is reachable (again). With
    ``reconnect=False`` the iterator ends when the server ends the stream, and raises
    Interrupted if the stream broke off.

    A stream is lost, too, if nothing comes for two and a half of the server's heartbeats. What
    isn't Encke's, such as a proxy's page, is an outage. Retry-After is kept to, up to 5 minutes
    and some.

    The first opening isn't repeated: it raises Unreachable, Interrupted, Unavailable, Refused,
    Closed. Later ones raise Refused and Closed only. FrameError: the server sent a message of more
    than 16 MiB, or an event that is none of Encke's.
    """

    def __init__(
        self,
        loops: Loops,
        feed: Feed,
        reconnect: bool,
        on_open: OnOpen | None,
        on_lost: OnLost | None,
    ) -> None:
        self._loops = loops
        self._feed = feed
        self._pool: LoopPool | None = None
        self._reconnect = reconnect
        self._on_open = on_open
        self._on_lost = on_lost
        self._wire: LoopWire | None = None
        self._messages: deque[Message] = deque()
        self._kept = 0  # bytes of them
        self._news, self._room = asyncio.Event(), asyncio.Event()
        # Reads ahead, so that a cancelled wait for a message cancels no reading.
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.aclose()
            raise
        if self._wire is None:
            await self.aclose()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._messages:
            if self._closed:
                raise StopAsyncIteration
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
                self._reading.add_done_callback(lambda _: self._news.set())
            if self._reading.done():
                reading = self._reading
                await self.aclose()
                reading.result()  # raises what ended it, if it was an error
                continue
            self._news.clear()
            await self._news.wait()
        message = self._messages.popleft()
        self._kept -= sys.getsizeof(message)
        if self._kept < READ_AHEAD:
            self._room.set()
        return message

    async def aclose(self) -> None:
        """Close the stream; the iterator ends. May be called again."""
        self.stop()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    def stop(self) -> None:
        """As `aclose`, where nothing can be awaited; on the listener's own loop."""
        self._closed = True
        self._messages.clear()
        self._kept = 0
        self._news.set()
        if self._pool is not None:
            self._pool.listeners.discard(self)
        if self._reading is not None:
            self._reading.cancel()
        self._drop()

    async def _read(self) -> None:
        """Take in messages until the server or an error ends it."""
        if self._wire is None:
            await self._open()
        while self._wire is not None:
            try:
                await self._read_stream(self._wire)
                lost = Interrupted("The server ended the stream.")
            except Interrupted as error:
                if not self._reconnect:
                    raise
                lost = error
            self._drop()
            if self._reconnect:
                await self._reopen(lost)

    async def _read_stream(self, wire: LoopWire) -> None:
        while piece := await wire.piece(self._feed.patience):
            for message in self._feed.feed(piece):
                self._messages.append(message)
                self._kept += sys.getsizeof(message)
            if self._messages:
                self._news.set()
            if self._kept >= READ_AHEAD:
                self._room.clear()
                await self._room.wait()

    async def _reopen(self, lost: SendError) -> None:
        while True:
            delay = self._feed.pause(lost)
            if self._on_lost is not None:
                self._on_lost(lost, delay)
            await asyncio.sleep(delay)
            try:
                return await self._open()
            except LOST as error:
                lost = error

    async def _open(self) -> None:
        """Open the stream; `_wire` stays None if the server wants no client any more."""
        pool = self._pool = await self._loops.here()
        pool.listeners.add(self)
        wire = await pool.connect()
        try:
            answer = await wire.open(self._feed.request())
            if not is_stream(answer):
                self._feed.refused(answer)
        except BaseException:
            wire.close()
            raise
        if not is_stream(answer):
            wire.close()
            return
        self._wire = wire
        self._feed.opened(answer)
        if self._on_open is not None:
            self._on_open()

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
