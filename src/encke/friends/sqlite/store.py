"""The store in a file.

Invariants:
- What `add` and `remove` have returned for is on the disk: one transaction each, and SQLite
  syncs its log at the end of each (synchronous=FULL).
- A change that was made to a file which another one has taken the place of meanwhile isn't
  acknowledged: it's made to that one.
- The log (friends.sqlite-wal) is taken into the file every thousand pages, and when it was
  larger (a load) it's cut back after.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import StoreError
from ..store import PAGE_IDS, Degrees, Page, Pair, Progress, tell_nobody
from .file import (
    SUBSCRIBERS,
    SUBSCRIPTIONS,
    connect,
    explained,
    is_damaged,
    migrate,
    opened,
    page,
    transaction,
    version_of,
)
from .keys import FIRST, Key, key
from .loading import load
from .names import Names, look
from .place import FILE, LOG, make

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
        self._names = Names()
        self._usable = False
        with self._explained():
            self._open()

    def add(self, pairs: Sequence[Pair]) -> int:
        return self._change("INSERT OR IGNORE INTO subscriptions VALUES (?, ?)", pairs)

    def remove(self, pairs: Sequence[Pair]) -> int:
        return self._change(
            "DELETE FROM subscriptions WHERE publisher = ? AND subscriber = ?", pairs
        )

    def subscribers(
        self, publisher: bytes, after: bytes | None = None, limit: int = PAGE_IDS
    ) -> Page:
        with self._explained():
            return page(self._current(), SUBSCRIBERS, publisher, after, limit)

    def subscriptions(
        self, subscriber: bytes, after: bytes | None = None, limit: int = PAGE_IDS
    ) -> Page:
        with self._explained():
            return page(self._current(), SUBSCRIPTIONS, subscriber, after, limit)

    def count_subscribers(self, publisher: bytes) -> int:
        return self._count("SELECT count(*) FROM subscriptions WHERE publisher = ?", publisher)

    def count_subscriptions(self, subscriber: bytes) -> int:
        return self._count("SELECT count(*) FROM subscriptions WHERE subscriber = ?", subscriber)

    def degrees(self) -> tuple[Degrees, Degrees]:
        with self._explained():
            database = self._current()
            subscribers = dict(database.execute(_DEGREES.format("publisher")))
            subscriptions = dict(database.execute(_DEGREES.format("subscriber")))
        return subscribers, subscriptions

    def pairs(self) -> Iterator[Pair]:
        last: tuple[Key | bytes, Key | bytes] = (FIRST, FIRST)
        while True:
            with self._explained():
                database = self._current() if last == (FIRST, FIRST) else self._unchanged()
                # a read that went on for as long as the pairs are drawn would let the log grow
                rows = database.execute(_PAIRS, (*map(_bindable, last), PAIRS_READ)).fetchall()
            for publisher, subscriber in rows:
                yield _id(subscriber), _id(publisher)
            if len(rows) < PAIRS_READ:
                return
            last = rows[-1]

    def load(self, pairs: Iterable[Pair], progress: Progress = tell_nobody) -> int:
        with self._explained():
            database = self._current()
        return load(self._file, database, self._unchanged, pairs, progress)

    def close(self) -> None:
        with suppress(sqlite3.Error):
            # nobody else may be there to do it: so a log that is found has nothing in it
            self._database.execute("PRAGMA busy_timeout = 0")
            self._database.execute("PRAGMA wal_checkpoint (TRUNCATE)")
        self._let_go()

    def _change(self, statement: str, pairs: Sequence[Pair]) -> int:
        rows = [(key(publisher), key(subscriber)) for subscriber, publisher in pairs]
        if not rows:
            return 0
        with self._explained():
            while True:
                database = self._current()
                with transaction(database):
                    changed = database.executemany(statement, rows).rowcount
                if self._keeps():
                    return changed

    def _count(self, statement: str, id: bytes) -> int:
        with self._explained():
            return int(self._current().execute(statement, (key(id),)).fetchone()[0])

    # which file it is

    def _current(self) -> sqlite3.Connection:
        """The connection to the file that has the name now."""
        if not self._keeps():
            self._let_go()
            self._open()
        return self._database

    def _unchanged(self) -> sqlite3.Connection:
        """The connection; raises StoreError if other files have got the names."""
        if look(self._file) != self._names:
            raise StoreError(
                f"Another file was put in the place of {self._file} meanwhile: begin anew."
            )
        return self._database

    def _keeps(self) -> bool:
        """Whether what was written is in the file that has the name, or in its log."""
        now, names = look(self._file), self._names
        if now == names and self._usable:
            return True
        if now.database != names.database:
            return False
        if self._usable and now.log != names.log:
            # it was removed, so who comes next wouldn't find it: into the file with it
            busy, *_ = self._database.execute("PRAGMA wal_checkpoint (FULL)").fetchone()
            if busy:
                raise StoreError(f"{self._file}{LOG} was removed, and is in use: try again.")
        self._let_go()
        self._open()
        return True

    def _open(self) -> None:
        make(str(self._file))
        self._database, self._names = opened(
            self._file, self._prepare, write=True, patience=PATIENCE
        )
        migrate(self._database, self._file)
        self._usable = True

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """A file that turned out to be damaged is opened anew the next time: it may have been
        written over, and SQLite remembers pages of what was there before."""
        try:
            with explained(self._file):
                yield
        except StoreError as error:
            self._usable &= not is_damaged(error)
            raise

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        version_of(database, self._file)
        self._reader = connect(self._file, write=False, patience=PATIENCE)
        version_of(self._reader, self._file)

    def _let_go(self) -> None:
        """Close the file. The last connection that may write deletes, by its name, the log, which
        may be that of another file by now; so the last one is one that only reads."""
        self._usable = False
        self._database.close()
        self._reader.close()


def _id(stored: int | bytes) -> bytes:
    return b"%d" % stored if isinstance(stored, int) else stored


def _bindable(stored: Key | bytes) -> Key:
    return stored.decode("ascii") if isinstance(stored, bytes) else stored
