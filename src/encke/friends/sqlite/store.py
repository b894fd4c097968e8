"""The store in a file.

Invariants:
- What `add` and `remove` have returned for is on the disk: one transaction each, and SQLite
  syncs its log at the end of each (synchronous=FULL).
- The log (friends.sqlite-wal) is taken into the file every thousand pages, and when it was
  larger (a load) it's cut back after.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..store import PAGE_IDS, Degrees, Page, Pair, Progress, tell_nobody
from .file import FILE, SUBSCRIBERS, SUBSCRIPTIONS, connect, explained, migrate, page, transaction
from .keys import FIRST, Key, key
from .loading import load

PATIENCE = 60.0
"""Seconds to wait for another writer: a load may take some 20 to write a slice."""

LOG_LIMIT = 64 * 1024 * 1024
"""Bytes that the log keeps at most when it begins anew."""

PAIRS_READ = 5000
"""Pairs that are read at once when all are."""

_PAIRS = """
    SELECT publisher, subscriber FROM subscriptions
    WHERE (publisher, subscriber) > (?, ?) ORDER BY publisher, subscriber LIMIT ?
"""
_DEGREES = """
    SELECT degree, count(*) FROM (SELECT count(*) AS degree FROM subscriptions GROUP BY {})
    GROUP BY degree
"""


class SqliteStore:
    """A store.Store in the directory `data`, which is made if it's missing."""

    def __init__(self, data: str) -> None:
        """Raises StoreError."""
        self._file = Path(data) / FILE
        with explained(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._database = _opened(self._file)

    def add(self, pairs: Sequence[Pair]) -> int:
        return self._change("INSERT OR IGNORE INTO subscriptions VALUES (?, ?)", pairs)

    def remove(self, pairs: Sequence[Pair]) -> int:
        return self._change(
            "DELETE FROM subscriptions WHERE publisher = ? AND subscriber = ?", pairs
        )

    def subscribers(
        self, publisher: bytes, after: bytes | None = None, limit: int = PAGE_IDS
    ) -> Page:
        with explained(self._file):
            return page(self._database, SUBSCRIBERS, publisher, after, limit)

    def subscriptions(
        self, subscriber: bytes, after: bytes | None = None, limit: int = PAGE_IDS
    ) -> Page:
        with explained(self._file):
            return page(self._database, SUBSCRIPTIONS, subscriber, after, limit)

    def count_subscribers(self, publisher: bytes) -> int:
        return self._count("SELECT count(*) FROM subscriptions WHERE publisher = ?", publisher)

    def count_subscriptions(self, subscriber: bytes) -> int:
        return self._count("SELECT count(*) FROM subscriptions WHERE subscriber = ?", subscriber)

    def degrees(self) -> tuple[Degrees, Degrees]:
        with explained(self._file):
            subscribers = dict(self._database.execute(_DEGREES.format("publisher")))
            subscriptions = dict(self._database.execute(_DEGREES.format("subscriber")))
        return subscribers, subscriptions

    def pairs(self) -> Iterator[Pair]:
        last: tuple[Key | bytes, Key | bytes] = (FIRST, FIRST)
        while True:
            with explained(self._file):
                # a read that went on for as long as the pairs are drawn would let the log grow
                rows = self._database.execute(
                    _PAIRS, (*map(_bindable, last), PAIRS_READ)
                ).fetchall()
            for publisher, subscriber in rows:
                yield _id(subscriber), _id(publisher)
            if len(rows) < PAIRS_READ:
                return
            last = rows[-1]

    def load(self, pairs: Iterable[Pair], progress: Progress = tell_nobody) -> int:
        return load(self._file, self._database, pairs, progress)

    def close(self) -> None:
        self._database.close()

    def _change(self, statement: str, pairs: Sequence[Pair]) -> int:
        rows = [(key(publisher), key(subscriber)) for subscriber, publisher in pairs]
        if not rows:
            return 0
        with explained(self._file), transaction(self._database):
            return self._database.executemany(statement, rows).rowcount

    def _count(self, statement: str, id: bytes) -> int:
        with explained(self._file):
            return int(self._database.execute(statement, (key(id),)).fetchone()[0])


def _opened(file: Path) -> sqlite3.Connection:
    database = connect(file, create=True, patience=PATIENCE)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        migrate(database, file)
    except BaseException:
        database.close()
        raise
    return database


def _id(stored: int | bytes) -> bytes:
    return b"%d" % stored if isinstance(stored, int) else stored


def _bindable(stored: Key | bytes) -> Key:
    return stored.decode("ascii") if isinstance(stored, bytes) else stored
