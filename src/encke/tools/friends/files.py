"""Pairs out of a file, or out of a pipe, of any length.

The two forms are told apart by their first character: no user id begins with a brace.
"""

import enum
from collections.abc import Callable, Iterator
from itertools import chain
from typing import BinaryIO

from ...errors import EnckeError
from ...wire.subscriptions import NDJSON, TSV, Pair, Reader

READ_SIZE = 256 * 1024
"""Bytes that are read at once: pairs of a few thousand lines are in memory."""


class Direction(enum.StrEnum):
    """Which of a line's two ids is which, in files with tabs."""

    SUBSCRIBER_PUBLISHER = "subscriber-publisher"
    PUBLISHER_SUBSCRIBER = "publisher-subscriber"


class BadLines(EnckeError):
    """A line of the file is no subscription: correct it, or let such lines be skipped."""


class Source:
    """The subscriptions in `file`, block by block; iterate over it once.

    `reversed_` swaps the ids of lines with tabs. `mutual` adds the other direction to each.
    The first bad line raises BadLines, unless they are skipped. `on_block` is called
    after each block.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        *,
        direction: Direction = Direction.SUBSCRIBER_PUBLISHER,
        mutual: bool = False,
        skip_bad: bool = False,
        on_block: Callable[[], object] = lambda: None,
    ) -> None:
        self.bytes = 0
        self.ended = False
        self.reader = Reader(TSV)
        self._file = file
        self._name = name
        self._reversed = direction is Direction.PUBLISHER_SUBSCRIBER
        self._mutual = mutual
        self._skip_bad = skip_bad
        self._on_block = on_block

    def __iter__(self) -> Iterator[Pair]:
        return chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[list[Pair]]:
        block = self._file.read(READ_SIZE)
        if block.lstrip()[:1] == b"{":
            self.reader = Reader(NDJSON)
            self._reversed = False
        while block:
            self.bytes += len(block)
            yield self._directed(self.reader.feed(block))
            block = self._file.read(READ_SIZE)
        self.ended = True
        yield self._directed(self.reader.finish())

    def _directed(self, pairs: list[Pair]) -> list[Pair]:
        if self.reader.bad and not self._skip_bad:
            error = self.reader.errors[0]
            raise BadLines(
                f"{self._name}, line {error.number}: {error.reason} Correct it, or leave such "
                "lines out with --skip-bad; and load it again."
            )
        if self._reversed:
            pairs = [(subscriber, publisher) for publisher, subscriber in pairs]
        if self._mutual:
            pairs += [(publisher, subscriber) for subscriber, publisher in pairs]
        self._on_block()
        return pairs
