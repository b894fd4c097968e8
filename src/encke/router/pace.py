"""The pace of large publications: those that have more subscribers than one page.

Pure: whoever makes one gives it a clock. May import: nothing of Encke.
"""

import math
from collections.abc import Callable

PAGE = 200
"""Handles that a page of a publication with several should have: some 0.2 ms of writes for each of
six gateways."""

PAGES = 256, 2_000
"""Subscribers of such a page, at least and at most: as many as should bring PAGE, going by the
last one."""

REST = 1
"""How long the next page waits if others send: so many times as long as the last one took."""

LATELY = 0.1
"""Seconds for which others count as sending: many senders gather for some 20 ms."""


class Pace:
    """When a large publication's next page is to be looked up, and how long it is.

    A page at a time is under way, from its lookup until the last gateway has written it. If others
    have sent something LATELY, the next page rests for REST times as long, so that they find
    cores at rest for part of the time, however many subscribers somebody has.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.rows = PAGES[0]
        self._clock = clock
        self._began: float | None = None
        self._until = 0.0
        self._heard = -math.inf

    @property
    def rest(self) -> float:
        """Seconds until the next page; math.inf: it waits for the one before."""
        return max(0.0, self._until - self._clock()) if self._began is None else math.inf

    def heard(self) -> None:
        """Somebody sends something."""
        self._heard = self._clock()

    def begin(self) -> None:
        """A page is looked up."""
        self._began = self._clock()

    def found(self, subscribers: int, handles: int) -> None:
        """It has so many subscribers, and goes to so many handles."""
        if self._began is None:
            self.begin()  # it's a first page
        least, most = PAGES
        self.rows = min(most, max(least, subscribers * PAGE // max(1, handles)))

    def forget(self) -> None:
        """It has FEW handles: there's nothing to wait for."""
        self._began = None

    def end(self) -> None:
        """It's written, if there is one."""
        if self._began is not None:
            now = self._clock()
            if self._heard > self._began - LATELY:
                self._until = now + REST * (now - self._began)
            self._began = None
