"""What goes to a gateway, and whose it is.

Pure.
"""

from array import array
from collections.abc import Hashable, Sequence

import msgspec

from ..wire.message import Messages


class Sent(msgspec.Struct, eq=False):
    """Messages that were sent together: what becomes of them. Whoever sends them knows more."""

    origin: Hashable
    """Whose turn it is to have them expanded."""
    counts: "array[int]"
    """By message, the connections that it goes to; those that it missed are taken off."""
    statuses: bytearray = msgspec.field(default_factory=bytearray)
    """By message; empty: all are OK."""
    open: int = 0
    """Deliveries, lookups and questions that haven't come back."""
    next: int = 0
    """The message with which its expansion goes on."""
    expanded: bool = False


class Delivery(msgspec.Struct, eq=False):
    """Messages for one gateway: the k-th goes to the next `counts[k]` of `handles`."""

    gateway: int
    messages: Messages
    counts: "array[int]"
    handles: "array[int]"
    size: int
    """How many handles."""
    sents: tuple[Sent, ...]
    """Whose messages they are, each once."""
    indexes: Sequence[int]
    """By message: which it is of those that were sent together."""
    owners: Sequence[Sent] = ()
    """By message: whose it is; empty if all are of one."""
    published: int = 0
    """Handles in it, if it's of publications."""
    large: int = 0
    """Those of publications that have several pages."""
    at: int = 0
    """When it went out, for whoever lets it out."""
    counted: bool = True
    """Whether it counts as under way; not while its gateway is behind."""
    late: bool = False
    """It was given up, but may still be written."""


class Behind(msgspec.Struct):
    """What a gateway has in hand that is behind."""

    handles: int
    late: int = 0
    """Deliveries that were given up."""
