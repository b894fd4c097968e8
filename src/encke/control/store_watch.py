"""Whether the friends' store can be used: looked at when the process starts, and from then on.

SQLite's file is opened for that if there is one, on the store's thread; if there is none it's
enough to look at the directory. PostgreSQL is asked only once friends were managed here: its
driver takes 12 MB, and who publishes counts what fails (`encke_lookups_failed_total`).
"""

import os
from collections.abc import Callable

from .. import log
from ..errors import StoreError
from ..friends.sqlite.place import FILE, check_place, others_may_write
from ..reactor.loop import Reactor

CHECK_EVERY = 10.0
"""Seconds between two looks; and those that an answer may take."""

Ask = Callable[[Callable[[str], None]], None]
"""Asks the store, and calls what it's given on the loop: with what is wrong, or with nothing."""


class StoreWatch:
    """Looks, and logs what has changed."""

    def __init__(self, reactor: Reactor, friends: str, data: str, ask: Ask) -> None:
        """`friends` is what settings.friends_store says."""
        self.managed = False
        """Whether somebody has used the store."""
        self.reason = ""
        """What is wrong with it; empty: nothing that's known."""
        self._friends = friends
        self._data = data
        self._ask = ask
        self._waits = False
        reactor.every(CHECK_EVERY, self.look)
        if friends == "sqlite" and others_may_write(data):
            log.warning(
                "data-open",
                directory=os.path.abspath(data),
                hint="other users may put other friends there: chmod go-w, or another --data",
            )

    def look(self) -> None:
        """Find out."""
        if self._friends == "off":
            return
        file = os.path.join(self._data, FILE) if self._friends == "sqlite" else ""
        if self._waits:
            self._found(f"The friends' store hasn't answered for {CHECK_EVERY:g} s.")
        elif self.managed or os.path.exists(file):
            self._waits = True
            self._ask(self._answered)
        elif file:
            try:
                check_place(self._data)
            except StoreError as error:
                self._found(str(error))
            else:
                self._found("")

    def _answered(self, reason: str) -> None:
        self._waits = False
        self._found(reason)

    def _found(self, reason: str) -> None:
        if reason and reason != self.reason:
            log.error("friends-unavailable", reason=reason)
        elif self.reason and not reason:
            log.info("friends-available")
        self.reason = reason
