"""The transports: how a stream looks on the wire.

A transport is one file here and one line in `TRANSPORTS`. It says under which path
it is reached, what the response's head is, and how a message becomes bytes; gateway
and router know nothing else of it. To add one:

1. write ``wire/transports/NAME.py`` with a `Transport`;
2. name it in `TRANSPORTS`;
3. give it a test of its own beside ``tests/wire/transports/test_sse.py``.

Pure. May import: wire.response.
"""

from . import sse, text
from .base import Transport

TRANSPORTS: tuple[Transport, ...] = (text.TRANSPORT, sse.TRANSPORT)
"""Every transport. Its place is its code in a connection's row, so add at the end."""

__all__ = ["TRANSPORTS", "Transport"]
