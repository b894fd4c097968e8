"""Taking the hub's lookups to the friends' store, one at a time, a turn each."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from .. import log
from ..errors import StoreError
from ..reactor.loop import Reactor
from ..scoreboard import Field
from ..wire.message import Status
from .directories import open_directory
from .directory import Directory, Lookup
from .store import Page

COMPLAINT_PAUSE = 10.0
"""Seconds between two log lines about a store that is away."""


class Counts(Protocol):
    """Counters by Field."""

    def __getitem__(self, field: int) -> int: ...

    def __setitem__(self, field: int, value: int) -> None: ...


class Owner(Protocol):
    """Who publishes: the hub."""

    @property
    def wants_lookup(self) -> bool:
        """Whether `lookup` is to be called now."""

    def lookup(self) -> Sequence[tuple[bytes, bytes | None, int]]:
        """What to look up: (publisher, the subscriber to begin after, how many) each."""

    def found(self, pages: Sequence[tuple[Sequence[bytes], bool]]) -> None:
        """The first of these are answered: (subscribers, whether there are more) each."""

    def unknown(self, status: Status) -> None:
        """They can't be answered."""


class Lookups:
    """`pump` it at the end of each turn, as long as there are publications."""

    def __init__(
        self,
        reactor: Reactor,
        friends: str,
        data: str,
        owner: Owner,
        counts: Counts,
        answered: Callable[[], None],
    ) -> None:
        """`friends` and `data` say which store, as in the settings; it's opened when needed.
        What is looked up is counted in `counts`. `answered` is called whenever the owner was told
        something."""
        self._reactor = reactor
        self._friends = friends
        self._data = data
        self._owner = owner
        self._counts = counts
        self._tell = answered
        self._wanted = 0
        self._directory: Directory | None = None
        self._asking = False
        self._complain_at = 0.0

    def pump(self) -> None:
        """Ask for what the owner wants to know, unless an answer is awaited."""
        owner = self._owner
        if self._asking or not owner.wants_lookup:
            return
        wanted = owner.lookup()
        self._wanted = len(wanted)
        if self._friends == "off":
            self._done(None, Status.OFF)
            return
        self._asking = True
        try:
            if self._directory is None:
                self._directory = open_directory(self._reactor, self._friends, self._data)
            self._directory.ask([Lookup(*each) for each in wanted], self._answered)
        except StoreError as error:
            self._complain(str(error))
            self._answered(None)

    def close(self) -> None:
        """Let the store go."""
        if self._directory is not None:
            self._directory.close()

    def _answered(self, pages: list[Page] | None) -> None:
        self._asking = False
        self._done(pages, Status.UNKNOWN)

    def _done(self, pages: list[Page] | None, otherwise: Status) -> None:
        if pages is None:
            self._counts[Field.LOOKUPS_FAILED] += self._wanted
            self._owner.unknown(otherwise)
        else:
            self._counts[Field.SUBSCRIBERS_READ] += sum(len(page.ids) for page in pages)
            self._owner.found([(page.ids, page.more) for page in pages])
        self._tell()
        if self._owner.wants_lookup:
            self._reactor.again(0)

    def _complain(self, reason: str) -> None:
        if time.monotonic() >= self._complain_at:
            self._complain_at = time.monotonic() + COMPLAINT_PAUSE
            log.error("friends-unavailable", reason=reason)
