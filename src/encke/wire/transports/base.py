"""What a transport is.

Pure. May import: message.
"""

from collections.abc import Callable

import msgspec

from ..message import Message

Fields = tuple[tuple[bytes, bytes], ...]


class Transport(msgspec.Struct, frozen=True, kw_only=True):
    """How messages become bytes on one kind of stream."""

    name: bytes
    """First segment of its path: ``/name/{id}``."""

    headers: Fields
    """Of the response's head, besides those that every stream has."""

    encode: Callable[[Message, int], bytes]
    """(message, its number on this connection, from 1) -> bytes."""

    counts: bool
    """Whether `encode` looks at the number; if not, a message is encoded once for all."""

    greeting: Callable[[float], bytes] = lambda _retry: b""
    """Bytes right after the head; is given the seconds after which to reconnect."""

    heartbeat: bytes = b""
    """Bytes that a client ignores, sent now and then so that proxies keep the connection."""
