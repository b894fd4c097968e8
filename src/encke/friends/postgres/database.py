"""The database: its schema, what it's called in messages, what its errors mean.

::

    encke_subscriptions             publisher, subscriber    primary key
    encke_subscriptions_reversed    subscriber, publisher    the other direction
    encke_schema                    version                  one row

Ids are sorted by their bytes (COLLATE "C"), whatever the database's language is.

Imports psycopg, as all of this room does: who may do without it imports the
room when it's needed.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import psycopg_pool
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ...errors import StoreError

VERSION = 1
"""Of the schema."""

TIMEOUT = 5.0
"""Seconds until a server that doesn't answer is away."""

PATIENCE = 60.0
"""Seconds until a statement that hasn't been answered is given up. It may wait for a load that
locks the table: as long as SQLite's writers wait for each other."""

_LOCK = 0x656E636B65  # "encke": of those who migrate at the same time, one does it

TABLE = """
    CREATE TABLE encke_subscriptions (
        publisher text COLLATE "C" NOT NULL,
        subscriber text COLLATE "C" NOT NULL
    )
"""
BY_PUBLISHER = "ALTER TABLE encke_subscriptions ADD PRIMARY KEY (publisher, subscriber)"
BY_SUBSCRIBER = (
    "CREATE INDEX encke_subscriptions_reversed ON encke_subscriptions (subscriber, publisher)"
)

_MIGRATIONS = ((TABLE, BY_PUBLISHER, BY_SUBSCRIBER),)
"""What makes schema k + 1 of schema k."""

Connection = psycopg.Connection[tuple[object, ...]]


def connect(url: str) -> Connection:
    """A connection whose statements are transactions of their own."""
    return psycopg.connect(
        url, connect_timeout=round(TIMEOUT), application_name="encke", autocommit=True
    )


@contextmanager
def limited(connection: Connection) -> Iterator[None]:
    """Hangs up after PATIENCE, and raises OperationalError, if the server doesn't answer.

    libpq has no such limit: its own (tcp_user_timeout, keepalives) are for a machine that's gone,
    and statement_timeout is kept by the server, which may be what hangs.
    """
    hung = threading.Event()

    def hang_up() -> None:
        hung.set()
        # OSError: it has ended by itself
        with suppress(OSError, psycopg.Error), _socket_of(connection) as its_own:
            its_own.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(PATIENCE, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except psycopg.OperationalError:
        if hung.is_set():
            raise psycopg.OperationalError(f"no answer for {PATIENCE:g} s") from None
        raise
    finally:
        timer.cancel()


def _socket_of(connection: Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))


def check(connection: Connection) -> None:
    """Raises OperationalError if `connection`, which was left alone for a while, is lost."""
    with limited(connection):
        psycopg_pool.ConnectionPool.check_connection(connection)


def migrate(connection: Connection, place: str) -> None:
    """Bring the schema up to date; raises StoreError if it's newer than this Encke."""
    if _version(connection, place) == VERSION:
        return  # it takes no right to create anything then
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        version = _version(connection, place)  # another process may have been faster
        if version == VERSION:
            return
        for step in _MIGRATIONS[version:]:
            for statement in step:
                connection.execute(statement.encode())
        connection.execute("CREATE TABLE IF NOT EXISTS encke_schema (version integer NOT NULL)")
        connection.execute("DELETE FROM encke_schema")
        connection.execute("INSERT INTO encke_schema VALUES (%s)", (VERSION,))


def _version(connection: Connection, place: str) -> int:
    # FROM pg_class, since without a table to read PostgreSQL wouldn't notice one made meanwhile
    if not integer(
        connection, "SELECT count(*) FROM pg_class WHERE oid = to_regclass('encke_schema')"
    ):
        return 0
    version = integer(connection, "SELECT max(version) FROM encke_schema")
    if version > VERSION:
        raise too_new(place, version)
    return version


def integer(connection: Connection, statement: str, *parameters: str) -> int:
    """The one number that `statement` yields."""
    row = connection.execute(statement.encode(), parameters).fetchone()
    assert row is not None
    return int(str(row[0]))


def where(url: str) -> str:
    """Host and database of `url`, without its password; raises StoreError if it is none."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise StoreError(
            "--friends is no URL of PostgreSQL's; write postgresql://USER:PASSWORD@HOST/DATABASE."
        ) from None
    host, port = parts.get("host", "localhost"), parts.get("port", 5432)
    return f"postgresql://{host}:{port}/{parts.get('dbname', '')}"


def host_of(url: str) -> tuple[str, int] | None:
    """Name and port of the one host that has to be looked up to connect to `url`."""
    parts = conninfo_to_dict(url)
    host = str(parts.get("host") or "")
    if not host or host[0] in "/@" or "," in host or "hostaddr" in parts:
        return None
    return host, int(parts.get("port") or 5432)


def at_addresses(url: str, addresses: list[str]) -> str:
    """`url`, to be tried at one of `addresses` after the other."""
    hosts = ",".join([str(conninfo_to_dict(url)["host"])] * len(addresses))
    return make_conninfo(url, host=hosts, hostaddr=",".join(addresses))


def too_new(place: str, version: int) -> StoreError:
    """A newer Encke has been here."""
    return StoreError(
        f"The friends at {place} are of a newer Encke (schema {version}, this one knows "
        f"{VERSION}): update Encke."
    )


def away(place: str, reason: str) -> StoreError:
    """PostgreSQL can't be used now; `reason` is libpq's word on it."""
    return StoreError(
        f"The friends at {place} can't be used: {' '.join(reason.split())}. See that PostgreSQL "
        "runs there, and that --friends has the right user, password and database."
    )


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turns what psycopg complains of into StoreError, which says what to do."""
    try:
        yield
    except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
        raise away(place, str(error)) from None
