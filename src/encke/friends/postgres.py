"""Friends in PostgreSQL: for several nodes, or for a database that is there anyway.

::

    encke_subscriptions             publisher, subscriber    primary key
    encke_subscriptions_reversed    subscriber, publisher    the other direction
    encke_schema                    version                  one row

Ids are sorted by their bytes (COLLATE "C"), whatever the database's language is.

`PostgresStore` is psycopg with its pool, for who may wait; what a router asks is in
`postgres_directory`.

May import: errors, store. Imports psycopg, so whoever may do without it imports this when it's
needed.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import psycopg
import psycopg_pool
from psycopg.conninfo import conninfo_to_dict

from ..errors import StoreError
from .store import PAGE, Degrees, Page, Pair, Progress, tell_nobody

VERSION = 1
"""Of the schema."""

POOL = 4
"""Connections at most."""

TIMEOUT = 5.0
"""Seconds until a server that doesn't answer is away."""

RECONNECT_TIMEOUT = 1.0
"""Seconds until an attempt to connect is given up; whoever asks next makes another one. Longer,
and the pool's pauses, which double, would outlast an outage."""

BATCH = 10_000
"""Rows fetched at once where all are read."""

SLICE = 1_000_000
"""Pairs that `load` makes durable together."""

_MERGE = """
    INSERT INTO encke_subscriptions
    SELECT publisher, subscriber FROM fresh
    ORDER BY publisher COLLATE "C", subscriber COLLATE "C"
    ON CONFLICT DO NOTHING
"""

_LOCK = 0x656E636B65  # "encke": of those who migrate at the same time, one does it

_MIGRATIONS = (
    """
    CREATE TABLE encke_subscriptions (
        publisher text COLLATE "C" NOT NULL,
        subscriber text COLLATE "C" NOT NULL,
        PRIMARY KEY (publisher, subscriber)
    );
    CREATE INDEX encke_subscriptions_reversed ON encke_subscriptions (subscriber, publisher);
    """,
)
"""What makes schema k + 1 of schema k."""

_DEGREES = (
    """SELECT degree, count(*) FROM (SELECT count(*) AS degree FROM encke_subscriptions
    GROUP BY publisher) degrees GROUP BY degree""",
    """SELECT degree, count(*) FROM (SELECT count(*) AS degree FROM encke_subscriptions
    GROUP BY subscriber) degrees GROUP BY degree""",
)

Connection = psycopg.Connection[tuple[object, ...]]


