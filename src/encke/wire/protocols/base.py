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


_ESCAPED = b'"\\\b\t\n\f\r'
_AS_THEY_ARE = bytes(byte for byte in range(32, 256) if byte not in _ESCAPED)


def json_size(data: bytes) -> int:
    """Bytes that a JSON string takes for UTF-8, its quotes not counted (RFC 8259, 7)."""
    others = data.translate(None, _AS_THEY_ARE)
    controls = others.translate(None, _ESCAPED)
    return len(data) + len(others) + 4 * len(controls)  # \\n and \\u0001


JSON_GROWTH = 6


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

    around: Callable[[int], tuple[bytes, bytes]] | None = None
    """Only if `encode` looks at the number: what it puts before and after the message, whose bytes
    are as they came. Without it a message is encoded once for all connections of a kind."""

    size: Callable[[bytes], int] = len
    """Bytes that a message takes, published or not, without what stands around it; at most."""

    growth: int = 1
    """How many a byte of it takes at most."""

    heartbeat: bytes = b""
    """Bytes that a client ignores, sent now and then so that proxies keep the connection; they end
    no message, not even an empty one."""

    farewell: bytes = b""
    """The last bytes of a stream that the server ends."""
