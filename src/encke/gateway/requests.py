"""Requests: what an awake connection sends, from bytes to answer.

Bounded work: a turn reads once from a connection, at most READ_SIZE bytes (NDJSON
bodies share BULK_SIZE), and nothing from one that is ahead of the router or doesn't
take its answers.

May import: connections, exchange, routes, senders, streams, wire.
"""

import os
import time

from ..scoreboard import Field
from ..wire.message import Verb
from ..wire.request import END, Event, Refusal, Request
from ..wire.response import CONTINUE, response
from ..wire.response import problem as problem_response
from .columns import AWAKE, LINGERING, LOGGING_IN
from .connections import Connections, ticks
from .exchange import Answer, Exchange
from .routes import Action, Problem, Route, route
from .senders import UNAVAILABLE, Message, Messages, too_large
from .streams import Streams

READ_SIZE = 64 * 1024
"""Bytes read of a connection in a turn: room for a whole message in most cases."""

BULK_SIZE = 1024 * 1024
"""Bytes of NDJSON read in a turn, shared by all such bodies: about 16,000 lines. The more
messages a turn has, the more of them share a write; but all else waits for it, up to
70 ms on a core that bulk senders keep busy."""

NO_STREAMS = Problem(
    503, "This node is for senders (--gateways 0); open streams at another node of the cluster."
)

TIMEOUT = Problem(408, "The request came too slowly; send it in one go.")


