"""Senders: the bodies of POST /send/{id} and POST /send, and what they are answered; those of
/publish alike.
"""

from ..scoreboard import Field
from ..wire import ndjson
from ..wire.message import Messages, Order, Status, Verb
from ..wire.protocols import GROWTH, encoded_size
from . import life
from .answers import Answers
from .connections import Connections
from .exchange import MAX_PIPELINED, Exchange, Handler
from .life import ENDING, IDLE, OWING, WAITING
from .refusals import FAILURES, NOT_UTF8, grows_too_large, too_large
from .routes import Problem
from .streams import Streams

_SPARE_EXCHANGES = 64
"""Exchanges kept for reuse, so that a busy sender costs no allocation a request."""

_ANSWERED = life.AFTER[life.Event.ANSWERED]


class Single(Handler):
    """POST /send/{id}: the body is one message."""

    __slots__ = ("_body", "_desk", "_id", "_limit", "lane", "order")

    def __init__(
        self, exchange: Exchange, id: bytes, order: Order, desk: "Desk", limit: int
    ) -> None:
        self.exchange = exchange  # as Handler.__init__, without a call
        self.data = b""
        exchange.owed.append(self)
        self.lane = exchange.fd
        self.order = order
        self._id = id
        self._desk = desk
        self._limit = limit
        self._body: bytes | bytearray = b""

    def feed(self, piece: bytes) -> None:
        if not self._body:
            self._body = piece  # all of it, in most cases
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += piece
        if len(self._body) > self._limit:
            self._desk.refused(self, too_large(self._limit))

    @property
    def kept(self) -> int:
        return len(self._body)

    def drop(self) -> None:
        self._body = b""

    def finish(self) -> None:
        self.take(bytes(self._body))

    def take(self, data: bytes) -> None:
        """The body, as a whole."""
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                self._desk.refused(self, NOT_UTF8)
                return
        if len(data) * GROWTH > self._limit and (size := encoded_size(data)) > self._limit:
            self._desk.refused(self, grows_too_large(size, self._limit))
            return
        self._desk.router.send(self, Messages([self._id], [data]), self.order)

    def settled(self, messages: int, delivered: int, forwarded: int = 0) -> None:
        """See port.Sender."""
        desk, order, exchange = self._desk, self.order, self.exchange
        desk.counts[Field.MESSAGES] += 1
        if order.verb is Verb.PUBLISH:
            desk.counts[Field.PUBLISHED] += 1
        if exchange.fd < 0:
            return
        told = bool(forwarded) if desk.in_cluster and not order.wait else None
        ends = desk.states[exchange.fd] == ENDING and exchange.owed[-1] is self
        self.data = desk.delivered[delivered, told, ends]
        desk.ready.append(exchange)

    def failed(self, messages: int, why: Status | None = None) -> None:
        """See port.Sender."""
        self._desk.refused(self, FAILURES[why])


class Bulk(Handler):
    """POST /send: the body is NDJSON, sent on as it comes.

    What was sent stays sent: if a line is bad, or the router goes away, the answer
    says how many had been accepted and delivered.
    """

    __slots__ = (
        "_accepted", "_cutter", "_delivered", "_desk", "_finished", "_forwarded", "_limit", "_line",
        "_pending", "_problem", "lane", "order",
    )  # fmt: skip

    bulk = True

    def __init__(self, exchange: Exchange, order: Order, desk: "Desk", limit: int) -> None:
        super().__init__(exchange)
        self.lane = exchange.fd
        self.order = order
        self._desk = desk
        self._limit = limit
        self._cutter = ndjson.LineCutter(limit)
        self._line = 1
        self._accepted = self._delivered = self._forwarded = self._pending = 0
        self._finished = False
        self._problem: tuple[Problem, dict[str, int]] | None = None

    def feed(self, piece: bytes) -> None:
        if self._problem is None:
            self._send(self._cutter.feed(piece))
            if self._cutter.too_long:
                self._refuse(f"longer than {self._limit} bytes.", self._line)

    def finish(self) -> None:
        if self._problem is None:
            self._send(self._cutter.finish())
        self._finished = True
        self._conclude()

    @property
    def kept(self) -> int:
        return self._cutter.kept

    def drop(self) -> None:
        self._cutter.finish()

    def give_up(self, problem: Problem) -> None:
        """No more of the body is read; the answer comes once it's known what became of the rest."""
        self.drop()
        if self._problem is None:
            self._problem = (problem, {})
        self._conclude()

    def settled(self, messages: int, delivered: int, forwarded: int = 0) -> None:
        """See port.Sender."""
        self._pending -= messages
        self._delivered += delivered
        self._forwarded += forwarded
        self._accepted += messages
        self._conclude()

    def failed(self, messages: int, why: Status | None = None) -> None:
        """See port.Sender."""
        self._pending -= messages
        if self._problem is None:
            self._problem = (FAILURES[why], {})
        self._conclude()

    def _send(self, block: bytes) -> None:
        if not block:
            return
        decoded = ndjson.decode(block, self._line, self._limit)
        self._line += decoded.lines
        self._desk.lines_read += decoded.lines
        if decoded.ids:
            self._pending += len(decoded.ids)
            self._desk.router.send(self, Messages(decoded.ids, decoded.messages), self.order)
        if decoded.bad is not None:
            self._refuse(decoded.bad.reason, decoded.bad.number)

    def _refuse(self, reason: str, line: int) -> None:
        self.drop()
        if self._problem is None:
            detail = f"Line {line}: {reason} The lines before it were sent."
            self._problem = (Problem(400, detail), {"line": line})
            self._conclude()

    def _conclude(self) -> None:
        """Answer, once nothing is under way any more."""
        if self._pending or self.data:
            return
        if self._problem is not None:
            problem, more = self._problem
            counts = {"accepted": self._accepted, "delivered": self._delivered}
            self._desk.refused(self, problem, more | counts)
        elif self._finished:
            self._desk.accepted(self, self._accepted, self._delivered, self._forwarded)


