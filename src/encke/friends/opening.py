"""Which store the settings mean.

May import: this room, errors, reactor.
"""

from ..errors import StoreError
from ..reactor.loop import Reactor
from .directory import Directory


def open_directory(reactor: Reactor, friends: str, data: str) -> Directory:  # noqa: ARG001
    """What a router asks; `friends` and `data` are the settings. Raises StoreError."""
    raise StoreError(f"There is no store {friends!r}.")
