"""Encke: a comet server that holds a million browsers' connections, in plain Python.

>>> import encke
>>> server = encke.connect("http://127.0.0.1:8000")             # scripts, any number of threads
>>> server.send("123", "Hello World")
>>> await server.aio.send("123", "Hello World")                 # and of event loops
>>> async with encke.Client("http://127.0.0.1:8000") as client:  # asyncio programs
...     await client.send("123", "Hello World")

A name is imported when it is first used, not before: the server's processes import
this package too, and must not carry the client's libraries.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import errors as errors
    from .client import Client as Client
    from .client import Connection as Connection
    from .client import connect as connect

__all__ = ["Client", "Connection", "connect", "errors"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "errors":
        return importlib.import_module(".errors", __name__)
    value: object = getattr(importlib.import_module(".client", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