class Desk:
    """Where it's left what has become of requests; at the end of a turn, they're told."""

    def __init__(self, connections: Connections, streams: Streams) -> None:
        self.router = connections.router
        self.states = connections.columns.state
        self._deadlines = connections.columns.deadline
        self.counts = connections.counts
        self.in_cluster = bool(connections.settings.nats)
        self.ready: list[Exchange] = []
        """Those of which an answer is known now: whoever has given one puts its exchange here."""
        self.spare: list[Exchange] = []
        """Of connections that sleep."""
        self._connections = connections
        self._awake = connections.awake
        self._streams = streams
        self.answers = Answers()
        self.delivered = self.answers.delivered
        self.lines_read = 0
        """Lines of NDJSON that were read since whoever bounds them reset this."""

    def accepted(self, handler: Bulk, accepted: int, delivered: int, forwarded: int) -> None:
        """All of an NDJSON body was sent."""
        self.counts[Field.MESSAGES] += accepted
        if handler.order.verb is Verb.PUBLISH:
            self.counts[Field.PUBLISHED] += accepted
        told = forwarded if self.in_cluster and not handler.order.wait else None
        handler.data = self.answers.accepted(accepted, delivered, told, close=self.ends(handler))
        self.ready.append(handler.exchange)

    def refused(
        self, handler: Handler, problem: Problem, more: dict[str, int] | None = None
    ) -> None:
        """A request is answered with a problem; nobody wants what is still coming of its body."""
        exchange = handler.exchange
        counter = Field.UNAVAILABLE if problem.status == 503 else Field.BAD_REQUESTS
        self.counts[counter] += 1
        self.counts[Field.MESSAGES] += (more or {}).get("accepted", 0)
        if exchange.fd < 0:
            return
        request = exchange.request
        unread = request is not None and exchange.handler is handler and request.has_body
        if unread and self.states[exchange.fd] != ENDING:
            self._connections.move(exchange.fd, life.Event.LAST)  # nobody wants the rest of it
        if unread:
            handler.drop()
            self._connections.bodies.forget(exchange)
        if handler.events and problem.status == 503:
            least = self._connections.settings.retry
            handler.data = self.answers.not_now(problem, least=least, close=self.ends(handler))
        else:
            handler.data = self.answers.refused(
                problem,
                close=self.ends(handler),
                head_only=request is not None and request.method == b"HEAD",
                more=more,
                shared=request is None,
            )
        self.ready.append(exchange)

    def ends(self, handler: Handler) -> bool:
        """Whether the connection ends with this one's answer."""
        exchange = handler.exchange
        return (
            exchange.fd >= 0
            and self.states[exchange.fd] == ENDING
            and bool(exchange.owed)  # what was cut off isn't
            and exchange.owed[-1] is handler
        )

    # the turn's end

    def answer(self) -> None:
        """Give the answers that have become known, and let their connections go on."""
        ready, self.ready = self.ready, []
        connections = self._connections
        outbox = connections.outbox
        for exchange in ready:
            fd, owed = exchange.fd, exchange.owed
            if fd < 0:
                continue
            known = []
            while owed and owed[0].data:
                known.append(owed.popleft().data)
            if known:
                data = known[0] if len(known) == 1 else b"".join(known)
                if fd not in outbox.queued and not outbox.tails:
                    outbox.queued[fd] = data  # as Outbox.queue, without a call
                else:
                    outbox.queue(fd, data)
            if exchange.fd < 0:
                continue  # it turned out broken
            if not owed:
                if self.states[fd] == OWING and not connections.draining:
                    self._sleep(exchange)
                else:
                    self._all_answered(exchange)
            elif fd in connections.held and len(owed) < MAX_PIPELINED and self.states[fd] < WAITING:
                connections.release(fd)

    def _sleep(self, exchange: Exchange) -> None:
        """Nothing is owed, nothing half read: only the row stays, waiting for another request."""
        connections, fd = self._connections, exchange.fd
        self.states[fd] = _ANSWERED[OWING]  # as Connections.move, without a call
        self._deadlines[fd] = connections.now + connections.patience[IDLE]
        del self._awake[fd]
        if fd in connections.held:
            connections.release(fd)
        exchange.fd = -1
        if len(self.spare) < _SPARE_EXCHANGES and not exchange.parser.closed:
            self.spare.append(exchange)
        else:
            exchange.parser.close()

    def _all_answered(self, exchange: Exchange) -> None:
        """Nothing is owed any more: log in, end, or wait for the rest of a request."""
        connections, fd = self._connections, exchange.fd
        state = self.states[fd]
        if state == WAITING:
            self._streams.log_in(exchange)
        elif state == ENDING:
            connections.leave(fd)
        elif connections.draining:
            connections.move(fd, life.Event.LAST)
            connections.leave(fd)
        elif fd in connections.held:
            connections.release(fd)
