"""NDJSON bodies: a line ``{"id": "...", "data": "..."}`` for each message, of any length.

`LineCutter` cuts a body that comes in pieces into blocks of whole lines, `decode`
turns a block into messages. Empty lines are ignored, as in most NDJSON readers; they cost next to
nothing, for there may be as many as bytes.

Pure.
"""

import re

import msgspec

from ..errors import BadUserId
from ..ids import is_user_id, user_id
from .protocols import GROWTH, encoded_size

LINE_LIMIT = 1024 * 1024
"""Default for the longest line: a message as large as the largest single one."""


class Line(msgspec.Struct, gc=False):
    """One line; other members are ignored."""

    id: str
    data: str


class BadLine(msgspec.Struct, frozen=True):
    """What is wrong with line `number` (from 1, empty lines counted)."""

    number: int
    reason: str


_decoder = msgspec.json.Decoder(Line)
_BLANK = b" \t\r\n"
_sub_empty_lines = re.compile(rb"\n[ \t\r\n]*\n").sub


class LineCutter:
    """Pieces of a body in, blocks of whole lines out."""

    __slots__ = ("_limit", "_partial")

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._partial = bytearray()

    def feed(self, piece: bytes) -> bytes:
        """The whole lines that `piece` completes, as one block ("" if none)."""
        end = piece.rfind(b"\n") + 1
        if not self._partial and end == len(piece):
            return piece
        if not end:
            self._partial += piece
            return b""
        block = bytes(self._partial) + piece[:end]
        self._partial = bytearray(piece[end:])
        return block

    def finish(self) -> bytes:
        """The last line, if it had no line end."""
        block = bytes(self._partial)
        self._partial = bytearray()
        return block

    @property
    def kept(self) -> int:
        """Bytes of the line that is still being read."""
        return len(self._partial)

    @property
    def too_long(self) -> bool:
        """Whether that line is longer than the limit."""
        return len(self._partial) > self._limit


class Decoded(msgspec.Struct, frozen=True):
    """The messages of a block up to its end, or up to `bad`, the first bad line."""

    ids: list[bytes]
    messages: list[bytes]
    lines: int
    bad: BadLine | None = None


def decode(block: bytes, first: int = 1, limit: int = LINE_LIMIT) -> Decoded:
    """Decode a block of lines; `first` is the number of its first line.

    An id that isn't one is a bad line, and so is a line of more than `limit` bytes, or one whose
    message takes more on a stream (`encoded_size`). What comes after the first bad line is left
    out.
    """
    if (decoded := _decode_all(block, limit)) is not None:
        return decoded
    full = _sub_empty_lines(b"\n", block.lstrip(_BLANK))
    if len(full) < len(block) and not _has_longer(block, limit):
        decoded = _decode_all(full, limit) if full else Decoded([], [], 0)
        if decoded is not None:
            return Decoded(decoded.ids, decoded.messages, _rows(block))
    return _decode_each(block, first, limit)


def _decode_all(block: bytes, limit: int) -> Decoded | None:
    """As `decode`, if each line is an object, neither more nor less."""
    try:
        lines = _decoder.decode_lines(block)
        ids = [line.id.encode() for line in lines]
        messages = [line.data.encode() for line in lines]
        large = len(block) * GROWTH > limit and max(map(len, messages), default=0) * GROWTH > limit
        if not large and len(ids) == rows_of(block, limit) and all(map(is_user_id, ids)):
            return Decoded(ids, messages, len(ids))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    return None


def rows_of(block: bytes, limit: int) -> int:
    """The number of lines of a block of JSON values if each line is one object, else -1.

    Within a JSON value no object follows another without a comma in between: where each
    line end stands between } and {, it stands between two values.
    """
    rows = _rows(block)
    if not block.startswith(b"{") or block.count(b"}\n{") != rows - 1:
        return -1
    if _has_longer(block, limit):
        return -1
    return rows


def _rows(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _has_longer(block: bytes, limit: int) -> bool:
    return len(block) > limit and max(map(len, block.split(b"\n"))) > limit


def _decode_each(block: bytes, first: int, limit: int) -> Decoded:
    """As `decode`, line by line, to find the bad one."""
    ids: list[bytes] = []
    messages: list[bytes] = []
    rows = block.split(b"\n")
    for number, row in enumerate(rows, first):
        try:
            if len(row) > limit:
                raise ValueError(f"longer than {limit} bytes")
            if not row.strip(b" \t\r"):
                continue
            line = _decoder.decode(row)
            id, message = user_id(line.id), line.data.encode()
            if len(message) * GROWTH > limit and (size := encoded_size(message)) > limit:
                raise ValueError(
                    f"its message takes up to {size} bytes on a stream, more than {limit}"
                )
        except BadUserId as error:
            return Decoded(ids, messages, number - first, BadLine(number, str(error)))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            reason = f'{error}; a line is {{"id": "123", "data": "Hello"}}.'
            return Decoded(ids, messages, number - first, BadLine(number, reason))
        ids.append(id)
        messages.append(message)
    return Decoded(ids, messages, len(rows) - (not rows[-1]))
