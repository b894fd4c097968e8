"""What a listener makes of a stream, whoever reads it: messages, and when to come back. Pure."""

import random
from collections.abc import Callable
from typing import Self

import msgspec

from ..errors import FrameError, Interrupted, SendError, Unavailable, Unreachable
from ..wire.sse_reader import MessageEvent, SseReader
from .answers import EVENTS, failure, is_events, retry_after, stranger
from .posts import segment
from .reader import Answer
from .server import Field, Server

FIRST_RETRY = 2.0
"""Seconds until a listener reconnects, unless the server names others (`retry:`)."""
SHORTEST_RETRY = 0.01
LONGEST_RETRY = 30.0

LONGEST_AFTER = 300.0
"""Seconds that a server can keep a listener away by Retry-After, before chance makes them more."""

HEARTBEATS = 2.5
"""After so many heartbeats that didn't come, the server hangs, or the network is dead: one may be
late, not two."""

LOST = (Unreachable, Interrupted, Unavailable)
"""Errors that say nothing against coming back."""

OnOpen = Callable[[], object]
OnLost = Callable[[SendError, float], object]


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


class Feed:
    """One user's messages, stream after stream; raises BadUserId."""

    def __init__(self, server: Server, id: str) -> None:
        self._server = server
        self._path = f"/events/{segment(id)}"
        self._reader = SseReader()
        self._failures = 0
        self.patience: float | None = None
        """Seconds for which a stream that is alive can be silent; None: for ever."""

    def request(self) -> bytes:
        """What opens the next stream."""
        fields = [
            Field("Accept", EVENTS),
            Field("Accept-Encoding", "identity"),
            Field("Cache-Control", "no-store"),
        ]
        last = self._reader.last_event_id
        if last and last.isascii() and last.isprintable():
            fields.append(Field("Last-Event-ID", last))
        return self._server.head("GET", self._path, *fields, key=False)

    def opened(self, answer: Answer) -> None:
        """`answer` is a stream."""
        self._reader = SseReader(self._reader.last_event_id, self._reader.retry)
        self._failures = 0
        self.patience = _patience(answer.headers.get("encke-heartbeat", ""))

    def refused(self, answer: Answer) -> None:
        """`answer` is none: raises what it stands for, unless it's that no client is wanted."""
        if answer.status == 204:
            return
        if answer.status != 200:
            raise failure(answer, self._server.url)
        if not is_events(answer):
            raise stranger(self._server.url)
        self._reader.feed(bytes(answer.body))  # it may say when to come back
        lines = answer.body.decode("utf-8", "replace").splitlines()
        comments = [line[1:].strip() for line in lines if line.startswith(":")]
        raise Unavailable(200, " ".join(comments) or "No stream now.", retry_after(answer))

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that `piece` completes; raises FrameError."""
        events = self._reader.feed(piece)
        return [message for event in events if (message := self._message(event)) is not None]

    def pause(self, lost: SendError) -> float:
        """Seconds until the next attempt, after `lost`; it counts the attempts."""
        delay = backoff(self._reader.retry, self._failures, random.random())
        if isinstance(lost, Unavailable):
            after = min(lost.retry_after, LONGEST_AFTER)
            delay = max(delay, after * (1 + random.random() / 2))  # not all of them at once
        self._failures += 1
        return delay

    def _message(self, event: MessageEvent) -> Message | None:
        """The message that `event` is; None if it's something else, of a later version."""
        if event.type == "message":
            return Message(event.data)
        if event.type != "friend":
            return None
        try:
            published = msgspec.json.decode(event.data, type=_Published)
        except msgspec.MsgspecError:
            raise FrameError(
                f"The stream has an event `friend` that is none; {self._server.url} is no Encke."
            ) from None
        return Message(published.data, published.publisher)


def _patience(heartbeat: str) -> float | None:
    try:
        seconds = float(heartbeat)
    except ValueError:
        return None
    return seconds * HEARTBEATS if 0 < seconds < float("inf") else None


def backoff(retry: float | None, failures: int, chance: float) -> float:
    """Seconds to wait before a lost stream is opened again.

    `retry` is what the server asked for, in seconds; `failures` how many attempts have
    failed since the stream was lost; `chance` is from 0 to 1 and spreads the clients
    over half of the time.
    """
    first = FIRST_RETRY if retry is None else max(retry, SHORTEST_RETRY)
    return min(first * 2.0 ** min(failures, 32), max(first, LONGEST_RETRY)) * (1 - chance / 2)
