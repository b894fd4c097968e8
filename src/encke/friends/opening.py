"""Which store the settings mean. What a store takes is imported with it."""

from ..errors import StoreError
from ..extras import missing
from .store import Store

POSTGRES = ("postgresql://", "postgres://")


def open_store(friends: str, data: str) -> Store:
    """The store itself, for who may wait for it; `friends` (settings.friends_store) is
    "sqlite", "off" or a URL, `data` a directory. Raises StoreError."""
    if friends == "sqlite":
        from .sqlite.store import SqliteStore

        return SqliteStore(data)
    if friends.startswith(POSTGRES):
        try:
            from .postgres.store import PostgresStore
        except ImportError as error:
            raise no_driver(error) from None
        return PostgresStore(friends)
    raise no_store(friends)


def no_driver(error: ImportError) -> StoreError:
    """PostgreSQL can't be spoken to: `encke serve` has refused it, or what was there is gone."""
    return StoreError(str(missing("psycopg", error)))


def no_store(friends: str) -> StoreError:
    """What is wrong with `friends`."""
    if friends == "off":
        return StoreError("Friends are off: name a store with --friends.")
    return StoreError(f"No store has a name that begins like {friends[:12]!r}.")
