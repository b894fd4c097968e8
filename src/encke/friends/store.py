"""What a store of subscriptions is.

A *subscriber* is subscribed to a *publisher*; the two ids are a pair, which is in the store or
isn't: adding it twice is the same as once. Each store has an order of ids, the same in all of
its answers, which it is free to choose.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

Pair = tuple[bytes, bytes]
"""(subscriber, publisher)"""

Progress = Callable[[int, int], None]
"""Is told now and then how many pairs a load has taken, and how many of them are safe: in the
store, whatever happens to the process."""


def tell_nobody(taken: int, safe: int) -> None:
    """A Progress that nobody sees."""


Degrees = dict[int, int]
"""How many users have so many: {15: 1000} are a thousand users with fifteen each."""

PAGE_IDS = 1000
"""Ids of a page, if nobody asks for more or fewer."""


class Page(msgspec.Struct, frozen=True):
    """Some of a user's subscribers or subscriptions, in the store's order."""

    ids: list[bytes]
    more: bool
    """Whether there are others after the last of them."""


class Store(Protocol):
    """Subscriptions, kept.

    All methods may block, and raise StoreError, which says what to do; they take valid user
    ids. One thread at a time uses a store.
    """

    def add(self, pairs: Sequence[Pair]) -> int:
        """Make these subscriptions, all or none; how many are new. Durable once it returns."""

    def remove(self, pairs: Sequence[Pair]) -> int:
        """End these subscriptions, all or none; how many there were. Durable once it returns."""

    def subscribers(
        self, publisher: bytes, after: bytes | None = None, limit: int = PAGE_IDS
    ) -> Page:
        """Who is subscribed to `publisher`, behind `after`, at most `limit` of them.

        `after` need not be a subscriber, any more or at all.
        """

    def subscriptions(
        self, subscriber: bytes, after: bytes | None = None, limit: int = PAGE_IDS
    ) -> Page:
        """Whom `subscriber` is subscribed to, behind `after`, at most `limit` of them."""

    def count_subscribers(self, publisher: bytes) -> int:
        """How many are subscribed to `publisher`."""

    def count_subscriptions(self, subscriber: bytes) -> int:
        """How many `subscriber` is subscribed to."""

    def degrees(self) -> tuple[Degrees, Degrees]:
        """How many subscribers publishers have, and how many subscriptions subscribers have."""

    def pairs(self) -> Iterator[Pair]:
        """All subscriptions, in order of publisher, then subscriber.

        Drawn bit by bit: one that is made or ended meanwhile may come, or not.
        """

    def load(self, pairs: Iterable[Pair], progress: Progress = tell_nobody) -> int:
        """Make very many subscriptions, fast; how many are new.

        They become durable in slices, each whole or not at all. A load that broke off can be
        begun anew: what is in the store already does no harm.
        """

    def close(self) -> None:
        """Let go of files and connections."""
