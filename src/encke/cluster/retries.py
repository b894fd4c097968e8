"""When the next attempt at a NATS server is made: soon, until all servers were tried; then later
and later.

Invariants: pauses are of random length, so that not all nodes come at once. None is longer than
the limit.
"""

import random
import time

FIRST_PAUSE = 0.1
"""Seconds, at most, before the first attempt at another server. Each round of all servers
doubles it, up to the limit."""

STABLE = 5.0
"""Seconds of a link that was READY after which its loss counts as the first failure."""


class Retries:
    """The attempts of one link."""

    def __init__(self, limit: float) -> None:
        """`limit` is the longest pause, in seconds."""
        self.at = time.monotonic()
        """When the next attempt is to be made."""
        self.failures = 0
        """In a row."""
        self._limit = limit

    def failed(self, *, ready_for: float, servers: int, refused: bool) -> float:
        """An attempt came to nothing, or a link that was READY for so long is lost; seconds
        until the next attempt. `refused` says that the server is there but won't have us."""
        self.failures = 0 if ready_for > STABLE else self.failures + 1
        pause = self.pause(servers=servers, refused=refused)
        self.at = time.monotonic() + pause
        return pause

    def pause(self, *, servers: int, refused: bool) -> float:
        """Seconds until the next attempt, with so many servers to be tried."""
        rounds = self.failures // servers
        if not rounds:
            return random.uniform(0, FIRST_PAUSE)
        longest = self._limit
        if not refused:  # else there's no hurry
            longest = min(longest, FIRST_PAUSE * 2 ** min(rounds, 16))
        return random.uniform(longest / 2, longest)
