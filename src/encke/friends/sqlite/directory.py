"""The directory over the same file: the router reads it in its own process.

Nobody is subscribed to anyone as long as there's no file. What has its names is looked at before
a question, so that a file that was put in another's place is read from then on, and a log's index
that was cut off, which is mapped (names.py), isn't touched any more. Nothing is created here but
that index.
"""

import sqlite3
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from ...errors import StoreError
from ..directory import MAX_ROWS, Done, Lookup
from ..store import Page
from .file import SUBSCRIBERS, explained, first_pages, opened, page, version_of
from .names import Names, index_is_cut, look
from .place import FILE, INDEX

PATIENCE = 0.1
"""Seconds to wait for the file, which is locked for a moment only if its log is just being
recovered, or taken in by the last writer."""

LOOK_EVERY = 0.01
"""Seconds between two looks at the names: each takes 10 to 20 us, as long as a lookup. Whether the
index is cut is seen before each, since who reads it then dies."""

LOOKUP = 8
"""What a lookup counts for, in rows, however few it finds: 500 lookups of nobody take as long as
one of 4,000."""


class SqliteDirectory:
    """A directory.Directory over the file in `data`."""

    def __init__(self, data: str) -> None:
        self._file = Path(data) / FILE
        self._index = f"{self._file}{INDEX}"
        self._database: sqlite3.Connection | None = None
        self._names = Names()
        self._version = 0
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
        looked = self._database is not None and now < self._look_at
        if looked and not index_is_cut(self._index):
            return self._database
        self._look_at = now + LOOK_EVERY
        if self._database is None or look(self._file) != self._names:
            self.close()
            if self._file.exists():
                self._database, self._names = opened(
                    self._file, self._read, write=False, patience=PATIENCE
                )
        if self._version == 0:
            self.close()  # it's just being made
        return self._database

    def _read(self, database: sqlite3.Connection) -> None:
        self._version = version_of(database, self._file)


def _pages(database: sqlite3.Connection, lookups: list[Lookup]) -> Iterator[Page]:
    """Each lookup's page, read as it's drawn: first pages of the same size together."""
    for (first, most), some in groupby(lookups, lambda it: (it.after is None, it.limit)):
        limit = min(most, MAX_ROWS)
        if first:
            yield from first_pages(database, [it.publisher for it in some], limit)
        else:
            for it in some:
                yield page(database, SUBSCRIBERS, it.publisher, it.after, limit)
