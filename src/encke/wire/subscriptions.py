"""Bulk bodies of subscriptions, of any length: a line for each, in one of two forms.

    application/x-ndjson        {"subscriber": "123", "publisher": "456"}
    text/tab-separated-values   123<TAB>456, the subscriber first

`Reader` takes a body that comes in pieces, and gives the pairs. It keeps all good
lines, and remembers of the bad ones how many they are, and of the first ones what is
wrong. Empty lines are ignored, as in NDJSON bodies of messages. What it keeps of an
unfinished line is bounded: of a line that is too long only the number stays.

Whole blocks are checked and cut by a few calls for all their lines; only a block in
which something is wrong is read line by line.

Pure.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from ..errors import BadUserId
from ..ids import DOTS, MAX_USER_ID, is_user_id, user_id
from .ndjson import BadLine, LineCutter, rows_of

LINE_LIMIT = 4096
"""The longest line: room for two ids of 128 characters, and for members that are ignored."""

REPORTED = 20
"""Bad lines that are remembered with what is wrong."""

Pair = tuple[bytes, bytes]
"""(subscriber, publisher)"""

_ID_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~@:"
_BLANKS = b" \t\r"


class _Line(msgspec.Struct, gc=False):
    """One line of NDJSON; other members are ignored."""

    subscriber: str
    publisher: str


_decoder = msgspec.json.Decoder(_Line)


class Form(msgspec.Struct, frozen=True):
    """How lines are written: how to read whole blocks, and one line."""

    block: Callable[[bytes], list[Pair] | None]
    """All pairs of a block without empty lines; None if anything in it is unusual."""
    line: Callable[[bytes], Pair]
    """The pair of a line; raises BadUserId, ValueError, MsgspecError or RecursionError."""
    example: str


def _ndjson_block(block: bytes) -> list[Pair] | None:
    try:
        lines = _decoder.decode_lines(block)
        pairs = [(line.subscriber.encode(), line.publisher.encode()) for line in lines]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if len(pairs) != rows_of(block, LINE_LIMIT):
        return None
    return pairs if all(is_user_id(a) and is_user_id(b) for a, b in pairs) else None


def _ndjson_line(row: bytes) -> Pair:
    line = _decoder.decode(row)
    return _pair(line.subscriber, line.publisher)


def _tsv_block(block: bytes) -> list[Pair] | None:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if not block.endswith(b"\n"):
        block += b"\n"
    # Without the characters of ids a good block is a tab and a line end a line.
    if block.translate(None, _ID_CHARACTERS) != b"\t\n" * block.count(b"\n"):
        return None
    ids = block.replace(b"\n", b"\t").split(b"\t")
    del ids[-1]  # behind the last line end
    if not all(ids) or len(max(ids, key=len)) > MAX_USER_ID:
        return None
    if b"." in block and not set(DOTS).isdisjoint(ids):
        return None
    return list(zip(ids[::2], ids[1::2], strict=True))


def _tsv_line(row: bytes) -> Pair:
    ids = row.removesuffix(b"\r").split(b"\t")
    if len(ids) != 2:
        raise ValueError(f"{len(ids) - 1} tabs, not the one between two ids")
    return _pair(*ids)


def _pair(subscriber: bytes | str, publisher: bytes | str) -> Pair:
    try:
        subscriber = user_id(subscriber)
    except BadUserId as error:
        raise BadUserId(f"Subscriber: {error}") from None
    try:
        return subscriber, user_id(publisher)
    except BadUserId as error:
        raise BadUserId(f"Publisher: {error}") from None


NDJSON = Form(_ndjson_block, _ndjson_line, '{"subscriber": "123", "publisher": "456"}')
TSV = Form(_tsv_block, _tsv_line, "123<TAB>456")

FORMS = {"application/x-ndjson": NDJSON, "text/tab-separated-values": TSV}
"""By media type."""


class Reader:
    """Pieces of one body in, pairs out."""

    __slots__ = ("_cutter", "_form", "_skipping", "bad", "errors", "lines")

    def __init__(self, form: Form) -> None:
        self.lines = 0
        """Lines that were read, good, bad and empty ones."""
        self.bad = 0
        """How many of them were bad."""
        self.errors: list[BadLine] = []
        """What is wrong with the first REPORTED of those."""
        self._form = form
        self._cutter = LineCutter(LINE_LIMIT)
        self._skipping = False  # the rest of a line that is too long

    def feed(self, piece: bytes) -> list[Pair]:
        """The pairs of the lines that `piece` completes."""
        if self._skipping:
            _, end, piece = piece.partition(b"\n")
            self._skipping = not end
        block = self._cutter.feed(piece)
        pairs = self._read(block) if block else []
        if self._cutter.too_long:
            self._cutter.finish()
            self._skipping = True
            self._complain(_TOO_LONG)
        return pairs

    def finish(self) -> list[Pair]:
        """The pair of the last line, if it had no line end."""
        block = self._cutter.finish()
        return self._read(block) if block else []

    def _read(self, block: bytes) -> list[Pair]:
        pairs = self._form.block(block)
        if pairs is not None:
            self.lines += len(pairs)
            return pairs
        rows = block.split(b"\n")
        if not rows[-1]:
            del rows[-1]
        return list(self._each(rows))

    def _each(self, rows: Iterable[bytes]) -> Iterator[Pair]:
        for row in rows:
            if len(row) > LINE_LIMIT:
                self._complain(_TOO_LONG)
            elif not row.strip(_BLANKS):
                self.lines += 1
            else:
                try:
                    pair = self._form.line(row)
                except BadUserId as error:
                    self._complain(str(error))
                except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                    self._complain(f"{error}; a line is {self._form.example}.")
                else:
                    self.lines += 1
                    yield pair

    def _complain(self, reason: str) -> None:
        self.lines += 1
        self.bad += 1
        if len(self.errors) < REPORTED:
            self.errors.append(BadLine(self.lines, reason))


_TOO_LONG = f"The line is longer than {LINE_LIMIT} bytes."
