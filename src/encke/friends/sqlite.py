"""Friends in an SQLite file: what a node that is alone has by default.

::

    subscriptions             publisher, subscriber    the table itself, sorted by both
    subscriptions_reversed    subscriber, publisher    the other direction

Invariants: what `add` and `remove` have returned for is on the disk (synchronous=FULL, one
transaction each). Readers don't wait for writers, nor these for them (WAL). A file of a newer
Encke isn't touched.

May import: errors, keys, store, directory. Imports sqlite3, so whoever may do without it imports
this when it's needed.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError
from .directory import Lookup
from .keys import Key, id_of, key
from .store import Page, Pair

FILE = "friends.sqlite"

VERSION = 1
"""Of the schema; kept in the file as user_version."""

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another writer."""

ROWS_A_TURN = 2_000
"""Subscribers read for one question: 1 to 2 ms."""

_MIGRATIONS = (
    """
    CREATE TABLE subscriptions (publisher, subscriber, PRIMARY KEY (publisher, subscriber))
    WITHOUT ROWID;
    CREATE INDEX subscriptions_reversed ON subscriptions (subscriber, publisher);
    """,
)
"""What makes schema k + 1 of schema k."""

_SUBSCRIBERS = (
    "SELECT subscriber FROM subscriptions WHERE publisher = ? ORDER BY subscriber LIMIT ?",
    """SELECT subscriber FROM subscriptions WHERE publisher = ? AND subscriber > ?
    ORDER BY subscriber LIMIT ?""",
)
_SUBSCRIPTIONS = (
    "SELECT publisher FROM subscriptions WHERE subscriber = ? ORDER BY publisher LIMIT ?",
    """SELECT publisher FROM subscriptions WHERE subscriber = ? AND publisher > ?
    ORDER BY publisher LIMIT ?""",
)

_DEGREES = """SELECT degree, count(*) FROM
    (SELECT count(*) AS degree FROM subscriptions GROUP BY {}) GROUP BY degree"""


class SqliteStore:
    """A store.Store in a file; `data` is its directory, which is made if it's missing."""

    def __init__(self, data: str) -> None:
        self._file = Path(data) / FILE
        with _explained(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self._file,
                timeout=BUSY_TIMEOUT,
                isolation_level=None,
                check_same_thread=False,  # whoever has it uses it from one thread at a time
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._migrate()

    def add(self, pairs: Sequence[Pair]) -> int:
        return self._change("INSERT OR IGNORE INTO subscriptions VALUES (?, ?)", pairs)

    def remove(self, pairs: Sequence[Pair]) -> int:
        return self._change(
            "DELETE FROM subscriptions WHERE publisher = ? AND subscriber = ?", pairs
        )

    def subscribers(self, publisher: bytes, after: bytes | None = None, limit: int = 1000) -> Page:
        with _explained(self._file):
            return _page(self._database, _SUBSCRIBERS, publisher, after, limit)

    def subscriptions(
        self, subscriber: bytes, after: bytes | None = None, limit: int = 1000
    ) -> Page:
        with _explained(self._file):
            return _page(self._database, _SUBSCRIPTIONS, subscriber, after, limit)

    def count_subscribers(self, publisher: bytes) -> int:
        return self._count("publisher", publisher)

    def count_subscriptions(self, subscriber: bytes) -> int:
        return self._count("subscriber", subscriber)

    def pairs(self) -> Iterator[Pair]:
        with _explained(self._file):
            for publisher, subscriber in self._database.execute(
                "SELECT publisher, subscriber FROM subscriptions"
            ):
                yield id_of(subscriber), id_of(publisher)

    def degrees(self) -> tuple[dict[int, int], dict[int, int]]:
        with _explained(self._file):
            subscribers, subscriptions = (
                dict(self._database.execute(_DEGREES.format(column)))
                for column in ("publisher", "subscriber")
            )
            return subscribers, subscriptions

    def close(self) -> None:
        self._database.close()

    def _change(self, statement: str, pairs: Sequence[Pair]) -> int:
        rows = [(key(publisher), key(subscriber)) for subscriber, publisher in pairs]
        with _explained(self._file), self._transaction():
            return self._database.executemany(statement, rows).rowcount if rows else 0

    def _count(self, column: str, id: bytes) -> int:
        with _explained(self._file):
            (count,) = self._database.execute(
                f"SELECT count(*) FROM subscriptions WHERE {column} = ?",  # noqa: S608 (ours)
                (key(id),),
            ).fetchone()
            return int(count)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _migrate(self) -> None:
        if _version(self._database) == VERSION:
            return
        with self._transaction():
            version = _version(self._database)  # another process may have been faster
            if version > VERSION:
                raise _too_new(self._file, version)
            for step in _MIGRATIONS[version:]:
                for statement in filter(str.strip, step.split(";")):
                    self._database.execute(statement)
            self._database.execute(f"PRAGMA user_version = {VERSION}")


class SqliteDirectory:
    """A directory.Directory over the same file: reads it in the router's own process.

    Nobody is subscribed to anyone as long as there's no file.
    """

    def __init__(self, data: str) -> None:
        self._file = Path(data) / FILE
        self._database: sqlite3.Connection | None = None

    def ask(self, lookups: list[Lookup], done: Callable[[list[Page] | None], None]) -> None:
        pages: list[Page] = []
        with _explained(self._file):
            database = self._database or self._open()
            left = ROWS_A_TURN
            for lookup in lookups:
                if database is None:
                    page = Page([], more=False)
                else:
                    page = _page(
                        database, _SUBSCRIBERS, lookup.publisher, lookup.after, lookup.limit
                    )
                pages.append(page)
                left -= len(page.ids) + 1
                if left <= 0:
                    break
        done(pages)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection | None:
        if not self._file.exists():
            return None
        database = sqlite3.connect(
            f"{self._file.absolute().as_uri()}?mode=ro", uri=True, timeout=0, isolation_level=None
        )
        try:
            database.execute("PRAGMA mmap_size = 1073741824")
            version = _version(database)
            if version > VERSION:
                raise _too_new(self._file, version)
            if not version:
                database.close()
                return None  # it's just being made
        except BaseException:
            database.close()
            raise
        self._database = database
        return database


def _page(
    database: sqlite3.Connection,
    statements: tuple[str, str],
    id: bytes,
    after: bytes | None,
    limit: int,
) -> Page:
    rows: list[tuple[Key]]
    if after is None:
        rows = database.execute(statements[0], (key(id), limit + 1)).fetchall()
    else:
        rows = database.execute(statements[1], (key(id), key(after), limit + 1)).fetchall()
    ids = [b"%d" % it if isinstance(it, int) else it.encode() for (it,) in rows]
    more = len(ids) > limit
    return Page(ids[:limit] if more else ids, more)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _too_new(file: Path, version: int) -> StoreError:
    return StoreError(
        f"{file} is of a newer Encke (schema {version}, this one knows {VERSION}): update "
        "Encke, or name another directory with --data."
    )


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turns what SQLite and the system complain of into StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"The friends in {file} can't be used: {error}. See that the directory may be written "
            "to, that its disk isn't full, and that the file is a database of Encke's."
        ) from error
    except OSError as error:
        raise StoreError(
            f"{file}: {error.strerror}. Name another directory with --data."
        ) from error
