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

__all__ = ["PROTOCOLS", "Command", "Documentation", "Protocol", "nothing"]
