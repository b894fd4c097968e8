"""A histogram of durations with steps of 2 %, of a fixed size, that can be added up.

Step k counts durations from LOWEST * 1.02^k on. A duration is told as the middle of
its step, so it's at most 1 % off (those beyond the ends are told as the end). 8 KB,
whatever is recorded; it lies in any buffer of 64-bit numbers, so that processes can
keep theirs in shared memory.

Pure.
"""

import math
from array import array
from collections.abc import Iterator

GROWTH = 1.02
LOWEST = 1_000
"""Nanoseconds: what is shorter counts as this."""
HIGHEST = 1_000_000_000_000
"""Nanoseconds, about 17 minutes: what is longer counts as this."""

_PER_STEP = 1 / math.log(GROWTH)
_FIRST = math.log(LOWEST) * _PER_STEP
SIZE = int(math.log(HIGHEST) * _PER_STEP - _FIRST) + 1
"""Number of steps."""

BOUNDS = [step * 10**decade * 1_000 for decade in range(9) for step in (1, 2, 5)]
"""Nanoseconds: upper bounds of the coarse steps that people are shown, 1 us to 500 s."""

_BAR = 40


class Histogram:
    """Durations in nanoseconds, counted by steps; kept in `cells` if given (SIZE numbers)."""

    __slots__ = ("cells",)

    def __init__(self, cells: "memoryview[int] | array[int] | None" = None) -> None:
        self.cells = array("Q", bytes(8 * SIZE)) if cells is None else cells
        if len(self.cells) != SIZE:
            raise ValueError(f"a histogram has {SIZE} steps, not {len(self.cells)}")

    def record(self, duration: int, times: int = 1) -> None:
        """Count a duration."""
        step = int(math.log(duration) * _PER_STEP - _FIRST) if duration > LOWEST else 0
        self.cells[step if step < SIZE else SIZE - 1] += times

    def merge(self, other: "Histogram") -> None:
        """Add what `other` has counted."""
        cells = self.cells
        for step, count in enumerate(other.cells):
            if count:
                cells[step] += count

    def clear(self) -> None:
        """Begin anew."""
        for step in range(SIZE):
            self.cells[step] = 0

    @property
    def count(self) -> int:
        """Durations recorded."""
        return sum(self.cells)

    def quantile(self, share: float) -> float:
        """The duration that `share` (0 to 1) of them don't exceed, nanoseconds; 0 if none."""
        total = self.count
        rank = max(1, math.ceil(share * total))
        for step, count in enumerate(self.cells):
            rank -= count
            if count and rank <= 0:
                return _middle(step)
        return 0.0

    def coarse(self) -> Iterator[tuple[int, int]]:
        """(upper bound in ns, count) by BOUNDS, from the first to the last that has any."""
        counts = [0] * len(BOUNDS)
        at = 0
        for step, count in enumerate(self.cells):
            while at < len(BOUNDS) - 1 and _middle(step) > BOUNDS[at]:
                at += 1
            counts[at] += count
        filled = [at for at, count in enumerate(counts) if count]
        for at in range(filled[0], filled[-1] + 1) if filled else ():
            yield BOUNDS[at], counts[at]

    def drawing(self) -> Iterator[str]:
        """The coarse steps as lines of text, with bars."""
        steps = list(self.coarse())
        most = max((count for _, count in steps), default=0)
        for bound, count in steps:
            bar = "#" * math.ceil(_BAR * count / most)
            yield f"  <= {duration(bound):>8} {count:>12,}  {bar}".rstrip()


def _middle(step: int) -> float:
    return float(LOWEST * GROWTH ** (step + 0.5))


def duration(nanoseconds: float) -> str:
    """`nanoseconds` with a unit that suits them."""
    for unit, size in (("s", 1e9), ("ms", 1e6)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds / 1e3:.3g} us"
