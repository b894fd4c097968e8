"""CPU time of several, and of all else on this machine."""

import time
from collections.abc import Callable

from encke.tools.load.usage import busy_seconds


class Meter:
    """What each of `readers` tells, from now on, in CPU seconds."""

    def __init__(self, *readers: Callable[[], float]) -> None:
        self._readers = (*readers, busy_seconds)
        self._began = time.monotonic()
        self._before = [read() for read in self._readers]

    def used(self) -> list[float]:
        """What each has used until now, and behind them all others: much means noise."""
        now = [read() for read in self._readers]
        *parts, busy = (a - b for a, b in zip(now, self._before, strict=True))
        return [*parts, max(0.0, busy - sum(parts))]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began
