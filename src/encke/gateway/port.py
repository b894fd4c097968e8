"""The router, as a gateway sees it: a port with two ends.

`Router` is what a gateway asks: `far.FarRouter` asks the router process over a Unix socket,
`near.NearRouter` a hub in the gateway's own process. `Holder`, who holds the connections, is what
it tells. The gateway can't tell the two apart; tests/gateway/test_router_contract.py says what
holds of both.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Protocol

from ..wire.message import SEND, Messages, Order, Status

Target = int | Iterable[int] | None
"""Whom a message goes to: one handle, several, or nobody."""


class Late:
    """What of a delivery is written in later turns: it was large."""

    __slots__ = ("delivered", "missed", "open", "then")

    def __init__(self) -> None:
        self.delivered = 0
        self.missed: dict[int, int] = {}
        self.open = 0
        """Parts that aren't written yet."""
        self.then: Callable[[int, dict[int, int]], None]

    def wait(
        self, delivered: int, missed: dict[int, int], then: Callable[[int, dict[int, int]], None]
    ) -> None:
        """`then` is called once all is written, with what is to be said of the whole delivery:
        what was written at once is given here."""
        self.delivered += delivered
        self.missed, self.then = missed, then


Written = tuple[int, dict[int, int], Late | None]
"""Connections that got a message, in all; by the message's index, those missed; and if that isn't
all, what tells the rest."""


class Sender(Protocol):
    """Whoever sent messages and waits to learn what became of them."""

    @property
    def lane(self) -> int:
        """Names the sender: publications of one lane keep their order."""

    def settled(self, messages: int, delivered: int, forwarded: int = 0) -> None:
        """`messages` of those sent are done with; connections got them `delivered` times, and
        `forwarded` of them were handed on to the other nodes, if there can be any."""

    def failed(self, messages: int, why: Status | None = None) -> None:
        """These messages may or may not have been delivered. None: the router went away."""


class Holder(Protocol):
    """Who holds the connections: the gateway, as its router sees it."""

    def logged_in(self, handles: Iterable[int]) -> None:
        """These connections are reachable from now on."""

    def refused(self, handles: Iterable[int]) -> None:
        """These aren't logged in: their ids have as many connections as they may."""

    def deliver(self, messages: Messages, targets: Sequence[Target]) -> Written:
        """Write each message to the connections at the same place in `targets`, at the end of the
        turn, or in slices over the next ones (`Late`). Some may be missed, because they have gone
        meanwhile."""

    def logins(self) -> Iterable[tuple[int, bytes]]:
        """(handle, user id) of every connection that is, or waits to be, logged in."""

    def resume(self) -> None:
        """There is room again for senders' messages."""


class Router(Protocol):
    """The router, as its gateway sees it."""

    @property
    def available(self) -> bool:
        """Whether it takes messages."""

    @property
    def full(self) -> bool:
        """Whether as much is under way as may be: read no more from senders."""

    @property
    def under_way(self) -> int:
        """Bytes of messages whose fate isn't known yet."""

    @property
    def users(self) -> int:
        """User ids that are logged in here, if the map is in this process, else 0."""

    @property
    def counts(self) -> Mapping[int, int]:
        """What it counts itself, if it's in this process, by scoreboard.Field."""

    def login(self, handle: int, id: bytes) -> None:
        """Log a connection in; `Holder.logged_in` tells when it's done, or `refused` that it
        isn't."""

    def logout(self, handle: int) -> None:
        """A connection is gone."""

    def send(self, sender: Sender, messages: Messages, order: Order = SEND) -> None:
        """Take `messages`, which are the router's from then on; `sender` is told what became of
        them, maybe at once, maybe in parts."""

    def flush(self) -> None:
        """Let go what has gathered during the turn."""

    def tick(self) -> None:
        """Called a few times a second."""


def targets(counts: "array[int]", handles: "array[int]") -> Sequence[Target]:
    """Whom each message goes to, if the k-th goes to the next `counts[k]` of `handles`."""
    ends = accumulate(counts, initial=0)
    return [handles[start:end] for start, end in pairwise(ends)]


def tell(sender: Sender, counts: Iterable[int], statuses: Iterable[int], forwards: int) -> None:
    """Tell `sender` what became of messages of which not all are OK: those that were sent, and
    those that weren't, by what became of them. What is OK was handed on, if anything is
    (`forwards`: 1, else 0)."""
    settled = delivered = forwarded = 0
    failures: dict[Status, int] = {}
    for count, status in zip(counts, statuses, strict=True):
        if status == Status.OK or (status == Status.UNFORWARDED and count):
            settled += 1
            delivered += count
            forwarded += status == Status.OK
        else:
            failures[Status(status)] = failures.get(Status(status), 0) + 1
    if settled:
        sender.settled(settled, delivered, forwarded * forwards)
    for why, failed in failures.items():
        sender.failed(failed, why)
