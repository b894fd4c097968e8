"""What nodes of a cluster say to each other, besides messages. A public contract.

At its subject P.node.NODE (see encke.wire.subjects), every second::

    {"node": "4be1c02f9a77", "name": "web-1", "version": "0.2.0", "linked": 86400.1,
     "link": 1, "users": 120, "connections": 131, "messages": 5123, "delivered": 4711}

and a last one with "leaving": true. NODE is another one whenever a node's router is
started. At the reply subject of a message, from every node that got it::

    {"node": "4be1c02f9a77", "delivered": 2}
    {"node": "4be1c02f9a77", "delivered": 0, "error": "The message is not UTF-8."}

Pure.
"""

import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from ..errors import FrameError

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
"""How many; JSON's numbers are exact up to here."""

Name = Annotated[str, Meta(max_length=256)]

is_node = re.compile(r"[0-9a-f]{12}").fullmatch


class Figures(msgspec.Struct, frozen=True):
    """A node in numbers."""

    users: Count = 0
    """Users who have a connection there."""
    connections: Count = 0
    """Their connections."""
    messages: Count = 0
    """Taken from senders since the node was started."""
    delivered: Count = 0
    """Messages handed to a connection since then."""


class Heartbeat(Figures, frozen=True, kw_only=True):
    """A node lives."""

    node: str
    name: Name = ""
    version: Name = ""
    linked: Annotated[float, Meta(ge=0)] = 0.0
    """Seconds since it has been joined to NATS without a break."""
    link: Annotated[int, Meta(ge=0, lt=10**9)] = 0
    """Number of the link by which it says so: what comes by one before is late."""
    leaving: bool = False
    """It's the last one: the node goes, on purpose."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a message at one node."""

    node: str
    delivered: Count
    error: str = ""
    """Why it can't say, or has dropped the message."""


_heartbeat = msgspec.json.Decoder(Heartbeat)
_reply = msgspec.json.Decoder(Reply)
encode = msgspec.json.Encoder().encode
"""A Heartbeat or a Reply as it travels."""


def heartbeat(raw: bytes) -> Heartbeat:
    """`raw` as a Heartbeat; raises FrameError if it's none."""
    return _checked(_heartbeat, raw)


def reply(raw: bytes) -> Reply:
    """`raw` as a Reply; raises FrameError if it's none."""
    return _checked(_reply, raw)


_Said = TypeVar("_Said", Heartbeat, Reply)


def _checked(decoder: "msgspec.json.Decoder[_Said]", raw: bytes) -> _Said:
    try:
        said = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"No node says that: {error}") from None
    if not is_node(said.node):
        raise FrameError("A node's name is 12 hexadecimal digits.")
    return said
