"""What a router asks a store of subscriptions, on its own loop.

May import: store.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from .store import Page


class Lookup(msgspec.Struct, frozen=True):
    """At most `limit` subscribers of `publisher`, behind `after`."""

    publisher: bytes
    after: bytes | None
    limit: int


class Directory(Protocol):
    """Subscribers, looked up without holding up the loop."""

    def ask(self, lookups: list[Lookup], done: Callable[[list[Page] | None], None]) -> None:
        """Call `done` with the answers to the first of `lookups`, one at least, maybe before
        this returns; with None if the store can't be reached. One question at a time."""

    def close(self) -> None:
        """Let go of files and connections."""
