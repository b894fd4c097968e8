"""The store in PostgreSQL: psycopg with its pool, for who may wait."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import psycopg_pool

from ..store import PAGE_IDS, Degrees, Page, Pair, Progress, tell_nobody
from .database import (
    TIMEOUT,
    Connection,
    check,
    connect,
    explained,
    integer,
    limited,
    migrate,
    where,
)
from .loading import load

POOL = 4
"""Connections at most."""

RECONNECT_TIMEOUT = 1.0
"""Seconds until an attempt to connect is given up; whoever asks next makes another one. Longer,
and the pool's pauses, which double, would outlast an outage."""

PAIRS_READ = 5000
"""Pairs that are read at once when all are."""

_ADD = """
    INSERT INTO encke_subscriptions SELECT * FROM unnest(%s::text[], %s::text[])
    ON CONFLICT DO NOTHING
"""
_REMOVE = """
    DELETE FROM encke_subscriptions s USING unnest(%s::text[], %s::text[]) g (p, q)
    WHERE s.publisher = g.p AND s.subscriber = g.q
"""
_SUBSCRIBERS = """
    SELECT subscriber FROM encke_subscriptions WHERE publisher = %s AND subscriber > %s
    ORDER BY subscriber LIMIT %s
"""
_SUBSCRIPTIONS = """
    SELECT publisher FROM encke_subscriptions WHERE subscriber = %s AND publisher > %s
    ORDER BY publisher LIMIT %s
"""
_PAIRS = """
    SELECT publisher, subscriber FROM encke_subscriptions
    WHERE (publisher, subscriber) > (%s, %s) ORDER BY publisher, subscriber LIMIT %s
"""
_DEGREES = """
    SELECT degree, count(*) FROM (SELECT count(*) AS degree FROM encke_subscriptions GROUP BY {})
    AS degrees GROUP BY degree
"""


class PostgresStore:
    """A store.Store in the database at `url`."""

    def __init__(self, url: str) -> None:
        """Raises StoreError."""
        self._url = url
        self._where = where(url)
        # what is wrong (the password, say) is told by a connection, not by the pool
        with explained(self._where), connect(url) as connection, limited(connection):
            migrate(connection, self._where)
        self._pool = psycopg_pool.ConnectionPool(
            url,
            min_size=0,
            max_size=POOL,
            timeout=TIMEOUT,
            reconnect_timeout=RECONNECT_TIMEOUT,
            kwargs={
                "connect_timeout": round(TIMEOUT), "application_name": "encke", "autocommit": True,
            },
            check=check,
            open=True,
        )  # fmt: skip

    def add(self, pairs: Sequence[Pair]) -> int:
        return self._change(_ADD, pairs)

    def remove(self, pairs: Sequence[Pair]) -> int:
        return self._change(_REMOVE, pairs)

    def subscribers(
        self, publisher: bytes, after: bytes | None = None, limit: int = PAGE_IDS
    ) -> Page:
        return self._page(_SUBSCRIBERS, publisher, after, limit)

    def subscriptions(
        self, subscriber: bytes, after: bytes | None = None, limit: int = PAGE_IDS
    ) -> Page:
        return self._page(_SUBSCRIPTIONS, subscriber, after, limit)

    def count_subscribers(self, publisher: bytes) -> int:
        return self._count(
            "SELECT count(*) FROM encke_subscriptions WHERE publisher = %s", publisher
        )

    def count_subscriptions(self, subscriber: bytes) -> int:
        return self._count(
            "SELECT count(*) FROM encke_subscriptions WHERE subscriber = %s", subscriber
        )

    def degrees(self) -> tuple[Degrees, Degrees]:
        return self._degrees("publisher"), self._degrees("subscriber")

    def pairs(self) -> Iterator[Pair]:
        last: tuple[object, ...] = ("", "")
        while True:
            with self._connection() as connection:
                rows = connection.execute(_PAIRS, (*last, PAIRS_READ)).fetchall()
            for publisher, subscriber in rows:
                yield str(subscriber).encode(), str(publisher).encode()
            if len(rows) < PAIRS_READ:
                return
            last = rows[-1]

    def load(self, pairs: Iterable[Pair], progress: Progress = tell_nobody) -> int:
        return load(self._url, self._where, pairs, progress)

    def close(self) -> None:
        self._pool.close()

    def _change(self, statement: str, pairs: Sequence[Pair]) -> int:
        # in one order, so that two who change the same don't wait for each other
        rows = sorted(
            {(publisher.decode(), subscriber.decode()) for subscriber, publisher in pairs}
        )
        if not rows:
            return 0
        columns = [[row[0] for row in rows], [row[1] for row in rows]]
        with self._connection() as connection:
            return connection.execute(statement.encode(), columns).rowcount

    def _page(self, statement: str, id: bytes, after: bytes | None, limit: int) -> Page:
        parameters = id.decode(), (after or b"").decode(), limit + 1
        with self._connection() as connection:
            rows = connection.execute(statement.encode(), parameters).fetchall()
        ids = [str(row[0]).encode() for row in rows]
        return Page(ids[:limit], len(ids) > limit)

    def _count(self, statement: str, id: bytes) -> int:
        with self._connection() as connection:
            return integer(connection, statement, id.decode())

    def _degrees(self, column: str) -> Degrees:
        with self._connection(takes_long=True) as connection:
            rows = connection.execute(_DEGREES.format(column).encode()).fetchall()
        return {int(str(degree)): int(str(users)) for degree, users in rows}

    @contextmanager
    def _connection(self, *, takes_long: bool = False) -> Iterator[Connection]:
        """A connection of the pool, for PATIENCE unless what's asked takes long; each statement
        is a transaction."""
        with (
            explained(self._where),
            self._pool.connection() as connection,
            nullcontext() if takes_long else limited(connection),
        ):
            yield connection