class PostgresStore:
    """A store.Store in the database at `url`."""

    def __init__(self, url: str) -> None:
        self._where = where(url)
        self._pool = psycopg_pool.ConnectionPool(
            url,
            min_size=0,
            max_size=POOL,
            timeout=TIMEOUT,
            reconnect_timeout=RECONNECT_TIMEOUT,
            kwargs={"connect_timeout": round(TIMEOUT), "application_name": "encke"},
            check=psycopg_pool.ConnectionPool.check_connection,
            open=False,
        )
        try:
            # what is wrong (the password, say) is told by a connection, not by the pool
            with (
                self._explained(),
                psycopg.connect(
                    url, connect_timeout=round(TIMEOUT), application_name="encke"
                ) as connection,
            ):
                migrate(connection, self._where)
            self._pool.open()
        except BaseException:
            self._pool.close()
            raise

    def add(self, pairs: Sequence[Pair]) -> int:
        return self._change(
            "INSERT INTO encke_subscriptions SELECT * FROM unnest(%s::text[], %s::text[]) "
            "ON CONFLICT DO NOTHING",
            pairs,
        )

    def remove(self, pairs: Sequence[Pair]) -> int:
        return self._change(
            "DELETE FROM encke_subscriptions s USING unnest(%s::text[], %s::text[]) g (p, q) "
            "WHERE s.publisher = g.p AND s.subscriber = g.q",
            pairs,
        )

    def subscribers(self, publisher: bytes, after: bytes | None = None, limit: int = PAGE) -> Page:
        return self._page(
            "SELECT subscriber FROM encke_subscriptions WHERE publisher = %s AND subscriber > %s "
            "ORDER BY subscriber LIMIT %s",
            publisher,
            after,
            limit,
        )

    def subscriptions(
        self, subscriber: bytes, after: bytes | None = None, limit: int = PAGE
    ) -> Page:
        return self._page(
            "SELECT publisher FROM encke_subscriptions WHERE subscriber = %s AND publisher > %s "
            "ORDER BY publisher LIMIT %s",
            subscriber,
            after,
            limit,
        )

    def count_subscribers(self, publisher: bytes) -> int:
        return self._count(
            "SELECT count(*) FROM encke_subscriptions WHERE publisher = %s", publisher
        )

    def count_subscriptions(self, subscriber: bytes) -> int:
        return self._count(
            "SELECT count(*) FROM encke_subscriptions WHERE subscriber = %s", subscriber
        )

    def pairs(self) -> Iterator[Pair]:
        with (
            self._connection() as connection,
            connection.transaction(),
            connection.cursor("pairs") as cursor,
        ):
            cursor.itersize = BATCH
            for publisher, subscriber in cursor.execute(
                "SELECT publisher, subscriber FROM encke_subscriptions"
            ):
                yield str(subscriber).encode(), str(publisher).encode()

    def degrees(self) -> tuple[Degrees, Degrees]:
        with self._connection() as connection:
            subscribers, subscriptions = (
                {int(str(degree)): int(str(count)) for degree, count in connection.execute(it)}
                for it in _DEGREES
            )
        return subscribers, subscriptions

    def load(self, pairs: Iterable[Pair], progress: Progress = tell_nobody) -> int:
        taken = added = 0
        source = iter(pairs)
        while block := list(islice(source, SLICE)):
            with self._connection() as connection:
                connection.execute(
                    "CREATE TEMPORARY TABLE fresh (publisher text, subscriber text) ON COMMIT DROP"
                )
                with connection.cursor().copy("COPY fresh FROM STDIN") as copy:
                    for start in range(0, len(block), BATCH):
                        copy.write(
                            b"".join(
                                b"%b\t%b\n" % (publisher, subscriber)
                                for subscriber, publisher in block[start : start + BATCH]
                            )
                        )
                        progress(min(taken + start + BATCH, taken + len(block)), taken)
                added += connection.execute(_MERGE).rowcount
            taken += len(block)
            progress(taken, taken)
        return added

    def close(self) -> None:
        self._pool.close()

    def _change(self, statement: str, pairs: Sequence[Pair]) -> int:
        # in one order, so that two who change the same don't wait for each other
        rows = sorted(
            {(publisher.decode(), subscriber.decode()) for subscriber, publisher in pairs}
        )
        if not rows:
            return 0
        with self._connection() as connection:
            columns = [[row[0] for row in rows], [row[1] for row in rows]]
            return connection.execute(statement, columns).rowcount

    def _page(self, statement: str, id: bytes, after: bytes | None, limit: int) -> Page:
        with self._connection() as connection:
            rows = connection.execute(
                statement, (id.decode(), (after or b"").decode(), limit + 1)
            ).fetchall()
        ids = [str(row[0]).encode() for row in rows]
        return Page(ids[:limit], len(ids) > limit)

    def _count(self, statement: str, id: bytes) -> int:
        with self._connection() as connection:
            row = connection.execute(statement, (id.decode(),)).fetchone()
        return int(str(row[0])) if row else 0

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection of the pool; its changes are committed at the end."""
        with self._explained(), self._pool.connection() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
            raise away(self._where, str(error)) from None


def migrate(connection: Connection, place: str) -> None:
    """Bring the schema up to date; raises StoreError if it's newer than this Encke."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute("CREATE TABLE IF NOT EXISTS encke_schema (version integer NOT NULL)")
        row = connection.execute("SELECT max(version) FROM encke_schema").fetchone()
        version = int(str(row[0])) if row and row[0] is not None else 0
        if version > VERSION:
            raise StoreError(
                f"The friends at {place} are of a newer Encke (schema {version}, this one knows "
                f"{VERSION}): update Encke."
            )
        for step in _MIGRATIONS[version:]:
            connection.execute(step.encode())
        if version < VERSION:
            connection.execute("DELETE FROM encke_schema")
            connection.execute("INSERT INTO encke_schema VALUES (%s)", (VERSION,))


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


def away(place: str, reason: str) -> StoreError:
    """PostgreSQL can't be used now; `reason` is libpq's word on it."""
    return StoreError(
        f"The friends at {place} can't be used: {' '.join(reason.split())}. See that PostgreSQL "
        "runs there, and that --friends has the right user, password and database."
    )
