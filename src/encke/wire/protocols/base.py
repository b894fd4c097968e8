"""What a protocol is: the seam between a connection and how it looks on the wire.

A protocol says which path leads to it, with what head it begins, what comes in, how a message
becomes bytes, and what is sent now and then and at the end. Gateway and hub know nothing else of
it. A sleeping connection of any protocol is a row.

`commands` and `farewell` are there for protocols whose clients speak on their stream, and are told
of its end. None of those here sets them.

Pure.
"""

import enum
from collections.abc import Callable, Sequence

import msgspec

from ..message import Message
from ..request import Request
from ..response import Headers


class Command(enum.Enum):
    """What a client wants by what it sends on its stream."""

    CLOSE = enum.auto()
    """The stream is to end."""


class Documentation(msgspec.Struct, frozen=True, kw_only=True):
    """What the description of the public port says of a protocol."""

    summary: str
    description: str
    media_type: str
    body: str
    """What the answer's body is."""
    example: str


def nothing(_data: bytes) -> Sequence[Command]:
    """What comes in, where a client has nothing to say."""
    return ()


class Protocol(msgspec.Struct, frozen=True, kw_only=True):
    """How messages become bytes on one kind of stream, and bytes become commands."""

    name: bytes
    """First segment of its path: ``/name/{id}``."""

    documentation: Documentation

    headers: Callable[[Request], Headers]
    """Of the answer to a request, besides those that every stream has."""

    greeting: Callable[[float], bytes] = lambda _retry: b""
    """Bytes right after the head; is given the seconds after which to reconnect."""

    commands: Callable[[bytes], Sequence[Command]] = nothing
    """What a client wants by the bytes that came in."""

    encode: Callable[[Message, int], bytes]
    """(message, its number on this connection, from 1) -> bytes, never none."""

    counts: bool = False
    """Whether `encode` looks at the number; if not, a message is encoded once for all connections
    of a kind."""

    heartbeat: bytes = b""
    """Bytes that a client ignores, sent now and then so that proxies keep the connection; they end
    no message, not even an empty one."""

    farewell: bytes = b""
    """The last bytes of a stream that the server ends."""
