"""What an uplink wants of its owner, and what it counts."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from ..wire.nats import NatsMessage


class UplinkOwner(Protocol):
    """Whom an uplink serves."""

    def interest(self) -> Iterable[bytes]:
        """All subjects to subscribe to, asked for on each new connection.

        From this call on `subscribe` and `unsubscribe` are taken, and the subjects are
        drawn bit by bit, turns later. So a subject that was unsubscribed from meanwhile
        must not come any more; one that was subscribed to since may come, or not.
        """

    def probes(self) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """Subjects and payloads, one of each kind that we'll publish: all are published before the
        link is READY, and if the server denies one it isn't."""

    def owns(self, subject: bytes) -> bool:
        """Whether it's we who want something published there. If the server denies it, the link
        isn't READY any more."""

    def linked(self) -> None:
        """The link is READY: all interest is in place at the server."""

    def received(self, messages: list[NatsMessage]) -> None:
        """Messages, in order."""

    def lost(self, reason: str) -> None:
        """The link that was READY is lost; it will be made anew."""


class UplinkTally(msgspec.Struct):
    """What happened so far."""

    linked: int = 0
    lost: int = 0
    failed: int = 0
    """Attempts that came to nothing."""
    complaints: int = 0
    """-ERR lines on a link."""
