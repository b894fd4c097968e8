"""HTTP requests: what an awake connection sends, from bytes to answer.

    bytes --> events --> a request's handler takes its body --> port --> its answer
              wire.http  routes says which, senders             near, far   answers

Bounded work: a turn reads once from a connection, at most READ_SIZE bytes, or MESSAGE_SIZE of one
message, and nothing from one that is ahead of the router or doesn't take its answers; who sends
much has turns of their own, see heavy.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial

from ..ids import SLOT_MASK, is_user_id
from ..scoreboard import Field
from ..settings import allowed_hosts
from ..wire.cross_origin import CrossOriginProtection
from ..wire.http import KnownHeads, RequestParser
from ..wire.message import SEND
from ..wire.request import END, HttpEvent, Refusal, Request
from ..wire.response import CONTINUE
from . import life, sockets
from .cap import Cap
from .connections import TICK, Connections
from .exchange import MAX_PIPELINED, Exchange, Handler
from .life import (
    BODY,
    ENDING,
    HEAD,
    IDLE,
    LINGERING,
    LOGGING_IN,
    NEW,
    OWING,
    SENDING,
    STREAM,
    WAITING,
)
from .pages import refuser, taker
from .refusals import (
    FULL,
    NO_STREAMS,
    OVERDUE,
    TIMEOUT,
    TOO_MANY,
    TOO_MUCH,
    UNAVAILABLE,
    too_large,
)
from .routes import Action, Problem, Route, route
from .senders import Bulk, Desk, Single
from .streams import Streams

READ_SIZE = 16 * 1024
"""Bytes read of a connection in a turn: room for a whole message in most cases. If they are
messages as short as can be, all others wait 2 ms for them."""

MESSAGE_SIZE = 64 * 1024
"""Bytes read if they are of one message: they cost little. But not while many bodies are kept."""

ASK_SIZE = 4 * 1024
"""Bytes read at once of who asks for a stream, or for anything else, while senders aren't read
from: messages may stand behind it."""

READ_A_TURN = 1024 * 1024
"""Bytes read in a turn of all who aren't heavy; and those of poller.POLLED more."""

MANY = 128
"""Events of one read, which are some 40 requests, or lines of NDJSON, from which on its connection
sends much."""

_OWED = frozenset((OWING, WAITING, ENDING))
_AWAKE = _OWED | {HEAD, BODY, LOGGING_IN}

_WHOLE = life.AFTER[life.Event.WHOLE]


