"""Which store the settings mean. What a store takes is imported with it."""

from ..errors import StoreError
from .store import Store

POSTGRES = ("postgresql://", "postgres://")


def open_store(friends: str, data: str) -> Store:
    """The store itself, for who may wait for it; `friends` (settings.friends_store) is
    "sqlite", "off" or a URL, `data` a directory. Raises StoreError."""
    if friends == "sqlite":
        from .sqlite.store import SqliteStore

        return SqliteStore(data)
    if friends.startswith(POSTGRES):
        from .postgres.store import PostgresStore

        return PostgresStore(friends)
    raise no_store(friends)


def no_store(friends: str) -> StoreError:
    """What is wrong with `friends`."""
    if friends == "off":
        return StoreError("Friends are off: name a store with --friends.")
    return StoreError(f"No store has a name that begins like {friends[:12]!r}.")
