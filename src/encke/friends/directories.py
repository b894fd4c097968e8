"""Which directory a router asks, as the settings have it. What it takes is imported with it."""

from ..reactor.loop import Reactor
from .directory import Directory
from .opening import POSTGRES, no_driver, no_store


def open_directory(reactor: Reactor, friends: str, data: str) -> Directory:
    """What a router asks. Raises StoreError."""
    if friends == "sqlite":
        from .sqlite.directory import SqliteDirectory

        return SqliteDirectory(data)
    if friends.startswith(POSTGRES):
        try:
            from .postgres.directory import PostgresDirectory
        except ImportError as error:
            raise no_driver(error) from None
        return PostgresDirectory(reactor, friends)
    raise no_store(friends)
