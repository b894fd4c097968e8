"""What a router asks PostgreSQL, on the router's own loop: it must never wait.

One connection, made and used through libpq's non-blocking calls (psycopg.pq), its socket
in the reactor. A question is one prepared statement for many publishers, whose answer has a row
each: the subscribers, commas between them, which no id has.

::

    AWAY --ask, or after a pause--> CONNECTING --> CHECKING --> PREPARING --> IDLE <--> ASKED
      ^                                 |           |    ^          |                     |
      |                                 |           v    | ask      |                     |
      |                                 |          EMPTY-+          |                     |
      +---------------------------------+----------- an error, or TIMEOUT ----------------+

CHECKING asks which schema is there. As long as there's none, which is EMPTY, nobody is
subscribed to anyone. PREPARING ends with a question about nobody (PROVING), since only an answer
shows that the tables may be read; with that the attempt has succeeded. While it's being connected
for the first time a question waits; once that has failed, questions are answered at once with
None until a later attempt succeeds.
"""

import contextlib
import enum
import random
import time
from collections.abc import Iterator

import psycopg
from psycopg import pq

from ... import log
from ...reactor.loop import GONE, IN, OUT, Reactor
from ...reactor.resolver import Address, Resolver
from ..directory import MAX_ROWS, Done, Lookup
from ..store import Page
from .database import TIMEOUT, VERSION, at_addresses, away, host_of, too_new, where

TICK = 0.1
"""Seconds between looks at the clock."""

PAUSES = (0.1, 5.0)
"""Seconds until the next attempt: after the first failure, and at most."""

LOOKUPS = 128
"""Lookups of one question: of the typical 15 subscribers each, half as many as MAX_ROWS."""

_CHECK = b"SELECT max(version) FROM encke_schema"

_NO_SUCH_TABLE = b"42P01"

_STATEMENT = b"""
    SELECT string_agg(subscriber, ',' ORDER BY subscriber)
    FROM (
        SELECT place, subscriber
        FROM unnest($1::text[], $2::text[], $3::integer[])
            WITH ORDINALITY AS asked (publisher, after, most, place)
        LEFT JOIN LATERAL (
            SELECT subscriber FROM encke_subscriptions AS s
            WHERE s.publisher = asked.publisher AND s.subscriber > asked.after
            ORDER BY s.subscriber LIMIT asked.most
        ) AS found ON true
        ORDER BY place LIMIT %d
    ) AS found
    GROUP BY place ORDER BY place
""" % (MAX_ROWS + 1)
"""Goes no further than so many rows: the last lookup of a full answer may be cut short."""

_NAME = b"subscribers"


class _State(enum.Enum):
    AWAY = enum.auto()
    CONNECTING = enum.auto()
    CHECKING = enum.auto()
    EMPTY = enum.auto()
    PREPARING = enum.auto()
    PROVING = enum.auto()
    IDLE = enum.auto()
    ASKED = enum.auto()