class Requests:
    """The HTTP side of one gateway's connections; also where senders reply (senders.Replies)."""

    def __init__(self, connections: Connections, streams: Streams) -> None:
        self._connections = connections
        self._streams = streams
        self._settings = connections.settings
        self._body_ticks = ticks(self._settings.body_timeout)
        self._head_ticks = ticks(self._settings.head_timeout)
        self._in_cluster = bool(self._settings.nats)
        self._limit_digits = len(str(self._settings.body_limit))
        self._counts = connections.counts
        self._bulk_reads = 0
        self._bulk_share = BULK_SIZE
        self._handling: Exchange | None = None
        """The exchange whose events are being handled: it goes on afterwards, by itself."""
        self._delivered: dict[int, bytes] = {}
        self._refusals: dict[tuple[Problem, bool], bytes] = {}
        """What was answered in this second to who has no request under way: the same for very many
        at a time."""
        self.tick()

    def tick(self) -> None:
        """A second may have passed: date the answers anew."""
        self._date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
        self._delivered.clear()
        self._refusals.clear()

    def begin_turn(self) -> None:
        """Share BULK_SIZE among as many NDJSON bodies as there were in the last turn."""
        self._bulk_share = max(READ_SIZE, BULK_SIZE // max(1, self._bulk_reads))
        self._bulk_reads = 0

    def readable(self, fd: int) -> None:
        """There's something to read from a connection that isn't a stream."""
        connections = self._connections
        if connections.router.full:
            connections.pause(fd)
            return
        size = READ_SIZE
        exchange = connections.awake.get(fd)
        if exchange is not None and type(exchange.body) is Messages:
            self._bulk_reads += 1
            size = self._bulk_share
        try:
            data = os.read(fd, size)
        except BlockingIOError:
            return
        except OSError:
            connections.close(fd)
            return
        if not data:
            self._ended(fd)
            return
        if connections.columns.kind[fd] in (LINGERING, LOGGING_IN):
            return  # nobody reads on after a refusal, or after asking for a stream
        if exchange is None:
            exchange = connections.wake(fd)
        elif exchange.closing:
            return
        dribbles = not exchange.parser.between_requests
        events = exchange.parser.feed(data)
        if events:
            connections.poller.recall(fd)
            self._handle(exchange, events)
        elif dribbles:
            connections.poller.defer(fd)

    def expired(self, fd: int) -> None:
        """The deadline of a connection has passed."""
        connections = self._connections
        exchange = connections.awake.get(fd)
        if exchange is None or exchange.closing:
            connections.close(fd)
            return
        self._counts[Field.TIMEOUTS] += 1
        exchange.closing = True
        if exchange.login is not None:
            exchange.login = None
            connections.columns.kind[fd] = AWAKE
            connections.router.logout(connections.columns.handle[fd])
            self.refused(Answer(exchange), UNAVAILABLE)
        else:
            self.refused(exchange.body or Answer(exchange), TIMEOUT)

    # what senders call (senders.Replies)

    def delivered(self, answer: Message, connections: int, forwarded: int) -> None:
        self._counts[Field.MESSAGES] += 1
        if answer.order.verb is Verb.PUBLISH:
            self._counts[Field.PUBLISHED] += 1
        if self._in_cluster and not answer.order.wait:
            known = b"true" if forwarded else b"false"
            body = b'{"delivered": %d, "forwarded": %b}' % (connections, known)
            answer.data = response(200, body, date=self._date, close=answer.exchange.closing)
        elif answer.exchange.closing:
            body = b'{"delivered": %d}' % connections
            answer.data = response(200, body, date=self._date, close=True)
        else:
            data = self._delivered.get(connections)
            if data is None:
                body = b'{"delivered": %d}' % connections
                data = self._delivered[connections] = response(200, body, date=self._date)
            answer.data = data
        self._answered(answer)

    def accepted(self, answer: Messages, accepted: int, delivered: int, forwarded: int) -> None:
        self._counts[Field.MESSAGES] += accepted
        if answer.order.verb is Verb.PUBLISH:
            self._counts[Field.PUBLISHED] += accepted
        more = b""
        if self._in_cluster and not answer.order.wait:
            more = b', "forwarded": %d' % forwarded
        body = b'{"accepted": %d, "delivered": %d%b}' % (accepted, delivered, more)
        answer.data = response(200, body, date=self._date, close=answer.exchange.closing)
        self._answered(answer)

    def refused(self, answer: Answer, problem: Problem, more: dict[str, int] | None = None) -> None:
        exchange = answer.exchange
        counter = Field.BAD_REQUESTS if problem.status < 500 else Field.UNAVAILABLE
        self._counts[counter] += 1
        self._counts[Field.MESSAGES] += (more or {}).get("accepted", 0)
        request = exchange.request
        if request is not None and exchange.body is answer and request.has_body:
            exchange.closing = True  # rather than read the rest of a body that nobody wants
        known = (problem, exchange.closing) if request is None and more is None else None
        if known in self._refusals:
            answer.data = self._refusals[known]
        else:
            answer.data = problem_response(
                problem.status,
                problem.detail,
                date=self._date,
                headers=problem.headers,
                close=exchange.closing,
                head_only=request is not None and request.method == b"HEAD",
                more=more,
            )
            if known is not None:
                self._refusals[known] = answer.data
        self._answered(answer)

    def _answered(self, answer: Answer) -> None:
        if answer.exchange is not self._handling:
            self._go_on(answer.exchange)

    # a request's way

    def _ended(self, fd: int) -> None:
        """The client won't send any more."""
        exchange = self._connections.awake.get(fd)
        if exchange is None or not exchange.answers or exchange.request is not None:
            self._connections.outbox.flush_one(fd)  # it may still read
            if fd not in self._connections.outbox.tails:
                self._connections.close(fd)
        else:  # it still waits for answers
            exchange.closing = True
            self._connections.pause(fd)

    def _handle(self, exchange: Exchange, events: list[Event]) -> None:
        self._handling = exchange
        for event in events:
            if exchange.closing or exchange.login is not None:
                break
            if type(event) is bytes:
                if exchange.body is not None:  # who asks for a stream has nothing to say
                    exchange.body.feed(event)
            elif event is END:
                self._complete(exchange)
            elif type(event) is Request:
                self._begin(exchange, event)
            elif type(event) is Refusal:
                exchange.closing = True
                answer = exchange.body or Answer(exchange)
                self.refused(answer, Problem(event.status, event.detail))
        self._handling = None
        if not exchange.parser.between_requests:
            self._set_deadline(exchange)
        self._go_on(exchange)

    def _begin(self, exchange: Exchange, request: Request) -> None:
        """A request's head is here: decide what takes its body."""
        self._counts[Field.REQUESTS] += 1
        exchange.request = request
        where = self._where(request)
        exchange.route = where
        if type(where) is Problem:
            exchange.body = Answer(exchange)
            if request.has_body:  # else it is refused once it's complete
                self.refused(exchange.body, where)
            return
        assert type(where) is Route
        router, settings = self._connections.router, self._settings
        if where.action is Action.SEND:
            exchange.body = Message(
                exchange, where.id, where.order, router, self, settings.body_limit
            )
        elif where.action is Action.SEND_MANY:
            exchange.body = Messages(exchange, where.order, router, self, settings.line_limit)
        if b"expect" in request.headers and request.has_body and len(exchange.answers) == 1:
            self._connections.outbox.queue(exchange.fd, CONTINUE)  # RFC 9110, 10.1.1

    def _where(self, request: Request) -> Route | Problem:
        """Where the request leads, if what its head announces is acceptable."""
        where = route(request, self._settings.api_key)
        if type(where) is Route and where.action is Action.STREAM and self._settings.gateways == 0:
            where = NO_STREAMS
        expect = request.headers.get(b"expect")
        if expect is not None and expect.lower() != b"100-continue":
            return Problem(417, "The only expectation that is met is 100-continue.")
        length = request.headers.get(b"content-length")
        if length is not None and len(length) >= self._limit_digits and type(where) is Route:
            limit = self._settings.body_limit
            if where.action is Action.SEND and request.content_length > limit:
                return too_large(limit)
        return where

    def _complete(self, exchange: Exchange) -> None:
        """A request is here as a whole."""
        request, body, where = exchange.request, exchange.body, exchange.route
        assert request is not None
        if not request.keep_alive:
            exchange.closing = True
        if type(where) is Problem and body is not None:
            self.refused(body, where)
        exchange.request = exchange.body = exchange.route = None
        if type(where) is Route and where.action is Action.STREAM:
            if request.method == b"HEAD":
                head = self._streams.head(request, where.transport, self._date, only=True)
                Answer(exchange).data = head
            else:
                exchange.closing = False
                self._streams.ask(exchange, request, where.transport, where.id, self._date)
        elif body is not None:
            body.finish()

    def _set_deadline(self, exchange: Exchange) -> None:
        """How long the client may take for the rest of a request."""
        if exchange.fd >= 0 and exchange.login is None:
            reading_body = exchange.request is not None
            patience = self._body_ticks if reading_body else self._head_ticks
            self._connections.set_deadline(exchange.fd, patience)

    def _go_on(self, exchange: Exchange) -> None:
        """Write the answers that are known; then sleep, end, log in, or read on."""
        fd, connections = exchange.fd, self._connections
        if fd < 0:
            return
        answers = exchange.answers
        known = []
        while answers and answers[0].data:
            known.append(answers.popleft().data)
        if known:
            connections.outbox.queue(fd, b"".join(known))
        if not answers:
            if exchange.login is not None:
                self._streams.log_in(exchange)
                return
            if exchange.closing or connections.draining:
                self._end(exchange)
                return
            if exchange.parser.between_requests:
                connections.sleep(exchange)
                return
        elif exchange.parser.between_requests:
            connections.columns.deadline[fd] = 0  # it's the server's turn
        if exchange.crowded:
            connections.pause(fd)
        elif fd in connections.paused and not exchange.closing:
            connections.resume(fd)

    def _end(self, exchange: Exchange) -> None:
        """The last answer is out, or about to be: end the connection."""
        exchange.closing = True
        fd = exchange.fd
        self._connections.outbox.flush_one(fd)
        if exchange.fd >= 0 and not self._connections.outbox.waiting(fd):
            self._connections.linger(fd)
