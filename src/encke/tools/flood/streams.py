"""The meaning of what comes on the streams: heads, chunks, events, lines, incrementally.

No object exists for a stream: what must be known between two pieces of it is a row of
packed columns, numbered by its descriptor, 13 bytes::

    phase      B  1   FREE, CONNECTING, HEAD, then where in the body it is, and flags
    left       I  4   bytes of the chunk's data that are still to come
    number     I  4   N of its last ``Recvd msg #N``
    stream     I  4   which of the herd's streams it is

and, since a stream may get another descriptor when it's opened again, a row by stream,
20 bytes::

    sender     Q  8   who stamped its last message, + 1; 0: nobody
    sequence   Q  8   its number among this sender's
    tally      I  4   messages that came, see load.tallies

and, only if it's asked for, the sum of the keys of the publications that began to come::

    sums       Q  8   see load.stamp

What was cut in the middle of something indivisible (a line, a chunk's size, the first 96
bytes of a message) waits in a dict for its rest; that's a few streams at any time.

A message is: of ``text/event-stream`` an event with data; of any other chunked body a
chunk; of a body that ends with the connection a line that isn't empty. It counts once
all of it has come.

Invariant: however a stream is cut into pieces, the same is counted and found.

Pure: no socket, no clock.
"""

import re
from array import array
from collections.abc import Callable
from enum import IntEnum

from ...errors import EnckeError
from ..load.histogram import Histogram
from ..load.stamp import PREFIX, SUM, said

FREE, CONNECTING, HEAD, SIZE, DATA, END, TRAILER, RAW, OVER = range(9)
"""HEAD: of the response. SIZE, DATA, END: before a chunk, in it, before the CRLF behind it.
TRAILER: behind the last chunk. RAW: in a body that isn't chunked. OVER: ended properly."""

_PHASE = 15
LINES, EVENTS, SKIPPING, HAS_DATA = 16, 32, 64, 128
"""Flags. LINES: messages are lines or events, whatever the chunks are; EVENTS: events.
SKIPPING: within a line whose beginning was looked at. HAS_DATA: the event has data."""

_STEP = 1024
_HEAD_LIMIT = 16 * 1024
_SIZE_LIMIT = 256
_TRAILER_LIMIT = 8 * 1024

_size = re.compile(rb"0*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n").match
_status = re.compile(rb"http/1\.[01] (\d\d\d)[ \r]").match
_chunked = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n").search
_events = re.compile(rb"\r\ncontent-type:[ \t]*text/event-stream[ \t]*[;\r]").search
_bounded = re.compile(rb"\r\ncontent-length:").search


class Reason(IntEnum):
    """Why a stream could not be opened, or ended."""

    REFUSED = 0  # nobody listens
    TIMEOUT = 1  # no head came in time
    CLOSED = 2  # the server closed it before the head
    STATUS = 3  # the answer isn't 200
    PROTOCOL = 4  # what came isn't HTTP, or no stream
    SYSTEM = 5  # no port, file or memory left on this side


