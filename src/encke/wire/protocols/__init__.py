"""The protocols: how a stream looks on the wire.

A protocol is one file here and one line in `PROTOCOLS`. To add one:

1. write ``wire/protocols/NAME.py`` with a `Protocol`;
2. name it at the end of `PROTOCOLS`;
3. give it a test of its own, ``tests/wire/protocols/test_NAME.py``, with a `read` that does what
   its client does: bytes of a stream in, messages out.

Routes, login, delivery, heartbeats, HTTP/1.0, the description of the public port and the tests
that run for every protocol take it from there.

Pure.
"""

from . import ndjson, sse, text
from .base import Command, Documentation, Protocol, nothing

PROTOCOLS: tuple[Protocol, ...] = (text.PROTOCOL, sse.PROTOCOL, ndjson.PROTOCOL)
"""Every protocol. Its place is its code in a connection's row, so add at the end."""

GROWTH = max(protocol.growth for protocol in PROTOCOLS)
"""Bytes that a byte of a message takes at most, on any stream."""


def encoded_size(data: bytes) -> int:
    """Bytes that a message takes on the streams on which it takes most, without what stands around
    it; `data` is UTF-8."""
    return max(protocol.size(data) for protocol in PROTOCOLS)


__all__ = [
    "GROWTH", "PROTOCOLS", "Command", "Documentation", "Protocol", "encoded_size", "nothing",
]  # fmt: skip