class PostgresDirectory:
    """A directory.Directory over the database at `url`."""

    def __init__(self, reactor: Reactor, url: str) -> None:
        """Raises StoreError if `url` is none."""
        self._reactor = reactor
        self._url = url
        self._where = where(url)
        self._resolver: Resolver | None = None
        self._connection: pq.abc.PGconn | None = None
        self._fd = -1
        self._state = _State.AWAY
        self._deadline = 0.0
        self._next_attempt = 0.0
        self._failures = 0
        self._question: tuple[list[Lookup], Done] | None = None
        self._result: pq.abc.PGresult | None = None
        self._closed = False
        reactor.every(TICK, self._tick)

    def ask(self, lookups: list[Lookup], done: Done) -> None:
        if self._state is _State.AWAY and (self._failures or self._closed):
            done(None)
            return
        self._question = lookups[:LOOKUPS], done
        match self._state:
            case _State.AWAY:
                self._connect()
            case _State.EMPTY:
                self._check()
            case _State.IDLE:
                self._send_question()

    def close(self) -> None:
        self._closed = True
        self._question = None
        self._reset()

    # the connection

    def _connect(self) -> None:
        """Look the host up, which libpq would wait for, and connect."""
        self._enter(_State.CONNECTING)
        host = host_of(self._url)
        if host is None:
            self._open(self._url)
        else:
            self._resolver = Resolver(self._reactor, *host, self._resolved)

    def _resolved(self, addresses: list[Address] | OSError) -> None:
        self._resolver = None
        if isinstance(addresses, OSError):
            self._lost(addresses.strerror or str(addresses))
        else:
            self._open(at_addresses(self._url, [str(address[0]) for _, address in addresses]))

    def _open(self, url: str) -> None:
        with self._losing():
            self._connection = pq.PGconn.connect_start(url.encode())
            self._poll()

    def _poll(self) -> None:
        """Go on with connecting."""
        connection = self._connection
        assert connection is not None
        status = connection.connect_poll()
        if status == pq.PollingStatus.OK:
            connection.nonblocking = 1
            self._check()
        elif status == pq.PollingStatus.FAILED:
            self._lost(connection.get_error_message())
        else:
            self._wait_for(IN if status == pq.PollingStatus.READING else OUT)

    def _check(self) -> None:
        """Ask which schema is there."""
        self._enter(_State.CHECKING)
        with self._losing():
            self._connected.send_query_params(_CHECK, None)
            self._flush()

    @property
    def _connected(self) -> pq.abc.PGconn:
        assert self._connection is not None
        return self._connection

    def _wait_for(self, events: int) -> None:
        """Wait for the connection's socket, which may have become another one."""
        fd = self._connected.socket
        # libpq may have closed one and opened another under the same number
        self._forget()
        self._reactor.add(fd, events, self._ready)
        self._fd = fd

    def _forget(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # libpq may have closed it
                self._reactor.remove(self._fd)
            self._fd = -1

    def _ready(self, events: int) -> None:
        with self._losing():
            if self._state is _State.CONNECTING:
                self._poll()
                return
            if events & OUT:
                self._flush()
            if events & (IN | GONE):
                self._read()

    def _flush(self) -> None:
        unwritten = self._connected.flush()
        self._wait_for(IN | OUT if unwritten else IN)

    def _read(self) -> None:
        connection = self._connected
        connection.consume_input()
        if self._state in (_State.IDLE, _State.EMPTY):
            if connection.status == pq.ConnStatus.BAD:
                self._lost("the server ended the connection")
            return
        while not connection.is_busy():
            result = connection.get_result()
            if result is None:
                self._has_come()
                return
            self._result = result

    # what the server says

    def _has_come(self) -> None:
        """The whole result has."""
        result, self._result = self._result, None
        assert result is not None
        if self._state is _State.CHECKING and _lacks_a_table(result):
            self._checked(0)
        elif result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            self._lost(result.get_error_message())
        elif self._state is _State.CHECKING:
            self._checked(int(result.get_value(0, 0) or 0))
        elif self._state is _State.PREPARING:
            self._enter(_State.PROVING)
            self._connected.send_query_prepared(_NAME, [b"{}"] * 3)
            self._flush()
        elif self._state is _State.PROVING:
            log.info("friends-connected", where=self._where)
            self._failures = 0
            self._enter(_State.IDLE)
            if self._question is not None:
                self._send_question()
        else:
            self._enter(_State.IDLE)
            self._answer(result)

    def _checked(self, version: int) -> None:
        if version > VERSION:
            self._lost(str(too_new(self._where, version)))
        elif version == VERSION:
            self._enter(_State.PREPARING)
            self._connected.send_prepare(_NAME, _STATEMENT)
            self._flush()
        else:  # the store that makes the schema has yet to be opened
            self._failures = 0
            self._enter(_State.EMPTY)
            if self._question is not None:
                (lookups, done), self._question = self._question, None
                done([Page([], more=False) for _ in lookups])

    def _send_question(self) -> None:
        assert self._question is not None
        lookups, _ = self._question
        self._enter(_State.ASKED)
        parameters = [
            _array([each.publisher for each in lookups]),
            _array([each.after or b"" for each in lookups]),
            b"{%b}" % b",".join(b"%d" % (min(each.limit, MAX_ROWS) + 1) for each in lookups),
        ]
        with self._losing():
            self._connected.send_query_prepared(_NAME, parameters)
            self._flush()

    def _answer(self, result: pq.abc.PGresult) -> None:
        assert self._question is not None
        (lookups, done), self._question = self._question, None
        pages: list[Page] = []
        rows = 0
        for row, lookup in enumerate(lookups[: result.ntuples]):
            value = result.get_value(row, 0)
            ids = value.split(b",") if value else []
            rows += len(ids) or 1
            if rows > MAX_ROWS and pages:
                break  # it may be cut short
            limit = min(lookup.limit, MAX_ROWS)
            pages.append(Page(ids[:limit], len(ids) > limit))
        done(pages)

    # the end of a connection

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """With an error of libpq, the connection is lost."""
        try:
            yield
        except psycopg.Error as error:
            self._lost(str(error))

    def _lost(self, reason: str) -> None:
        first, longest = PAUSES
        pause = min(longest, first * 2.0 ** min(self._failures, 16)) * random.uniform(0.5, 1)
        self._failures += 1
        self._next_attempt = time.monotonic() + pause
        if self._failures == 1:
            log.error("friends-unavailable", reason=away(self._where, reason))
        self._reset()

    def _reset(self) -> None:
        if self._resolver is not None:
            self._resolver.cancel()
            self._resolver = None
        self._forget()
        if self._connection is not None:
            self._connection.finish()
            self._connection = None
        self._result = None
        self._enter(_State.AWAY)
        if self._question is not None:
            (_, done), self._question = self._question, None
            done(None)

    def _enter(self, state: _State) -> None:
        self._state = state
        self._deadline = time.monotonic() + TIMEOUT

    def _tick(self) -> None:
        if self._closed:
            return
        now = time.monotonic()
        if self._state is _State.AWAY:
            if self._failures and now >= self._next_attempt:
                self._connect()
        elif self._state not in (_State.IDLE, _State.EMPTY) and now > self._deadline:
            self._lost(f"no answer for {TIMEOUT:g} s")


def _lacks_a_table(result: pq.abc.PGresult) -> bool:
    return result.error_field(pq.DiagnosticField.SQLSTATE) == _NO_SUCH_TABLE


def _array(ids: list[bytes]) -> bytes:
    """An array as PostgreSQL writes it; in quotes, or an id NULL would be none."""
    return b'{"%b"}' % b'","'.join(ids)
