"""Loading very many pairs: collected in a table of this connection alone, then merged in order.

::

    pairs --> fresh: a temporary table, in the order of arrival; nobody waits for it
                |
                |  a slice at a time, one transaction each
                v
              subscriptions, in order of (publisher, subscriber)

In order, since a tree whose entries come in order is written from left to right, each page once,
and nearly full. The other direction is another order. In a store that is empty it's built from
the table afterwards, sorted too, so the slice is large there; into a store that has subscriptions
each goes to its place, and slices are small, so that other writers needn't wait for long.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from ..store import Pair, Progress
from .file import BY_SUBSCRIBER, explained, transaction
from .keys import keys

FIRST_LOADED = 20_000_000
"""Pairs of a slice in an empty store: 200 MB in the temporary table, 20 s to merge."""

THEN_LOADED = 1_000_000
"""Pairs of a slice in any other store; some 5 s to merge."""

PAIRS_INSERTED = 100
"""Pairs that one statement takes: half the time of a statement a pair."""

CACHE_KIB = 16 * 1024
"""Memory for pages; SQLite sorts in pieces of that size, which fit the processor's cache better
than larger ones do."""

TELL_EVERY = 100_000
"""Pairs taken between two calls of `progress`."""

_INSERT = "INSERT INTO fresh VALUES "
_MERGE = """
    INSERT OR IGNORE INTO subscriptions
    SELECT publisher, subscriber FROM fresh ORDER BY publisher, subscriber
"""


def load(
    file: Path,
    database: sqlite3.Connection,
    unchanged: Callable[[], object],
    pairs: Iterable[Pair],
    progress: Progress,
) -> int:
    """See Store.load; what goes wrong in `pairs` comes through as it is.

    `unchanged` raises StoreError if `database` isn't `file` any more: then nothing is told safe.
    """
    taken = added = 0
    source = iter(pairs)
    with _collecting(file, database):
        while True:
            with explained(file):
                size = FIRST_LOADED if _is_empty(database) else THEN_LOADED
                database.execute("BEGIN")  # locks nothing: only the temporary table is written to
            fresh = 0
            while block := list(islice(source, min(PAIRS_INSERTED, size - fresh))):
                with explained(file):
                    _collect(database, block)
                fresh += len(block)
                if (taken + fresh) % TELL_EVERY < len(block):
                    progress(taken + fresh, taken)
            with explained(file):
                database.execute("COMMIT")
                added += _merge(database)
                unchanged()
            taken += fresh
            progress(taken, taken)
            if fresh < size:
                return added


@contextmanager
def _collecting(file: Path, database: sqlite3.Connection) -> Iterator[None]:
    """With a table for what is fresh, and settings for much of it."""
    with explained(file):
        (cache,) = database.execute("PRAGMA cache_size").fetchone()
        database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        database.execute("PRAGMA threads = 2")  # they help to sort
        # no affinity for subscriber, publisher: as in subscriptions
        database.execute("CREATE TEMPORARY TABLE fresh (subscriber, publisher)")
    try:
        yield
    finally:
        with explained(file):
            if database.in_transaction:
                database.execute("ROLLBACK")
            database.execute("DROP TABLE fresh")
            database.execute(f"PRAGMA cache_size = {cache}")
            database.execute("PRAGMA wal_checkpoint (TRUNCATE)")


def _collect(database: sqlite3.Connection, block: list[Pair]) -> None:
    database.execute(_INSERT + ",".join(["(?,?)"] * len(block)), keys(chain.from_iterable(block)))


def _is_empty(database: sqlite3.Connection) -> bool:
    return database.execute("SELECT 1 FROM subscriptions LIMIT 1").fetchone() is None


def _merge(database: sqlite3.Connection) -> int:
    with transaction(database):
        if _is_empty(database):
            database.execute("DROP INDEX subscriptions_reversed")
            added = database.execute(_MERGE).rowcount
            database.execute(BY_SUBSCRIBER)
        else:
            added = database.execute(_MERGE).rowcount
    database.execute("DELETE FROM fresh")
    return added
