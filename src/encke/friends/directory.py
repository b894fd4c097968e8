"""What a router asks a store of subscriptions, on its own loop.

It answers in bounded pieces: the first few of many lookups, one page of many subscribers.
Nothing is cached: an answer has whatever the store had acknowledged when it was asked.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from .store import Page

MAX_ROWS = 4000
"""Subscribers after which no further lookup is answered: some 0.5 ms of work."""


class Lookup(msgspec.Struct, frozen=True):
    """At most `limit` subscribers of `publisher`, behind `after`."""

    publisher: bytes
    after: bytes | None
    limit: int


Done = Callable[[list[Page] | None], None]


class Directory(Protocol):
    """Subscribers, looked up without holding up the loop."""

    def ask(self, lookups: list[Lookup], done: Done) -> None:
        """Call `done` with the answers to the first of `lookups`, one at least, maybe before
        this returns; with None if the store can't be reached, as far as is known. One question
        at a time. Raises StoreError, which says what to do, if it turns out right now."""

    def close(self) -> None:
        """Let go of files and connections; a `done` that is still owed isn't called."""
