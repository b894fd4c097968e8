"""The pace of large publications: those that have more subscribers than one page.

Pure: whoever makes one gives it a clock.
"""

import math
from collections.abc import Callable

from .limits import LATELY, PAGE_HANDLES, PAGE_ROWS, REST


class Pace:
    """When a large publication's next page is to be looked up, and how long it is.

    A page at a time is under way, from its lookup until the last gateway has written it. If others
    have sent something LATELY, the next page rests for REST times as long, so that they find
    cores at rest for part of the time, however many subscribers somebody has.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.rows = PAGE_ROWS[0]
        self.heard = -math.inf
        """When somebody sent something last: set by whoever takes it."""
        self._clock = clock
        self._began: float | None = None
        self._until = 0.0

    @property
    def rest(self) -> float:
        """Seconds until the next page; math.inf: it waits for the one before."""
        return max(0.0, self._until - self._clock()) if self._began is None else math.inf

    def begin(self) -> None:
        """A page is looked up."""
        self._began = self._clock()

    def found(self, rows: int, handles: int) -> None:
        """It has so many rows, and goes to so many handles."""
        if self._began is None:
            self.begin()  # it's a first page
        least, most = PAGE_ROWS
        self.rows = min(most, max(least, rows * PAGE_HANDLES // max(1, handles)))

    def forget(self) -> None:
        """It has FEW handles: there's nothing to wait for."""
        self._began = None

    def end(self) -> None:
        """It's written, if there is one."""
        if self._began is not None:
            now = self._clock()
            if self.heard > self._began - LATELY:
                self._until = now + REST * (now - self._began)
            self._began = None
