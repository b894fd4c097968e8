"""Who must have got what, by the graph alone; and what is wrong with what came.

The server finds a publisher's subscribers in its store, page by page; here they're computed
from the file of subscriptions that the store was loaded from, by one pass over all of it: a
stream must have as many messages as were published by those its user is subscribed to, and by
its user.

Whether they are the right ones is told by their keys (load.stamp): random numbers of 63 bits, one
a publication. The flood keeps for each stream how many came and the sum of their keys, the
generator for each publisher how many they published and the sum of theirs, and a stream's sum must
be that of its publishers. A message that is missing, came twice, or came to somebody else changes
the sum of the stream in question by numbers that nobody could aim at, so that what is wrong with a
stream stays unseen with a chance of 1 to 2^63, also if several faults make up for each other
in number. No list of what came to whom is needed, which at 16,000 messages a second would cost
more than the server does.

Pure but for reading files.
"""

from array import array
from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import msgspec

from encke.tools.load.stamp import SUM

NOBODY = -1
"""In place of a stream's number: the user isn't online."""


class Mismatch(msgspec.Struct, frozen=True):
    """Messages that didn't come, or that weren't due, and on how many streams."""

    missing: int = 0
    extra: int = 0
    """Came twice, or to somebody else."""
    exchanged: int = 0
    """Streams on which as many came as were due, but others."""
    streams: int = 0

    def __bool__(self) -> bool:
        return bool(self.streams)

    def __str__(self) -> str:
        if not self:
            return "none missing, extra, or doubled"
        return (
            f"{self.missing:,} missing, {self.extra:,} extra or doubled, others than due on "
            f"{self.exchanged:,} streams; wrong on {self.streams:,} streams"
        )


class Messages(msgspec.Struct):
    """How many, and the sum of their keys, for each of many: publishers, or streams."""

    counts: "array[int]"
    sums: "array[int]"

    @classmethod
    def none(cls, size: int) -> "Messages":
        return cls(array("I", bytes(4 * size)), array("Q", bytes(8 * size)))

    @classmethod
    def read(cls, counts: Path, sums: Path) -> "Messages":
        """As `--counts` and `--sums` wrote them."""
        read = cls(array("I"), array("Q"))
        read.counts.frombytes(counts.read_bytes())
        read.sums.frombytes(sums.read_bytes())
        return read

    def add(self, other: "Messages") -> None:
        """These too."""
        for at in compress(range(len(other.counts)), other.counts):
            self.counts[at] += other.counts[at]
            self.sums[at] = (self.sums[at] + other.sums[at]) & SUM


class Audience:
    """Users online, each with one stream, and the subscriptions among which theirs are.

    `online` has the user of each stream; users are numbers from 1 to `users`.
    """

    def __init__(self, subscriptions: Path, online: Sequence[int], users: int) -> None:
        """`subscriptions`: SUBSCRIBER, a tab, PUBLISHER a line."""
        self.online = online
        stream_of = array("i", [NOBODY]) * (users + 1)
        for stream, user in enumerate(online):
            stream_of[user] = stream
        self._stream_of = stream_of
        self._streams = array("I")
        self._publishers = array("I")
        with subscriptions.open("rb") as file:
            for line in file:
                subscriber, publisher = line.split(b"\t")
                stream = stream_of[int(subscriber)]
                if stream != NOBODY:
                    self._streams.append(stream)
                    self._publishers.append(int(publisher))

    def due(self, published: Messages) -> Messages:
        """What each stream must have got of what was `published`, by publisher from 1 on."""
        due = Messages.none(len(self.online))
        counts, sums = due.counts, due.sums
        by, keys = array("I", [0]), array("Q", [0])
        by.extend(published.counts)
        keys.extend(published.sums)
        for stream, publisher in zip(self._streams, self._publishers, strict=True):
            count = by[publisher]
            if count:
                counts[stream] += count
                sums[stream] = (sums[stream] + keys[publisher]) & SUM
        for publisher in compress(range(len(by)), by):
            stream = self._stream_of[publisher]
            if stream != NOBODY:
                counts[stream] += by[publisher]
                sums[stream] = (sums[stream] + keys[publisher]) & SUM
        return due


def mismatch(due: Messages, got: Messages) -> Mismatch:
    """What is wrong with what came."""
    if due == got:
        return Mismatch()
    missing = extra = exchanged = streams = 0
    for expected, count, key, sum_ in zip(due.counts, got.counts, due.sums, got.sums, strict=True):
        if expected != count or key != sum_:
            streams += 1
            missing += max(0, expected - count)
            extra += max(0, count - expected)
            exchanged += expected == count
    return Mismatch(missing, extra, exchanged, streams)
