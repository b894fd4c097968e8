"""The directory over the same file: the router reads it in its own process.

Nobody is subscribed to anyone as long as there's no file; it's looked for with every question,
and a file that was put in another's place is noticed within a second. Nothing is created here.

The file is mapped into memory, so that what is looked up again is read from the system's cache
without a call: two thirds of the time. These pages count as the process's, but they are the
system's to take back.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from ...errors import StoreError
from ..directory import MAX_ROWS, Done, Lookup
from ..store import Page
from .file import FILE, SUBSCRIBERS, connect, explained, first_pages, page, version_of

PATIENCE = 0.1
"""Seconds to wait for the file, which is locked for a moment only if its log is just being
recovered, or taken in by the last writer."""

LOOKUP = 8
"""What a lookup counts for, in rows, however few it finds: 500 lookups of nobody take as long as
one of 4,000."""

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the file is still the same."""

MAPPED = 1 << 40
"""Bytes of the file that are mapped at most; SQLite has a limit of its own, of 2 GB in most
builds, and reads what is beyond."""


class SqliteDirectory:
    """A directory.Directory over the file in `data`."""

    def __init__(self, data: str) -> None:
        self._file = Path(data) / FILE
        self._database: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._look_at = 0.0

    def ask(self, lookups: list[Lookup], done: Done) -> None:
        try:
            with explained(self._file):
                pages = self._look_up(lookups)
        except StoreError:
            self.close()  # opened anew by the next question
            raise
        done(pages)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _look_up(self, lookups: list[Lookup]) -> list[Page]:
        database = self._current()
        if database is None:
            return [Page([], more=False) for _ in lookups]
        pages: list[Page] = []
        rows = 0
        for found in _pages(database, lookups):
            pages.append(found)
            rows += LOOKUP + len(found.ids)
            if rows >= MAX_ROWS:
                break
        return pages

    def _current(self) -> sqlite3.Connection | None:
        """The file, opened, if there is one."""
        now = time.monotonic()
        if self._database is not None and now < self._look_at:
            return self._database
        self._look_at = now + LOOK_EVERY
        try:
            status = os.stat(self._file)
        except FileNotFoundError:
            self.close()
            return None
        identity = (status.st_dev, status.st_ino)
        if self._database is None or identity != self._identity:
            self.close()
            self._database, self._identity = self._opened(), identity
        return self._database

    def _opened(self) -> sqlite3.Connection | None:
        # for writing, since whoever reads a log may have to make its index (friends.sqlite-shm)
        database = connect(self._file, create=False, patience=PATIENCE)
        try:
            if version_of(database, self._file):
                database.execute("PRAGMA query_only = ON")
                database.execute(f"PRAGMA mmap_size = {MAPPED}")
                return database
        except BaseException:
            database.close()
            raise
        database.close()
        return None  # it's just being made


def _pages(database: sqlite3.Connection, lookups: list[Lookup]) -> Iterator[Page]:
    """Each lookup's page, read as it's drawn: first pages of the same size together."""
    for (first, most), some in groupby(lookups, lambda it: (it.after is None, it.limit)):
        limit = min(most, MAX_ROWS)
        if first:
            yield from first_pages(database, [it.publisher for it in some], limit)
        else:
            for it in some:
                yield page(database, SUBSCRIBERS, it.publisher, it.after, limit)
