"""How many friends users have: the distribution, and what is told of it.

The store counts; what comes from it is as large as there are different counts, whatever
number of users there is.
"""

from collections.abc import Iterator, Mapping

import msgspec

from ...friends.store import Store


class Degrees(msgspec.Struct, frozen=True):
    """How many users have how many friends of one kind."""

    users: int
    """Who has one at least."""
    mean: float
    median: int
    p99: int
    max: int
    histogram: list[tuple[int, int]]
    """(how many friends, how many users have so many), the former ascending."""

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> "Degrees":
        """Made of: how many friends -> how many users have so many."""
        histogram = sorted(counts.items())
        users = sum(counts.values())
        total = sum(degree * count for degree, count in histogram)
        return cls(
            users=users,
            mean=round(total / users, 2) if users else 0.0,
            median=_quantile(histogram, users, 50),
            p99=_quantile(histogram, users, 99),
            max=histogram[-1][0] if histogram else 0,
            histogram=histogram,
        )


class Distribution(msgspec.Struct, frozen=True):
    """A whole store's."""

    total: int
    """Subscriptions."""
    subscribers: Degrees
    """Of the publishers: how many are subscribed to them."""
    subscriptions: Degrees
    """Of the subscribers: to how many they are subscribed."""

    @classmethod
    def of(cls, store: Store) -> "Distribution":
        """That of `store`."""
        subscribers, subscriptions = map(Degrees.of, store.degrees())
        total = sum(degree * users for degree, users in subscribers.histogram)
        return cls(total, subscribers, subscriptions)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.total:,} subscriptions"
        yield f"{'':<14}{'users':>12}{'mean':>10}{'median':>10}{'p99':>10}{'max':>12}"
        for name, each in (
            ("subscribers", self.subscribers),
            ("subscriptions", self.subscriptions),
        ):
            yield (
                f"{name:<14}{each.users:>12,}{each.mean:>10,.2f}{each.median:>10,}"
                f"{each.p99:>10,}{each.max:>12,}"
            )


def _quantile(histogram: list[tuple[int, int]], users: int, percent: int) -> int:
    seen = 0
    for degree, count in histogram:
        seen += count
        if seen * 100 >= users * percent:
            return degree
    return 0
