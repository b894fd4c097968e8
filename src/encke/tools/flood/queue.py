"""Which of a herd's streams are to be opened, in which order, and when.

Streams that have never been opened are a range, those to be opened again are packed
arrays by the time at which they're due, in ticks of TICK seconds. Nothing else is kept
of a stream that waits: 4 bytes.

Pure: the clock is the caller's.
"""

from array import array

TICK = 0.05


class Queue:
    """The streams 0 to `streams` - 1, all to be opened at once."""

    def __init__(self, streams: int) -> None:
        self._next = 0
        self._end = streams
        self._due = array("I")  # may be opened now; taken from the end
        self._later: dict[int, array[int]] = {}  # tick: streams
        self._waiting = 0

    def __len__(self) -> int:
        """Streams that are to be opened, now or later."""
        return self._end - self._next + len(self._due) + self._waiting

    def put(self, stream: int, when: float) -> None:
        """`stream` is to be opened (again) at `when`."""
        self._later.setdefault(int(when / TICK) + 1, array("I")).append(stream)
        self._waiting += 1

    def pop(self, now: float) -> int | None:
        """A stream that is due; None if there's none."""
        if not self._due and self._later:
            for tick in [tick for tick in self._later if tick * TICK <= now]:
                self._due.extend(self._later.pop(tick))
            self._waiting = sum(map(len, self._later.values()))
        if self._due:
            return self._due.pop()
        if self._next < self._end:
            self._next += 1
            return self._next - 1
        return None

    def next_due(self, now: float) -> float | None:
        """Seconds until one is due, 0 if one is; None if there's none at all."""
        if self._due or self._next < self._end:
            return 0.0
        if not self._later:
            return None
        return max(0.0, min(self._later) * TICK - now)
