"""Was every message delivered exactly once, in order, to the right stream?

Each message carries its user and a sequence number that counts that user's messages;
the ledger compares what was sent with what came. Beside it, the figures drawn from
the latencies.

Pure. May import: nothing of Encke.
"""

import bisect
import math
import re
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

_CHUNK = re.compile(rb"[0-9a-fA-F]+\r\nRecvd msg #(\d+): '(\d+) (\d+) (\d+)\|'\n\r\n")
_LONGEST = 128
"""Bytes of a chunk, at most: four numbers and the words around them."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message as it came on a /test stream; `stamp`: when it was sent, ns."""

    number: int
    user: int
    sequence: int
    stamp: int


def body(user: int, sequence: int, stamp: int) -> bytes:
    """A message as it's sent."""
    return b"%d %d %d|" % (user, sequence, stamp)


def messages(data: bytes) -> tuple[list[Message], bytes]:
    """The whole messages in `data` and what is left; raises ValueError if it is none."""
    found, at = [], 0
    while match := _CHUNK.match(data, at):
        found.append(Message(*map(int, match.groups())))
        at = match.end()
    if len(data) - at > _LONGEST:
        raise ValueError(f"not a message: {data[at : at + _LONGEST]!r}")
    return found, data[at:]


class Faults(msgspec.Struct):
    """What must not be; all 0 in a good run."""

    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    wrong_recipient: int = 0
    misnumbered: int = 0
    """The stream's own counter (Recvd msg #N) was not one more than before."""
    refused: int = 0
    """Requests answered with an error, or not at all."""
    miscounted: int = 0
    """Requests whose answer was another number of deliveries than 1."""
    closed_streams: int = 0

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__struct_fields__)


class Ledger:
    """The sequence numbers of all users, for one phase."""

    def __init__(self, users: int) -> None:
        self.sent = array("Q", bytes(8 * users))  # messages sent to each user
        self._next = array("Q", bytes(8 * users))  # sequence number that should come next
        self._missing: defaultdict[int, set[int]] = defaultdict(set)  # left out so far

    def send(self, user: int) -> int:
        """The sequence number of the next message to `user`."""
        sequence = self.sent[user]
        self.sent[user] += 1
        return sequence

    def arrived(self, stream: int, user: int, sequence: int, faults: Faults) -> None:
        """A message came on the stream of user `stream`; adds what is wrong to `faults`."""
        expected = self._next[user]
        if stream != user:
            faults.wrong_recipient += 1
        elif sequence == expected:
            self._next[user] = expected + 1
        elif sequence > expected:
            self._missing[user].update(range(expected, sequence))
            self._next[user] = sequence + 1
        elif sequence in self._missing[user]:
            self._missing[user].remove(sequence)
            faults.reordered += 1
        else:
            faults.doubled += 1

    def outstanding(self) -> int:
        """Messages that have been sent and have not come."""
        late = sum(map(len, self._missing.values()))
        return late + sum(sent - came for sent, came in zip(self.sent, self._next, strict=True))


class Quantiles(msgspec.Struct):
    """Milliseconds."""

    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0

    @classmethod
    def of(cls, nanoseconds: Sequence[int]) -> "Quantiles":
        """Of these durations; all 0 if there are none."""
        if not nanoseconds:
            return cls()
        ranked = sorted(nanoseconds)
        return cls(
            *(
                ranked[max(0, math.ceil(share * len(ranked)) - 1)] / 1e6
                for share in (0.5, 0.99, 0.999, 1)
            )
        )


BOUNDS = [step * 10**decade / 1000 for decade in range(1, 7) for step in (1, 2, 5)]
"""Upper bounds of the histogram's steps, milliseconds: 0.01 ms to 5 s; then the rest."""


def histogram(nanoseconds: Sequence[int]) -> list[int]:
    """How many durations are up to each of BOUNDS (and above the one before it)."""
    ranked = sorted(nanoseconds)
    ends = [bisect.bisect_right(ranked, bound * 1e6) for bound in BOUNDS] + [len(ranked)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def answers(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The whole HTTP answers in `data`: (bytes up to its end, status, body) of each."""
    at = 0
    while (blank := data.find(b"\r\n\r\n", at)) >= 0:
        length = re.search(rb"\r\ncontent-length: *(\d+)", data[at : blank + 2], re.IGNORECASE)
        if length is None:
            raise ValueError(f"an answer without Content-Length: {data[at:blank]!r}")
        end = blank + 4 + int(length[1])
        if end > len(data):
            return
        yield end, int(data[at + 9 : at + 12]), data[blank + 4 : end]
        at = end
