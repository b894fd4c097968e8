"""What a store of subscriptions is.

May import: msgspec.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

Pair = tuple[bytes, bytes]
"""(subscriber, publisher)"""


class Page(msgspec.Struct, frozen=True):
    """Some of a user's subscribers or subscriptions, in the store's order."""

    ids: list[bytes]
    more: bool
    """Whether there are others after the last of them."""


class Store(Protocol):
    """Subscriptions, kept. All of its methods may block, and raise StoreError."""

    def add(self, pairs: Sequence[Pair]) -> int:
        """Make these subscriptions; how many are new. Durable once it returns."""

    def remove(self, pairs: Sequence[Pair]) -> int:
        """End these subscriptions; how many there were. Durable once it returns."""

    def subscribers(self, publisher: bytes, after: bytes | None = None, limit: int = 1000) -> Page:
        """Who is subscribed to `publisher`, behind `after`, at most `limit` of them."""

    def subscriptions(
        self, subscriber: bytes, after: bytes | None = None, limit: int = 1000
    ) -> Page:
        """Whom `subscriber` is subscribed to, behind `after`, at most `limit` of them."""

    def count_subscribers(self, publisher: bytes) -> int:
        """How many are subscribed to `publisher`."""

    def count_subscriptions(self, subscriber: bytes) -> int:
        """How many `subscriber` is subscribed to."""

    def pairs(self) -> Iterator[Pair]:
        """All subscriptions."""

    def degrees(self) -> tuple[dict[int, int], dict[int, int]]:
        """How many subscribers publishers have: number of subscribers -> number of publishers
        that have so many; and the same for subscribers and their subscriptions."""

    def close(self) -> None:
        """Let go of files and connections."""
