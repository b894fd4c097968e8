"""The Python client: sends messages to users and to their friends, and listens as a user does.

`connect()` is for any number of threads, and its `aio` for any number of event loops; `Client` is
that alone. Both stand on one pure core, and are thin: one blocks, the other awaits.

In reading order: `server` (a URL, and the heads of requests), `reader` (bytes in, answers out),
`answers` (what they stand for), `posts` (what is sent), `feed` (what is listened to): pure. Then
for threads `pool`, `stream`, `sync`; for event loops `loop_wire`, `loops`, `listener`, `aio`,
`aio_friends`; for both `friends` and `forks`.

Invariants: every error is one of `encke.errors`. A message is sent
once: nothing is repeated behind the caller's back, for the server may have delivered
what it didn't answer. Only a listener reconnects by itself.

Proxies named in the environment are not used: most hold streams back, or cut them.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .aio import Client as Client
    from .aio import Messages as Messages
    from .aio_friends import AsyncFriends as AsyncFriends
    from .feed import Message as Message
    from .friends import Friends as Friends
    from .friends import Loaded as Loaded
    from .listener import Listener as Listener
    from .posts import Sent as Sent
    from .server import DEFAULT_CONTROL as DEFAULT_CONTROL
    from .server import DEFAULT_URL as DEFAULT_URL
    from .stream import Stream as Stream
    from .sync import Connection as Connection
    from .sync import connect as connect

__all__ = [
    "DEFAULT_CONTROL",
    "DEFAULT_URL",
    "AsyncFriends",
    "Client",
    "Connection",
    "Friends",
    "Listener",
    "Loaded",
    "Message",
    "Messages",
    "Sent",
    "Stream",
    "connect",
]

_PLACES = {
    "aio": ("Client", "Messages"),
    "aio_friends": ("AsyncFriends",),
    "feed": ("Message",),
    "friends": ("Friends", "Loaded"),
    "listener": ("Listener",),
    "posts": ("Sent",),
    "server": ("DEFAULT_CONTROL", "DEFAULT_URL"),
    "stream": ("Stream",),
    "sync": ("Connection", "connect"),
}


def __getattr__(name: str) -> object:
    """A name is imported when it's first used: a script needs no asyncio."""
    for place, names in _PLACES.items():
        if name in names:
            value: object = getattr(importlib.import_module(f".{place}", __name__), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
