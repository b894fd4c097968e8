"""Which store the settings mean. What a store takes is imported with it.

May import: this room, errors, reactor.
"""

from ..errors import StoreError
from ..reactor.loop import Reactor
from .directory import Directory
from .store import Store

_POSTGRES = ("postgresql://", "postgres://")


def open_store(friends: str, data: str) -> Store:
    """The store itself, for who may wait for it; `friends` (settings.friends_store) is
    "sqlite", "off" or a URL, `data` a directory. Raises StoreError."""
    if friends == "sqlite":
        from .sqlite.store import SqliteStore

        return SqliteStore(data)
    if friends.startswith(_POSTGRES):
        from .postgres import PostgresStore

        return PostgresStore(friends)
    raise _none(friends)


def open_directory(reactor: Reactor, friends: str, data: str) -> Directory:
    """What a router asks. Raises StoreError."""
    if friends == "sqlite":
        from .sqlite.directory import SqliteDirectory

        return SqliteDirectory(data)
    if friends.startswith(_POSTGRES):
        from .postgres_directory import PostgresDirectory

        return PostgresDirectory(reactor, friends)
    raise _none(friends)


def _none(friends: str) -> StoreError:
    if friends == "off":
        return StoreError("Friends are off: name a store with --friends.")
    return StoreError(f"No store has a name that begins like {friends[:12]!r}.")