class BadStream(EnckeError):
    """The server sent on a stream what can't be; `reason` is the kind of it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Streams:
    """The streams of one herd.

    `latency` gets the time between stamp and arrival; `violated`, if given, is called with
    (stream, what's wrong) for each message that isn't the one that was due.
    """

    def __init__(
        self,
        streams: int,
        latency: Histogram,
        tally: "memoryview[int]",
        violated: Callable[[int, str], None] | None = None,
        sums: "memoryview[int] | None" = None,
    ) -> None:
        self.phase = bytearray()
        self.stream = array("I")
        self.messages = 0
        """Whole messages that came, on all of them."""
        self._left = array("I")
        self._number = array("I")
        self._sender = array("Q", bytes(8 * streams))
        self._sequence = array("Q", bytes(8 * streams))
        self._tally = tally
        self._latency = latency
        self._violated = violated
        self._sums = sums
        self._rests: dict[int, bytes] = {}  # of a size, a head, a message's beginning
        self._line_rests: dict[int, bytes] = {}  # the beginning of a line
        self._stamps: dict[int, int] = {}  # of messages of which a part has come
        self._now = 0
        self._steps = (
            self._misplaced, self._misplaced, self._head, self._chunk, self._data, self._end,
            self._trailer, self._raw, self._misplaced,
        )  # fmt: skip

    def take(self, fd: int, stream: int) -> None:
        """`stream` is being opened with descriptor `fd`."""
        if fd >= len(self.phase):
            self._grow(fd)
        self.phase[fd] = CONNECTING
        self.stream[fd] = stream
        self._left[fd] = self._number[fd] = 0
        self._sender[stream] = self._sequence[stream] = 0

    def free(self, fd: int) -> None:
        """The descriptor is closed."""
        self.phase[fd] = FREE
        self._rests.pop(fd, None)
        self._line_rests.pop(fd, None)
        self._stamps.pop(fd, None)

    @property
    def halves(self) -> int:
        """Streams of which something is kept because it was cut."""
        return len(self._rests.keys() | self._line_rests.keys() | self._stamps.keys())

    def feed(self, fd: int, data: bytes, now: int) -> None:
        """`data` came on `fd`, at `now` (nanoseconds since the epoch).

        Raises BadStream; then close it.
        """
        self._now = now
        if fd in self._rests:
            data = self._rests.pop(fd) + data
        at, end, phase, steps = 0, len(data), self.phase, self._steps
        while at < end:
            at = steps[phase[fd] & _PHASE](fd, data, at)

    # one step each: returns where the next one begins

    def _head(self, fd: int, data: bytes, at: int) -> int:
        end = data.find(b"\r\n\r\n", at, at + _HEAD_LIMIT)
        if end < 0:
            return self._wait(fd, data, at, _HEAD_LIMIT)
        head = data[at : end + 2].lower()
        status = _status(head)
        if status is None:
            raise BadStream(Reason.PROTOCOL, f"It doesn't speak HTTP/1.1: {head[:60]!r}.")
        code = int(status[1])
        if 100 <= code < 200:
            return end + 4
        if code != 200:
            raise BadStream(Reason.STATUS, f"It answers {data[at:].splitlines()[0].decode()}.")
        if b"\r\nretry-after:" in head:
            raise BadStream(Reason.STATUS, "It has no stream now: 200, with Retry-After.")
        flags = LINES | EVENTS if _events(head) else 0
        if _chunked(head):
            self.phase[fd] = SIZE | flags
        elif _bounded(head):
            raise BadStream(Reason.PROTOCOL, "It's no stream: it has a Content-Length.")
        else:
            self.phase[fd] = RAW | LINES | flags
        return end + 4

    def _chunk(self, fd: int, data: bytes, at: int) -> int:
        """The size of a chunk; and all of it, if it's here."""
        found = _size(data, at, at + _SIZE_LIMIT)
        if found is None:
            if data.find(b"\r\n", at) >= 0:
                raise BadStream(Reason.PROTOCOL, f"No chunk size: {data[at : at + 40]!r}.")
            return self._wait(fd, data, at, _SIZE_LIMIT)
        start, size = found.end(), int(found[1], 16)
        phase = self.phase[fd]
        if not size:
            self.phase[fd] = TRAILER
            return start
        if phase & LINES:
            self._left[fd] = size
            self.phase[fd] = DATA | phase & ~_PHASE
            return start
        known = start + (size if size < PREFIX else PREFIX)  # noqa: FURB136 (a call costs more)
        if len(data) < known:
            return self._wait(fd, data, at, _SIZE_LIMIT + PREFIX)
        stamp = self._begin(fd, data, start, known)
        end = start + size
        if data[end : end + 2] == b"\r\n":
            self.messages += 1
            self._tally[self.stream[fd]] += 1
            if stamp:
                self._latency.record(self._now - stamp)
            return end + 2
        if stamp:
            self._stamps[fd] = stamp
        self._left[fd] = size
        self.phase[fd] = DATA
        return start

    def _data(self, fd: int, data: bytes, at: int) -> int:
        left, phase = self._left[fd], self.phase[fd]
        end = min(len(data), at + left)
        if phase & LINES:
            self._split(fd, data[at:end])
        left -= end - at
        self._left[fd] = left
        if not left:
            self.phase[fd] = END | self.phase[fd] & ~_PHASE
        return end

    def _end(self, fd: int, data: bytes, at: int) -> int:
        behind = data[at : at + 2]
        if len(behind) < 2:
            return self._wait(fd, data, at, 2)
        if behind != b"\r\n":
            raise BadStream(Reason.PROTOCOL, f"No end of a chunk: {behind!r}.")
        phase = self.phase[fd]
        self.phase[fd] = SIZE | phase & ~_PHASE
        if not phase & LINES:
            self._complete(fd)
        return at + 2

    def _trailer(self, fd: int, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at, at + _TRAILER_LIMIT)
        if end < 0:
            return self._wait(fd, data, at, _TRAILER_LIMIT)
        if end == at:
            self.phase[fd] = OVER
        return end + 2

    def _raw(self, fd: int, data: bytes, at: int) -> int:
        self._split(fd, data[at:])
        return len(data)

    def _misplaced(self, fd: int, data: bytes, at: int) -> int:
        raise BadStream(Reason.PROTOCOL, f"More comes after the last chunk: {data[at:][:40]!r}.")

    def _wait(self, fd: int, data: bytes, at: int, limit: int) -> int:
        """Keep what there is until more comes."""
        if len(data) - at > limit:
            raise BadStream(Reason.PROTOCOL, f"A line is too long: {data[at : at + 40]!r}.")
        self._rests[fd] = data[at:]
        return len(data)

    # lines and events

    def _split(self, fd: int, piece: bytes) -> None:
        """Take the data of a body apart into lines."""
        if fd in self._line_rests:
            piece = self._line_rests.pop(fd) + piece
        at, end = 0, len(piece)
        while at < end:
            stop = piece.find(b"\n", at)
            if not self.phase[fd] & SKIPPING:
                if stop < 0 and end - at < PREFIX:
                    self._line_rests[fd] = piece[at:]
                    return
                self._line(fd, piece[at : stop if 0 <= stop < at + PREFIX else at + PREFIX])
            if stop < 0:
                self.phase[fd] |= SKIPPING
                return
            self.phase[fd] &= ~SKIPPING & 255
            if self.phase[fd] & (EVENTS | HAS_DATA) == HAS_DATA:
                self._end_of_lines(fd)
            at = stop + 1

    def _line(self, fd: int, beginning: bytes) -> None:
        """A line has begun: all of it, or its first PREFIX bytes."""
        phase, start = self.phase[fd], 0
        if beginning in (b"", b"\r"):
            if phase & HAS_DATA:
                self._end_of_lines(fd)
            return
        if phase & EVENTS:
            if not beginning.startswith(b"data:") and beginning not in (b"data", b"data\r"):
                return
            start = 6 if beginning.startswith(b"data: ") else 5
        if not phase & HAS_DATA:
            self.phase[fd] |= HAS_DATA
            stamp = self._begin(fd, beginning, start, len(beginning))
            if stamp:
                self._stamps[fd] = stamp

    def _end_of_lines(self, fd: int) -> None:
        self.phase[fd] &= ~HAS_DATA
        self._complete(fd)

    # messages

    def _begin(self, fd: int, data: bytes, start: int, stop: int) -> int:
        """A message begins with data[start:stop]; returns its stamp, 0 if it has none."""
        found = said(data, start, stop)
        assert found is not None
        number, stamp, sender, sequence, key = found.groups()
        if number is not None:
            self._check_number(fd, int(number))
        if stamp is None:
            return 0
        if key is not None:
            if self._sums is not None:
                stream = self.stream[fd]
                self._sums[stream] = (self._sums[stream] + int(key)) & SUM
        elif self._violated is not None:
            self._check_sequence(fd, int(sender), int(sequence))
        return int(stamp)

    def _complete(self, fd: int) -> None:
        """All of a message has come."""
        self.messages += 1
        self._tally[self.stream[fd]] += 1
        stamp = self._stamps.pop(fd, 0)
        if stamp:
            self._latency.record(self._now - stamp)

    def _check_number(self, fd: int, number: int) -> None:
        due = self._number[fd] + 1
        self._number[fd] = number
        if number != due and self._violated is not None:
            self._violated(self.stream[fd], f"message #{number} came where #{due} was due")

    def _check_sequence(self, fd: int, sender: int, sequence: int) -> None:
        """One sender's messages count up; when another begins, its first may be any."""
        stream = self.stream[fd]
        due = self._sequence[stream] + 1
        if sequence != due and self._sender[stream] == sender + 1 and self._violated is not None:
            self._violated(
                stream, f"message {sequence} of sender {sender} came where {due} was due"
            )
        self._sender[stream] = sender + 1
        self._sequence[stream] = sequence

    def _grow(self, fd: int) -> None:
        rows = (fd // _STEP + 1) * _STEP - len(self.phase)
        self.phase.extend(bytes(rows))
        for column in (self.stream, self._left, self._number):
            column.frombytes(bytes(column.itemsize * rows))
