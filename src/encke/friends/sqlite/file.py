"""The file: its schema, how it's opened, what its errors mean.

::

    subscriptions             publisher, subscriber    the table itself, sorted by both
    subscriptions_reversed    subscriber, publisher    the other direction

Invariants:
- Readers don't wait for writers, nor these for them: the file is in WAL mode.
- It isn't mapped into memory: who reads a page that was cut off from a mapped file dies of it.
- A file of a newer Encke isn't touched.

An id comes out of it as it travels: SQLite gives a number's digits, a text's bytes, and the
ids of a page in one string, with blanks between them, since no id has one. That takes two
thirds of the time that a row an id would take. Many publishers are asked for in one statement,
which takes half of the time of a statement each.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ...errors import StoreError
from ..store import Page
from .keys import FIRST, Key, key, keys
from .names import Names, alone, look, take_away, write_down
from .place import unusable

BY_SUBSCRIBER = "CREATE INDEX subscriptions_reversed ON subscriptions (subscriber, publisher)"

MIGRATIONS = (
    (
        """
        CREATE TABLE subscriptions (
            publisher NOT NULL, subscriber NOT NULL, PRIMARY KEY (publisher, subscriber)
        ) WITHOUT ROWID
        """,
        BY_SUBSCRIBER,
    ),
)
"""What makes schema k + 1 of schema k."""

VERSION = len(MIGRATIONS)
"""Of the schema; kept in the file as user_version."""

SUBSCRIBERS = """
    SELECT group_concat(subscriber, ' ') FROM (
        SELECT subscriber FROM subscriptions
        WHERE publisher = ? AND subscriber > ? ORDER BY subscriber LIMIT ?
    )
"""
FIRST_SUBSCRIBERS = """
    SELECT (
        SELECT group_concat(subscriber, ' ') FROM (
            SELECT subscriber FROM subscriptions
            WHERE publisher = asked.value ORDER BY subscriber LIMIT ?
        )
    ) FROM json_each(?) AS asked
"""
"""Of the publishers in a JSON array, a row each, in the array's order."""

SUBSCRIPTIONS = """
    SELECT group_concat(publisher, ' ') FROM (
        SELECT publisher FROM subscriptions
        WHERE subscriber = ? AND publisher > ? ORDER BY publisher LIMIT ?
    )
"""

_WHAT_TO_DO = {
    sqlite3.SQLITE_NOTADB: "It is no database of Encke's: move it away, or name another "
    "directory with --data.",
    sqlite3.SQLITE_CORRUPT: "It is damaged: put a backup in its place, or move it away (with "
    "friends.sqlite-wal and friends.sqlite-shm, if there are any) and load the friends anew.",
    sqlite3.SQLITE_FULL: "The disk is full: make room on it, or move --data to a larger one.",
    sqlite3.SQLITE_READONLY: "It can't be written to: let the user that Encke runs as write to "
    "the file and its directory, or name another directory with --data.",
    sqlite3.SQLITE_CANTOPEN: "It can't be opened: let the user that Encke runs as read and write "
    "the file and its directory, or name another directory with --data.",
    sqlite3.SQLITE_BUSY: "Another program is writing to it, and takes long: try again later.",
}


def connect(file: Path, *, write: bool, patience: float) -> sqlite3.Connection:
    """A connection to `file` that waits `patience` seconds for other writers.

    One thread at a time may use it, whichever. Who writes creates the file; who only reads leaves
    the log alone when it closes, whoever has its name by then.
    """
    database = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={'rwc' if write else 'ro'}",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
    )
    database.text_factory = bytes
    database.execute("PRAGMA mmap_size = 0")  # SQLite may have been built with another default
    return database


def opened(
    file: Path, prepare: Callable[[sqlite3.Connection], None], *, write: bool, patience: float
) -> tuple[sqlite3.Connection, Names]:
    """A connection to `file`, which `prepare` has used, and the files that it's to.

    What `prepare` raises comes through.
    """
    with alone(file, patience):
        while True:
            take_away(file)
            before = look(file).database
            database = connect(file, write=write, patience=patience)
            try:
                prepare(database)
            except BaseException:
                database.close()
                raise
            names = look(file)
            if before in (None, names.database):
                write_down(file, names)
                return database, names
            database.close()
            write_down(file, Names(before, names.log, names.index))  # the name was given away


def version_of(database: sqlite3.Connection, file: Path) -> int:
    """The version of its schema; raises StoreError if that is one we don't know."""
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise StoreError(
            f"{file} is of a newer Encke (schema {version}, this one knows {VERSION}): update "
            "Encke, or name another directory with --data."
        )
    return version


def migrate(database: sqlite3.Connection, file: Path) -> None:
    """Bring the schema to VERSION, in one transaction."""
    if version_of(database, file) == VERSION:
        return
    with transaction(database):
        version = version_of(database, file)  # another process may have been faster
        for step in MIGRATIONS[version:]:
            for statement in step:
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is done within, or nothing of it."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def page(
    database: sqlite3.Connection, statement: str, id: bytes, after: bytes | None, limit: int
) -> Page:
    """A page of `statement`: SUBSCRIBERS or SUBSCRIPTIONS."""
    behind: Key = FIRST if after is None else key(after)
    joined: bytes | None
    (joined,) = database.execute(statement, (key(id), behind, limit + 1)).fetchone()
    return _page(joined, limit)


def first_pages(
    database: sqlite3.Connection, publishers: Sequence[bytes], limit: int
) -> Iterator[Page]:
    """The first subscribers of each of `publishers`; each page is read as it's drawn."""
    asked = msgspec.json.encode(keys(publishers)).decode()
    for (joined,) in database.execute(FIRST_SUBSCRIBERS, (limit + 1, asked)):
        yield _page(joined, limit)


def _page(joined: bytes | None, limit: int) -> Page:
    """The page of at most `limit` that SQLite has looked up one more of."""
    ids = joined.split() if joined is not None else []
    more = len(ids) > limit
    if more:
        ids.pop()
    return Page(ids, more)


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Turns what SQLite and the system complain of into StoreError, which says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = _code_of(error)
        if code == sqlite3.SQLITE_CANTOPEN and not file.exists():
            todo = f"There is none: make {file.parent} a directory that can be written to."
        else:
            todo = _WHAT_TO_DO.get(code, "Look at the file, its directory and its disk.")
        raise StoreError(f"The friends in {file} can't be used: {error}. {todo}") from error
    except OSError as error:
        raise unusable(file.parent, f"{error.filename or file}: {error.strerror}") from error


def is_damaged(error: StoreError) -> bool:
    """Whether the file isn't what it was, or should be."""
    return _code_of(error.__cause__) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _code_of(error: BaseException | None) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
