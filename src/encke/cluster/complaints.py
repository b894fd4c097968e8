"""What is wrong again and again, in the log: a line now and then, which says how often.

Invariant: what is added is logged by the next `tick` but at most once in PAUSE seconds, unless
it's forgotten before.
"""

import time

from .. import log

PAUSE = 10.0
"""Seconds between two log lines: a server may complain of each of a million subscriptions, and
as many messages may be dropped."""


class Complaints:
    """Those of one kind, `event` in the log; `tick` it now and then."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._fields: dict[str, object] = {}
        self._times = 0
        self._tell_at = 0.0

    def add(self, times: int = 1, **fields: object) -> None:
        """It happened so many times more; the last `fields` are those that are logged."""
        self._times += times
        self._fields = fields

    def forget(self) -> None:
        """What was added is said elsewhere."""
        self._times = 0

    def tick(self) -> None:
        """Log what was added, if it's time."""
        if self._times and time.monotonic() >= self._tell_at:
            self.tell()

    def tell(self) -> None:
        """Log what was added, now."""
        if self._times:
            log.error(self._event, **self._fields, times=self._times)
            self._times = 0
            self._tell_at = time.monotonic() + PAUSE
