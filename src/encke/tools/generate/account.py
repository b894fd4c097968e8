"""What became of the messages."""

from collections import Counter
from collections.abc import Sequence

from ..load.histogram import Histogram
from ..load.stamp import SUM, key


class Account:
    """The counts of one run. `tally` has a number for each user, and so has `sums`, if it's
    wanted; see load.tallies."""

    def __init__(self, tally: "memoryview[int]", sums: "memoryview[int] | None" = None) -> None:
        self.sent = 0
        """Messages written; one that is written again counts again."""
        self.accepted = 0
        """Of these, the ones that the server answered with success."""
        self.delivered = 0
        """Connections that got them, as the server says."""
        self.errors: Counter[str] = Counter()
        """Of these, the ones that it didn't, by status, or by what happened to the connection.
        Those that it surely didn't even look at, since it had said before that it closes the
        connection, are written again in any case."""
        self.retried = 0
        """Of the errors, the ones that were, or will be, written again."""
        self.answers = Histogram()
        """Time from writing a request (its end, if NDJSON) to its answer."""
        self.lag = Histogram()
        """How much later than due messages were written."""
        self.tally = tally
        self.sums = sums

    def arrived(self, user: int, delivered: int | None, *, elsewhere: bool = False) -> None:
        """A message to `user` was accepted; the server may have said how many connections got
        it, and that it's also on its way `elsewhere`."""
        self.accepted += 1
        self.delivered += delivered or 0
        self.tally[user] += 1 if delivered is None or elsewhere else delivered

    def all_arrived(
        self, sender: int, users: Sequence[int], sequences: Sequence[int], delivered: int
    ) -> None:
        """These messages of `sender`, to users or of publishers, were accepted; `delivered` is
        the sum."""
        self.accepted += len(users)
        self.delivered += delivered
        tally, sums = self.tally, self.sums
        for user in users:
            tally[user] += 1
        if sums is not None:
            for user, number in zip(users, sequences, strict=True):
                sums[user] = (sums[user] + key(sender, number)) & SUM

    @property
    def failed(self) -> int:
        """Messages that weren't accepted in the end."""
        return self.errors.total() - self.retried
