"""What a router asks PostgreSQL, on the router's own loop: it must never wait.

One connection, made and used through libpq's non-blocking calls (psycopg.pq), its socket
in the reactor. A question is one prepared statement for many publishers, whose answer has a row
each: the subscribers, commas between them, which no id has.

::

    AWAY --ask, or after a pause--> CONNECTING --> PREPARING --> IDLE <--> ASKED
      ^                                  |             |                     |
      +----------------------------------+--- an error, or TIMEOUT ----------+

While it's being connected for the first time the question waits; once that has failed,
questions are answered at once with None until a later attempt succeeds.

Only the name of the server is resolved in a blocking way, by libpq; name an address where
that can take long.

May import: directory, postgres, log, reactor.
"""

import contextlib
import enum
import random
import time
from collections.abc import Callable

from psycopg import pq

from .. import log
from ..reactor.loop import GONE, IN, OUT, Reactor
from .directory import Lookup
from .postgres import TIMEOUT, away, where
from .store import Page

TICK = 0.1
"""Seconds between looks at the clock."""

PAUSES = (0.1, 5.0)
"""Seconds until the next attempt: after the first failure, and at most."""

ROWS_A_QUESTION = 16 * 1024
"""Subscribers that one question may ask for: some 15 ms of the server's time at the most."""

_STATEMENT = b"""
SELECT (
    SELECT string_agg(s.subscriber, ',' ORDER BY s.subscriber)
    FROM (
        SELECT subscriber FROM encke_subscriptions
        WHERE publisher = asked.publisher AND subscriber > asked.after
        ORDER BY subscriber LIMIT asked.most
    ) s
)
FROM unnest($1::text[], $2::text[], $3::integer[])
    WITH ORDINALITY AS asked (publisher, after, most, place)
ORDER BY place
"""

_NAME = b"subscribers"

Done = Callable[[list[Page] | None], None]


class _State(enum.Enum):
    AWAY = enum.auto()
    CONNECTING = enum.auto()
    PREPARING = enum.auto()
    IDLE = enum.auto()
    ASKED = enum.auto()


class PostgresDirectory:
    """A directory.Directory over the database at `url`."""

    def __init__(self, reactor: Reactor, url: str) -> None:
        self._reactor = reactor
        self._url = url
        self._where = where(url)
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
        self._question = _affordable(lookups), done
        if self._state is _State.AWAY:
            self._connect()
        elif self._state is _State.IDLE:
            self._send_question()

    def close(self) -> None:
        self._closed = True
        self._reset()

    # the connection

    def _connect(self) -> None:
        self._state = _State.CONNECTING
        self._deadline = time.monotonic() + TIMEOUT
        try:
            self._connection = pq.PGconn.connect_start(self._url.encode())
            self._poll()
        except Exception as error:  # noqa: BLE001 (libpq's wrapper raises several)
            self._lost(str(error))

    def _poll(self) -> None:
        """Go on with connecting."""
        connection = self._connection
        assert connection is not None
        status = connection.connect_poll()
        if status == pq.PollingStatus.OK:
            connection.nonblocking = 1
            self._state = _State.PREPARING
            connection.send_prepare(_NAME, _STATEMENT)
            self._flush()
        elif status == pq.PollingStatus.FAILED:
            self._lost(connection.get_error_message())
        else:
            self._wait_for(IN if status == pq.PollingStatus.READING else OUT)

    def _wait_for(self, events: int) -> None:
        """Wait for the connection's socket, which may have become another one."""
        assert self._connection is not None
        fd = self._connection.socket
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
        try:
            if self._state is _State.CONNECTING:
                self._poll()
                return
            if events & OUT:
                self._flush()
            if events & (IN | GONE):
                self._read()
        except Exception as error:  # noqa: BLE001 (as above)
            self._lost(str(error))

    def _flush(self) -> None:
        assert self._connection is not None
        unwritten = self._connection.flush()
        self._wait_for(IN | OUT if unwritten else IN)

    def _read(self) -> None:
        connection = self._connection
        assert connection is not None
        connection.consume_input()
        if self._state is _State.IDLE:
            if connection.status == pq.ConnStatus.BAD:
                self._lost("the server ended the connection")
            return
        while not connection.is_busy():
            result = connection.get_result()
            if result is None:
                self._answered()
                return
            self._result = result

    def _answered(self) -> None:
        result, self._result = self._result, None
        assert result is not None
        if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            self._lost(result.get_error_message())
            return
        was, self._state = self._state, _State.IDLE
        self._failures = 0
        if was is _State.PREPARING:
            log.info("friends-connected", where=self._where)
            if self._question is not None:
                self._send_question()
            return
        assert self._question is not None
        (lookups, done), self._question = self._question, None
        pages = [
            _page(result.get_value(row, 0), lookup.limit) for row, lookup in enumerate(lookups)
        ]
        done(pages)

    def _send_question(self) -> None:
        assert self._connection is not None
        assert self._question is not None
        lookups, _ = self._question
        self._state = _State.ASKED
        self._deadline = time.monotonic() + TIMEOUT
        parameters = [
            _array([each.publisher for each in lookups]),
            _array([each.after or b"" for each in lookups]),
            b"{%b}" % b",".join(b"%d" % (each.limit + 1) for each in lookups),
        ]
        try:
            self._connection.send_query_prepared(_NAME, parameters)
            self._flush()
        except Exception as error:  # noqa: BLE001 (as above)
            self._lost(str(error))

    # the end of a connection

    def _lost(self, reason: str) -> None:
        first, longest = PAUSES
        pause = min(longest, first * 2.0 ** min(self._failures, 16)) * random.uniform(0.5, 1)
        self._failures += 1
        self._next_attempt = time.monotonic() + pause
        if self._failures == 1:
            log.error("friends-unavailable", reason=str(away(self._where, reason)))
        self._reset()

    def _reset(self) -> None:
        self._forget()
        if self._connection is not None:
            self._connection.finish()
            self._connection = None
        self._result = None
        self._state = _State.AWAY
        if self._question is not None:
            (_, done), self._question = self._question, None
            done(None)

    def _tick(self) -> None:
        if self._closed:
            return
        now = time.monotonic()
        if self._state is _State.AWAY:
            if self._failures and now >= self._next_attempt:
                self._connect()
        elif self._state is not _State.IDLE and now > self._deadline:
            self._lost(f"no answer for {TIMEOUT:g} s")


def _affordable(lookups: list[Lookup]) -> list[Lookup]:
    """The first of `lookups`, as many as one question may ask for."""
    rows = 0
    for place, lookup in enumerate(lookups):
        rows += lookup.limit
        if rows > ROWS_A_QUESTION and place:
            return lookups[:place]
    return lookups


def _array(ids: list[bytes]) -> bytes:
    """An array as PostgreSQL writes it; in quotes, or an id NULL would be none."""
    return b'{"%b"}' % b'","'.join(ids)


def _page(value: bytes | None, limit: int) -> Page:
    ids = value.split(b",") if value else []
    return Page(ids[:limit], len(ids) > limit)
