"""Reads a stream of Server-Sent Events: bytes in, events out.

The rules are those of the WHATWG HTML standard, section 9.2.5 "Parsing an event
stream" and 9.2.6 "Interpreting an event stream".

Invariants: however the stream is cut into pieces, the events are the same. What
is kept of an unfinished event is bounded by `limit`. An event that the stream's
end cuts off is never handed out.
"""

import re

import msgspec

from ..errors import FrameError

DEFAULT_LIMIT = 16 * 1024 * 1024
"""Bytes of one event's data, and of one line. Encke's own messages have at most 1 MiB, unless
the server was told otherwise (--body-limit)."""

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_RETRY = re.compile(rb"[0-9]{1,9}").fullmatch  # nine digits are eleven days


class MessageEvent(msgspec.Struct, frozen=True):
    """One event: `data` with its lines joined by LF, and its `type`."""

    data: str
    type: str = "message"


class SseReader:
    """The state between two pieces of one stream.

    After a lost connection, begin the next one with a new reader that gets the old
    one's `last_event_id` and `retry`.
    """

    def __init__(
        self, last_event_id: str = "", retry: float | None = None, limit: int = DEFAULT_LIMIT
    ) -> None:
        self.last_event_id = last_event_id
        """What to show the server as `Last-Event-ID` when reconnecting; "" if it sent none."""
        self.retry = retry
        """Seconds to wait before reconnecting; None if the server named none."""
        self._limit = limit
        self._rest = bytearray()  # of a line without its end
        self._skip_line_feed = False  # the last piece ended with CR, its LF may follow
        self._at_start = True
        self._data = bytearray()  # each line with an LF behind it
        self._type = b""
        self._id = last_event_id

    def feed(self, piece: bytes) -> list[MessageEvent]:
        """The events that `piece` completes.

        Raises FrameError if an event is larger than the limit; the reader is then
        of no more use, and the connection should be dropped.
        """
        if not piece:
            return []
        if self._skip_line_feed and piece.startswith(b"\n"):
            piece = piece[1:]
        self._skip_line_feed = piece.endswith(b"\r")
        head, *lines = _LINE_END.split(piece)
        self._rest += head
        events: list[MessageEvent] = []
        for line in lines:
            self._take(bytes(self._rest), events)
            self._rest = bytearray(line)
        self._check(self._rest)
        return events

    def _take(self, line: bytes, events: list[MessageEvent]) -> None:
        self._check(line)
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            self._dispatch(events)
            return
        # A comment is a field whose name is empty: like all unknown fields it falls through.
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data += value + b"\n"
            self._check(self._data)
        elif field == b"event":
            self._type = value
        elif field == b"id" and b"\0" not in value:
            self._id = _text(value)
        elif field == b"retry" and _RETRY(value):
            self.retry = int(value) / 1000

    def _dispatch(self, events: list[MessageEvent]) -> None:
        self.last_event_id = self._id
        if self._data:
            events.append(MessageEvent(_text(self._data[:-1]), _text(self._type) or "message"))
        self._data = bytearray()
        self._type = b""

    def _check(self, kept: bytes | bytearray) -> None:
        if len(kept) > self._limit:
            raise FrameError(f"The stream has an event of more than {self._limit} bytes.")


def _text(raw: bytes | bytearray) -> str:
    """`raw` as the standard decodes it: what is not UTF-8 becomes U+FFFD."""
    return raw.decode("utf-8", "replace")
