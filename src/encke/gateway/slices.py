"""What a turn has no room for: large messages, and those for very many, written in slices.

What a turn writes of messages is bounded in bytes. What goes beyond that is put off, connection by
connection, and written in the turns after, SLICE bytes in each: a PIECE of each message by turns,
so that one for few doesn't wait for all of one for very many. Whatever else comes for one of these
connections is put off too; all others get theirs at once.

Invariants:
- Nothing overtakes anything on its way to a connection: a message for one that waits for another
  already isn't begun before all that is older than that one is done.
- A delivery of which something was put off is done with, and acknowledged, once all of it was
  written, as any other: or waits in the outbox for who is slow.
"""

from array import array
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from ..ids import SLOT_MASK
from ..wire.message import Message
from .port import Late

ROOM = 4 * 1024 * 1024
"""Bytes of messages that a turn may write at once: some 5 ms of copying. What is for one
connection, and no longer than SHORT, always has room: senders aren't read faster than that."""

SHORT = 16 * 1024

SLICE = 1024 * 1024
"""Bytes written in a turn of what was put off, and as many again to those who were slow and take
bytes now: 1 ms each, the longest that a large message should hold up any other."""

PIECE = 64 * 1024
"""Bytes of one message before it's another's turn."""

WRITE = 4096
"""Bytes that a write counts for besides its own: so long does it take."""


class Part(msgspec.Struct, eq=False):
    """A message that is yet to be written to some connections."""

    number: int
    """Its place among all; from 1."""
    late: Late
    """The delivery that it's of."""
    index: int
    """Which of its messages it is."""
    message: Message
    encoded: dict[int, bytes]
    """By state: what its streams are sent, all of them the same."""
    handles: "array[int]" = msgspec.field(default_factory=lambda: array("Q"))
    next: int = 0
    """The handle with which it goes on."""
    after: int = 0
    """It may not begin before all up to this one are done."""


class Slices:
    """See the module's head. `write(part, handle)` writes a part's message to a connection, if it's
    still there, and returns the bytes that took."""

    def __init__(self, write: Callable[[Part, int], int]) -> None:
        self._write = write
        self._turns: deque[Part] = deque()
        self._open: dict[int, Part] = {}  # the same by number, ascending
        self._last: Part | None = None
        self._number = 0
        self.waiting: dict[int, int] = {}
        """By descriptor: the newest part that is to be written to it."""

    def put_off(
        self,
        late: Late | None,
        index: int,
        message: Message,
        encoded: Mapping[int, bytes],
        handle: int,
    ) -> Late:
        """Write a delivery's message to this connection later; `late` is what of it has been put
        off already."""
        late = late or Late()
        part = self._last
        if part is None or part.late is not late or part.index != index:
            self._number += 1
            part = self._last = Part(self._number, late, index, message, dict(encoded))
            self._open[part.number] = part
            self._turns.append(part)
            late.open += 1
        part.handles.append(handle)
        fd = handle & SLOT_MASK
        before = self.waiting.get(fd, 0)
        if part.after < before < part.number:
            part.after = before
        self.waiting[fd] = part.number
        return late

    def go_on(self, room: float) -> None:
        """Write what comes next, about `room` bytes; and tell of the deliveries that are done."""
        self._last = None
        turns, passed = self._turns, 0
        while room > 0 and passed < len(turns):
            part = turns.popleft()
            if part.after >= next(iter(self._open)):
                turns.append(part)
                passed += 1
                continue
            passed = 0
            room -= self._write_some(part)
            if part.next < len(part.handles):
                turns.append(part)
                continue
            del self._open[part.number]
            late = part.late
            late.open -= 1
            if not late.open:
                late.then(late.delivered, late.missed)

    def _write_some(self, part: Part) -> int:
        """Write a part to some connections; returns what that counts for."""
        waiting, handles, written = self.waiting, part.handles, 0
        while written < PIECE and part.next < len(handles):
            handle = handles[part.next]
            part.next += 1
            fd = handle & SLOT_MASK
            if waiting.get(fd) == part.number:
                del waiting[fd]
            written += WRITE + self._write(part, handle)
        return written