class Requests:
    """The requests of one gateway's connections."""

    def __init__(self, connections: Connections, streams: Streams, desk: Desk, cap: Cap) -> None:
        self._cap = cap
        self._router = connections.router
        self._states = connections.columns.state
        self._deadlines = connections.columns.deadline
        self._patience = connections.patience[OWING]
        self._counts = connections.counts
        self._connections = connections
        self._awake = connections.awake
        self._desk = desk
        self._spare = desk.spare
        self._known_heads = KnownHeads()
        self._protection = CrossOriginProtection(
            hosts=allowed_hosts(connections.settings),
            origins=connections.settings.allow_origin,
            pages=not connections.settings.api_key,
        )
        self._poller = connections.poller
        self._streams = streams
        self._settings = connections.settings
        key = self._settings.api_key
        self._has_key = partial(_compare_digest(), b"Bearer " + key.encode()) if key else None
        self._lets_pages = bool(self._settings.allow_origin)
        self._limit = self._settings.body_limit
        self._limit_digits = len(str(self._limit))
        self._rate = self._settings.body_rate * TICK  # bytes a tick
        self.bytes_read = 0
        """Bytes that were read since whoever bounds them reset this."""
        self.much = False
        """Whether the connection that was read from last sends much, see heavy."""
        self.heard = False
        """Whether another has sent something."""

    def readable(self, fd: int, size: int = READ_SIZE) -> None:
        """There's something to read from a connection that isn't a stream."""
        exchange, state = self._awake.get(fd), self._states[fd]
        self.much = False
        if self._router.full and state < WAITING:
            if not self._asks(fd, state):
                self._connections.hold(fd)
                return
            size = ASK_SIZE
        try:
            data = os.read(fd, size)
        except BlockingIOError:
            return
        except OSError:
            self._connections.close(fd)
            return
        self.bytes_read += len(data)
        self.much = len(data) == size != ASK_SIZE
        if not data:
            self._ended(fd, state)
        elif state < WAITING:  # else nobody looks at it
            if exchange is None:
                exchange = self._spare.pop() if self._spare else self._new_exchange()
                exchange.fd = fd
                self._awake[fd] = exchange
            self._received(exchange, data)
            if len(data) == size == READ_SIZE and self._may_bring_more(fd):
                self.readable(fd, MESSAGE_SIZE - READ_SIZE)
                return
        elif state in (WAITING, LOGGING_IN):
            self._streams.unasked(fd, len(data))
        if self.much and self._states[fd] in SENDING:
            self._poller.weigh(fd)

    def _asks(self, fd: int, state: int) -> bool:
        """Whether it brings no message, as far as can be known: a request that begins otherwise
        than POST does, or the rest of a head."""
        if state == HEAD:
            return True
        try:
            return state in (NEW, IDLE) and sockets.peek(fd) != b"P"
        except OSError:
            return True  # reading will tell

    def _may_bring_more(self, fd: int) -> bool:
        return self.is_message(fd) and not self._connections.bodies.many

    def is_message(self, fd: int) -> bool:
        """Whether the connection is in the middle of a message."""
        exchange = self._awake.get(fd)
        return exchange is not None and isinstance(exchange.handler, Single)

    def _new_exchange(self) -> Exchange:
        return Exchange(
            RequestParser(self._settings.head_limit, self._known_heads, self._protection)
        )

    def _received(self, exchange: Exchange, data: bytes) -> None:
        """Bytes of requests."""
        fd, parser, states = exchange.fd, exchange.parser, self._states
        dribbles = not parser.between_requests
        lines = self._desk.lines_read
        events = parser.feed(data)
        if not events:
            self._nothing_whole(exchange, dribbles=dribbles)
            return
        if fd in self._poller.deferred:
            self._poller.recall(fd)
        at, end = 0, len(events)
        while at < end and states[fd] < WAITING:
            event = events[at]
            at += 1
            if (
                at + 1 < end
                and events[at + 1] is END
                and type(event) is Request
                and self._take(exchange, event, events[at])
            ):
                at += 2
            else:
                self._handle(exchange, event)
        lines = self._desk.lines_read - lines
        self.much |= end > MANY or lines > MANY
        state = states[fd]
        if state >= WAITING:
            if not exchange.owed:
                self._desk.ready.append(exchange)
        elif (
            exchange.request is None
            and parser.between_requests
            and len(exchange.owed) < MAX_PIPELINED
        ):
            states[fd] = _WHOLE[state]  # as Connections.move, without a call
            self._deadlines[fd] = self._connections.now + self._patience
        else:
            self._read_on(exchange, anew=lines > 0)
        self.heard |= not self.much

    def _take(self, exchange: Exchange, request: Request, body: HttpEvent) -> bool:
        """Take what nearly every request is, a short message that is here as a whole, on the
        shortest way. False: it's another kind of request."""
        target, has_key = request.target, self._has_key
        if (
            request.method == b"POST"
            and target.startswith(b"/send/")
            and is_user_id(target[6:])
            and request.keep_alive
            and type(body) is bytes
            and len(body) <= self._limit
            and b"expect" not in request.headers
            and not (self._lets_pages and b"origin" in request.headers)
            and (has_key is None or has_key(request.headers.get(b"authorization", b"")))
        ):
            self._counts[Field.REQUESTS] += 1
            Single(exchange, target[6:], SEND, self._desk, self._limit).take(body)
            return True
        return False

    def _handle(self, exchange: Exchange, event: HttpEvent) -> None:
        """A part of a request, as it comes."""
        if type(event) is Request:
            self._begin(exchange, event)
        elif type(event) is bytes:
            if exchange.handler is not None:  # who asks for a stream has nothing to say
                exchange.handler.feed(event)
        elif event is END:
            self._complete(exchange)
        else:
            self._malformed(exchange, event)

    def _nothing_whole(self, exchange: Exchange, *, dribbles: bool) -> None:
        """What came completes nothing, not even a head or a piece of a body."""
        fd, state = exchange.fd, self._states[exchange.fd]
        if state in (NEW, IDLE) or (state == OWING and not exchange.parser.between_requests):
            self._connections.move(fd, life.Event.HEAD_BEGAN)
        if dribbles:
            self._poller.defer(fd)

    def _read_on(self, exchange: Exchange, *, anew: bool) -> None:
        """All that came is dealt with: the connection goes on, from where its bytes end. `anew`:
        lines of NDJSON have come to their end."""
        fd, move = exchange.fd, self._connections.move
        if exchange.request is not None:
            self._read_on_body(exchange, anew=anew)
        else:
            move(fd, life.Event.WHOLE)
            if not exchange.parser.between_requests:
                move(fd, life.Event.HEAD_BEGAN)
        if len(exchange.owed) >= MAX_PIPELINED:
            self._connections.hold(fd)

    def _read_on_body(self, exchange: Exchange, *, anew: bool) -> None:
        """There's more of a body to come: what has come buys it time."""
        fd, handler, deadlines = exchange.fd, exchange.handler, self._deadlines
        assert handler is not None
        before, after, deadline = exchange.kept, handler.kept, deadlines[fd]
        self._connections.move(fd, life.Event.BODY_BEGAN)
        if 0 < before <= after and not anew and self._rate:
            deadline += int(after / self._rate) - int(before / self._rate)
            deadlines[fd] = min(deadline, deadlines[fd])
        bodies = self._connections.bodies
        bodies.keep(exchange, after, anew=anew, more=self.much)
        for slow in bodies.drop(exchange, sockets.unread):
            self._give_up(slow, TOO_MUCH)
        self.much |= handler.bulk or after >= READ_SIZE

    def _give_up(self, exchange: Exchange, problem: Problem) -> None:
        """No more is read of what is half here."""
        self._connections.move(exchange.fd, life.Event.LAST)
        handler = exchange.handler or Handler(exchange)
        if isinstance(handler, Bulk):
            handler.give_up(problem)
        else:
            self._desk.refused(handler, problem)

    def _ended(self, fd: int, state: int) -> None:
        """The client won't send any more."""
        if state >= STREAM or state in (LOGGING_IN, LINGERING):
            self._connections.close(fd)
            return
        self._connections.end(fd)
        exchange = self._awake.get(fd)
        if exchange is not None:
            exchange.login = None
            if state == BODY:
                self._connections.bodies.forget(exchange)
                exchange.cut_off()
            if not exchange.owed:
                self._desk.ready.append(exchange)

    def expired(self, fd: int) -> None:
        """A connection's state has lasted too long."""
        connections, state = self._connections, self._states[fd]
        exchange = self._awake.get(fd)
        if exchange is None or state not in _AWAKE:
            connections.close(fd)
            return
        apart = fd in connections.held or fd in self._poller.heavy
        if state == BODY and apart and sockets.unread(fd):
            connections.move(fd, life.Event.BODY_BEGAN)  # it's we who are slow
            return
        self._counts[Field.TIMEOUTS] += 1
        if state in _OWED:
            self._overdue(exchange)
        elif state == LOGGING_IN:
            connections.router.logout(connections.columns.handle[fd])
            self._no_stream(exchange, UNAVAILABLE)
        else:
            self._give_up(exchange, TIMEOUT)

    def _overdue(self, exchange: Exchange) -> None:
        """Answers have been owed for too long: what isn't known by now is said so."""
        fd = exchange.fd
        if self._states[fd] != ENDING:
            self._connections.move(fd, life.Event.LAST)
        exchange.login = None
        for handler in list(exchange.owed):
            if not handler.data:
                self._desk.refused(handler, OVERDUE)
        if not exchange.owed:
            self._desk.ready.append(exchange)

    def login_refused(self, handles: Iterable[int]) -> None:
        """The ids of these have too many connections (port.Holder.refused)."""
        columns = self._connections.columns
        for handle in handles:
            fd = handle & SLOT_MASK
            if columns.handle[fd] == handle and self._states[fd] == LOGGING_IN:
                self._counts[Field.STREAMS_REFUSED] += 1
                self._no_stream(self._awake[fd], TOO_MANY)

    def _no_stream(self, exchange: Exchange, problem: Problem) -> None:
        """Answer who is logging in with a problem instead."""
        self._connections.move(exchange.fd, life.Event.LAST)
        assert exchange.login is not None
        login, exchange.login = exchange.login, None
        self._desk.refused(refuser(exchange, login.headers, events=login.events), problem)

    # a request's way

    def _begin(self, exchange: Exchange, request: Request) -> None:
        """A request's head is here: decide what takes its body."""
        self._counts[Field.REQUESTS] += 1
        exchange.request = request
        where = exchange.route = self._where(request)
        told = self._streams.cors.told(request.headers.get(b"origin"))
        handler = exchange.handler = taker(exchange, where, self._desk, self._settings, told)
        if isinstance(where, Problem):
            if request.has_body:  # else it is refused once it's complete
                assert handler is not None
                self._desk.refused(handler, where)
            return
        if b"expect" in request.headers and request.has_body and len(exchange.owed) == 1:
            self._connections.outbox.queue(exchange.fd, CONTINUE)  # RFC 9110, 10.1.1

    def _where(self, request: Request) -> Route | Problem:
        """Where the request leads, if what its head announces is acceptable."""
        where = route(request, self._settings.api_key, self._streams.cors)
        if type(where) is Route and where.action is Action.STREAM:
            where = self._without_room() or where
        expect = request.headers.get(b"expect")
        if expect is not None and expect.lower() != b"100-continue":
            return Problem(417, "The only expectation that is met is 100-continue.")
        length = request.headers.get(b"content-length")
        if length is not None and len(length) >= self._limit_digits and type(where) is Route:
            limit = self._limit
            if where.action is Action.SEND and request.content_length > limit:
                return too_large(limit)
        return where

    def _without_room(self) -> Problem | None:
        """Why there's no stream for anybody now, if so."""
        if self._settings.gateways == 0:
            return NO_STREAMS
        if not self._cap.admits(self._connections.open, self._connections.streams):
            self._counts[Field.STREAMS_REFUSED] += 1
            return FULL
        return None

    def _complete(self, exchange: Exchange) -> None:
        """A request is here as a whole."""
        request, handler, where = exchange.request, exchange.handler, exchange.route
        assert request is not None
        opens = (
            isinstance(where, Route) and where.action is Action.STREAM and request.method != b"HEAD"
        )
        if not (request.keep_alive or opens) or where is FULL:
            self._connections.move(exchange.fd, life.Event.LAST)
        if isinstance(where, Problem) and handler is not None:
            self._desk.refused(handler, where)
        self._connections.bodies.forget(exchange)
        exchange.request = exchange.handler = exchange.route = None
        if isinstance(where, Route) and where.action is Action.STREAM:
            date = self._desk.answers.date
            if opens:
                self._streams.ask(exchange, request, where, date)
            else:
                Handler(exchange).data = self._streams.head(request, where, date, only=True)
                self._desk.ready.append(exchange)
        elif isinstance(where, Route) and where.action is Action.PREFLIGHT:
            handler = Handler(exchange)
            handler.data = self._desk.answers.preflight(
                where.headers, close=self._desk.ends(handler)
            )
            self._desk.ready.append(exchange)
        elif handler is not None:
            handler.finish()

    def _malformed(self, exchange: Exchange, refusal: HttpEvent) -> None:
        """What came is no request."""
        assert isinstance(refusal, Refusal)
        self._connections.move(exchange.fd, life.Event.LAST)
        self._desk.refused(
            exchange.handler or Handler(exchange), Problem(refusal.status, refusal.detail)
        )


def _compare_digest() -> Callable[[bytes, bytes], bool]:
    """How keys are compared, in constant time."""
    from hmac import compare_digest  # it brings OpenSSL, 3 MB: only where a key is set

    return compare_digest
