"""This node's router, as the other nodes need it.

Invariant: what is asked here is answered at once, from memory.
"""

from array import array
from typing import Protocol

from ..wire.message import Verb
from ..wire.nodes import Figures


class LocalRouter(Protocol):
    """Knows who is here, and takes what other nodes send."""

    def interest(self) -> list[bytes]:
        """The ids that are here now."""

    def is_here(self, id: bytes) -> bool:
        """Whether `id` has a connection here."""

    def reachable(self, gateway: int, handles: "array[int]") -> None:
        """These logins are known to NATS."""

    @property
    def remote_bytes(self) -> int:
        """Bytes of messages that `remote` got and that aren't expanded yet."""

    def remote(self, verb: Verb, ids: list[bytes], messages: list[bytes], ticket: int = 0) -> None:
        """Messages of other nodes. With a ticket, `Peers.answer` is called later."""

    def answered(self, ticket: int, count: int | None) -> None:
        """So many connections of other nodes got what was asked with `ticket`. None: some
        nodes haven't said it."""

    def figures(self) -> Figures:
        """This node in numbers."""
