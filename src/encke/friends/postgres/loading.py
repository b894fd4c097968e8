"""Loading very many pairs: copied into a table of this connection alone, then merged in order.

As in sqlite.loading. A store that is empty gets its indexes after the rows: half the time, but
the table is locked for as long, for readers too. That takes half a minute for fifteen million
pairs, in which nobody has any friends, and publishes are answered 503. Into a store
that has subscriptions slices are small, and only what is in them is locked.
"""

from collections.abc import Iterable
from itertools import islice

from ..store import Pair, Progress
from .database import BY_PUBLISHER, BY_SUBSCRIBER, Connection, connect, explained

FIRST_LOADED = 20_000_000
"""Pairs of a slice in an empty store: 700 MB in the temporary table."""

THEN_LOADED = 1_000_000
"""Pairs of a slice in any other store; some 15 s to merge."""

PAIRS_COPIED = 5000
"""Pairs that are written to the server at once."""

TELL_EVERY = 100_000
"""Pairs taken between two calls of `progress`."""

_MERGE = b"""
    INSERT INTO encke_subscriptions
    SELECT DISTINCT publisher, subscriber FROM fresh ORDER BY publisher, subscriber
    ON CONFLICT DO NOTHING
"""


def load(url: str, place: str, pairs: Iterable[Pair], progress: Progress) -> int:
    """See Store.load; what goes wrong in `pairs` comes through as it is."""
    with explained(place), connect(url) as connection:
        connection.execute(
            'CREATE TEMPORARY TABLE fresh (subscriber text COLLATE "C", publisher text COLLATE "C")'
        )
        # sorts in memory what it can; less than the server's own setting it needn't be
        connection.execute("SET work_mem = '256MB'")
        connection.execute("SET maintenance_work_mem = '256MB'")
        return _load(connection, iter(pairs), progress)


def _load(connection: Connection, source: Iterable[Pair], progress: Progress) -> int:
    taken = added = 0
    while True:
        size = FIRST_LOADED if _is_empty(connection) else THEN_LOADED
        fresh = 0
        with connection.cursor() as cursor, cursor.copy("COPY fresh FROM STDIN") as copy:
            while block := list(islice(source, min(PAIRS_COPIED, size - fresh))):
                copy.write(b"".join([b"%b\t%b\n" % pair for pair in block]))
                fresh += len(block)
                if (taken + fresh) % TELL_EVERY < len(block):
                    progress(taken + fresh, taken)
        added += _merge(connection)
        taken += fresh
        progress(taken, taken)
        if fresh < size:
            return added


def _is_empty(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM encke_subscriptions LIMIT 1").fetchone() is None


def _merge(connection: Connection) -> int:
    first = _is_empty(connection)
    with connection.transaction():
        if first:  # the lock comes before anything else, or two who load wait for each other
            connection.execute("LOCK TABLE encke_subscriptions IN ACCESS EXCLUSIVE MODE")
            first = _is_empty(connection)  # another one may have been faster
        if first:
            connection.execute(
                "ALTER TABLE encke_subscriptions DROP CONSTRAINT encke_subscriptions_pkey"
            )
            connection.execute("DROP INDEX encke_subscriptions_reversed")
        added = connection.execute(_MERGE).rowcount
        if first:
            connection.execute(BY_PUBLISHER)
            connection.execute(BY_SUBSCRIBER)
    connection.execute("TRUNCATE fresh")
    return added
