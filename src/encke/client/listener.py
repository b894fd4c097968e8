"""Listening: one user's stream, kept open as a browser's EventSource keeps it."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from typing import Self

import httpx
import msgspec

from ..errors import Interrupted, SendError, Unavailable, Unreachable
from ..wire.sse_reader import MessageEvent, SseReader
from .answers import decoded, failure, stranger, translated

FIRST_RETRY = 2.0
"""Seconds until a listener reconnects, unless the server names others (`retry:`)."""
SHORTEST_RETRY = 0.01
LONGEST_RETRY = 30.0

READ_AHEAD = 1000
"""Messages that may wait for the program; when more would, the stream is not read."""


class Message(str):
    """What came on a user's stream, and who published it, if somebody did."""

    __slots__ = ("publisher",)

    publisher: str | None
    """The friend whose subscribers got it; None if it was sent to this user."""

    def __new__(cls, text: str, publisher: str | None = None) -> Self:
        message = super().__new__(cls, text)
        message.publisher = publisher
        return message


class _Published(msgspec.Struct):
    """The data of an event of the type `friend`."""

    publisher: str = msgspec.field(name="from")
    data: str


OnOpen = Callable[[], object]
OnLost = Callable[[SendError, float], object]


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

    The first opening isn't repeated: it raises Unreachable, Unavailable, Refused. Later
    ones raise Refused only. FrameError: the server sent a message of more than 16 MiB.
    """

    def __init__(
        self,
        opener: "Opener",
        open_ones: "set[Listener]",
        reconnect: bool,
        on_open: OnOpen | None,
        on_lost: OnLost | None,
    ) -> None:
        self._opener = opener
        self._open_ones = open_ones  # the client closes those
        self._reconnect = reconnect
        self._on_open = on_open
        self._on_lost = on_lost
        self._reader = SseReader()
        self._response: httpx.Response | None = None
        self._messages: deque[Message] = deque()
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
        if self._response is None:
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
                self._open_ones.add(self)
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
        if not self._messages:
            self._room.set()
        return message

    async def aclose(self) -> None:
        """Close the stream; the iterator ends. May be called again."""
        self._closed = True
        self._messages.clear()
        self._news.set()
        self._open_ones.discard(self)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._drop()

    async def _read(self) -> None:
        """Take in messages until the server or an error ends it."""
        if self._response is None:
            await self._open()
        while self._response is not None:
            try:
                await self._read_stream(self._response)
                lost = Interrupted("The server ended the stream.")
            except Interrupted as error:
                if not self._reconnect:
                    raise
                lost = error
            await self._drop()
            if self._reconnect:
                await self._reopen(lost)

    async def _read_stream(self, response: httpx.Response) -> None:
        with translated(self._opener.server):
            async for piece in response.aiter_raw():
                for event in self._reader.feed(piece):
                    if (message := self._message(event)) is not None:
                        self._messages.append(message)
                if self._messages:
                    self._news.set()
                if len(self._messages) >= READ_AHEAD:
                    self._room.clear()
                    await self._room.wait()

    def _message(self, event: MessageEvent) -> Message | None:
        """The message that `event` is; None if it's something else, of a later version."""
        if event.type == "message":
            return Message(event.data)
        if event.type != "friend":
            return None
        published = decoded(event.data.encode(), _Published, self._opener.server)
        return Message(published.data, published.publisher)

    async def _reopen(self, lost: SendError) -> None:
        failures = 0
        while True:
            delay = backoff(self._reader.retry, failures, random.random())
            if isinstance(lost, Unavailable):
                delay = max(delay, lost.retry_after)
            if self._on_lost is not None:
                self._on_lost(lost, delay)
            await asyncio.sleep(delay)
            failures += 1
            try:
                return await self._open()
            except (Unreachable, Unavailable) as error:
                lost = error

    async def _open(self) -> None:
        """Open the stream; `_response` stays None if the server wants no client any more."""
        self._open_ones.add(self)
        self._response = await self._opener.open(self._reader.last_event_id)
        if self._response is None:
            return
        self._reader = SseReader(self._reader.last_event_id, self._reader.retry)
        if self._on_open is not None:
            self._on_open()

    async def _drop(self) -> None:
        if self._response is not None:
            response, self._response = self._response, None
            await response.aclose()


class Opener(msgspec.Struct, frozen=True):
    """Opens one user's stream."""

    http: httpx.AsyncClient
    server: str
    path: str
    timeout: float

    async def open(self, last_event_id: str) -> httpx.Response | None:
        """The response whose body is the stream; None if the server wants no client (204)."""
        headers = [
            (b"Accept", b"text/event-stream"),
            (b"Accept-Encoding", b"identity"),
            (b"Cache-Control", b"no-store"),
        ]
        if last_event_id:
            headers.append((b"Last-Event-ID", last_event_id.encode()))
        request = self.http.build_request("GET", self.server + self.path, headers=headers)
        try:
            with translated(self.server):
                async with asyncio.timeout(self.timeout):
                    response = await self.http.send(request, stream=True)
                    return response if await self._is_stream(response) else None
        except TimeoutError:
            raise Unreachable(f"No answer from {self.server} within {self.timeout:g} s.") from None

    async def _is_stream(self, response: httpx.Response) -> bool:
        """Whether `response` is a stream (else it is closed); raises if it is an error."""
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        not_now = "Retry-After" in response.headers
        if response.status_code == 200 and kind == "text/event-stream" and not not_now:
            return True
        async with contextlib.aclosing(response):
            if response.status_code == 200 and not not_now:
                raise stranger(self.server)
            await response.aread()
            if response.status_code == 204:
                return False
            if response.status_code == 200:
                raise _not_now(response)
            raise failure(response, self.server)


def _not_now(response: httpx.Response) -> Unavailable:
    """The error that an event stream stands for which ends at once, and says when to come back."""
    detail = response.text.partition("\n")[0].removeprefix(":").strip()
    after = response.headers["Retry-After"]
    return Unavailable(200, detail or "No stream now.", float(after) if after.isdecimal() else 1.0)


def backoff(retry: float | None, failures: int, chance: float) -> float:
    """Seconds to wait before a lost stream is opened again.

    `retry` is what the server asked for, in seconds; `failures` how many attempts have
    failed since the stream was lost; `chance` is from 0 to 1 and spreads the clients
    over half of the time.
    """
    first = FIRST_RETRY if retry is None else max(retry, SHORTEST_RETRY)
    return min(first * 2.0 ** min(failures, 32), max(first, LONGEST_RETRY)) * (1 - chance / 2)
