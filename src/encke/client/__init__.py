"""The Python client: sends messages to users and to their friends, and listens as a user does.

`Client` is for asyncio programs, `connect()` gives its twin for scripts. The twin has
no logic of its own: it runs the same coroutines to their end, one at a time.

Invariants: every error is one of `encke.errors`, none is httpx's. A message is sent
once: nothing is repeated behind the caller's back, for the server may have delivered
what it didn't answer. Only a listener reconnects by itself.

Proxies named in the environment are not used: most hold streams back, or cut them.
"""

from .aio import DEFAULT_URL, Client, Messages, Sent
from .listener import Listener, Message
from .sync import Connection, Stream, connect

__all__ = [
    "DEFAULT_URL",
    "Client",
    "Connection",
    "Listener",
    "Message",
    "Messages",
    "Sent",
    "Stream",
    "connect",
]
