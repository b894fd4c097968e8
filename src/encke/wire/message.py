"""The message: one record, from the first byte of a request to the last byte on a stream.

Where many travel together, they do so by columns (`Messages`): from a sender's body to the port,
through frames, to the connections. On the way no object a message is made; at its end one is, for
the encoder, however many connections the message goes to.

Pure.
"""

import enum
from collections.abc import Sequence

import msgspec

OVERHEAD = 64
"""Bytes that a message counts for besides its data, where what is under way is bounded: an empty
one counts too, or a window wouldn't see it."""


class Verb(enum.IntEnum):
    """What is done with a message: to the user, or to everyone subscribed to them too."""

    SEND = 0
    PUBLISH = 1


class Status(enum.IntEnum):
    """What became of a message, besides the connections that got it."""

    OK = 0
    UNFORWARDED = 1  # it couldn't be handed on to the other nodes
    UNANSWERED = 2  # not all nodes have said how many got it
    UNKNOWN = 3  # who is subscribed can't be known now: the friends' store is away
    OFF = 4  # this node has no friends' store
    UNACKNOWLEDGED = 5  # a gateway hasn't said in time that it was written


class Order(msgspec.Struct, frozen=True):
    """What a sender wants done with messages."""

    verb: Verb
    wait: bool = False
    """Whether they want to know how many connections of all nodes got them."""


SEND = Order(Verb.SEND)


class Kind(enum.IntEnum):
    """What a message tells."""

    MESSAGE = 0  # what somebody sent or published


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message, as an encoder is given it."""

    data: bytes
    """UTF-8."""
    publisher: bytes = b""
    """Who published it; empty if it was sent."""
    to: bytes = b""
    """The user id that it's for; empty where only the connections are known. This and what follows
    is room for a log of messages: nothing sets it, or looks at it, yet."""
    position: int = 0
    """Its place in the log; 0 if there's none."""
    kind: Kind = Kind.MESSAGE


class Messages(msgspec.Struct):
    """Messages by columns: the k-th is for `to[k]` and says `data[k]`."""

    to: list[bytes]
    """Empty where only the connections are known."""
    data: list[bytes]
    publishers: Sequence[bytes] = ()
    """Who published each; empty if they were sent."""

    def __len__(self) -> int:
        return len(self.data)

    @property
    def size(self) -> int:
        """Bytes that they count for, where what is under way is bounded."""
        return sum(map(len, self.data)) + OVERHEAD * len(self.data)


NOTHING = Messages([], [])
"""In place of messages that a frame or a turn has by now, so that they needn't be kept."""
