"""Senders: the bodies of POST /send/{id} and POST /send, and what they are answered; those of
/publish alike.

May import: exchange, port, routes, wire.
"""

from typing import Protocol

from ..wire import ndjson
from ..wire.message import Messages as Columns
from ..wire.message import Order, Status
from .exchange import Answer, Exchange
from .port import Router
from .routes import Problem

_SOON = ((b"Retry-After", b"1"),)

UNAVAILABLE = Problem(
    503,
    "The router is being restarted, so this may not have been delivered; try again in a second.",
    _SOON,
)
FAILURES = {
    None: UNAVAILABLE,
    Status.UNFORWARDED: Problem(
        503,
        "Nobody on this node got it, and it couldn't be handed on to the other nodes: the link "
        "to NATS is down or full, or the message is larger than NATS takes. Try again in a second.",
        _SOON,
    ),
    Status.UNANSWERED: Problem(
        503,
        "Not all nodes have said how many connections got it: it may have been delivered, or not.",
        _SOON,
    ),
    Status.UNKNOWN: Problem(
        503,
        "The friends' store can't be reached, so it isn't known whom this goes to; try again in "
        "a second.",
        _SOON,
    ),
    Status.OFF: Problem(
        409,
        "Friends are off on this node, so there is nobody to publish to: start it with --friends "
        "postgresql://..., which all nodes of a cluster can share.",
    ),
}
"""What a sender is told, by what became of his message; None: the router went away."""

NOT_UTF8 = Problem(400, "The message isn't UTF-8; encode it as UTF-8.")


class Replies(Protocol):
    """Where senders leave their outcome; see requests.Requests."""

    def delivered(self, answer: "Message", connections: int, forwarded: int) -> None:
        """A single message reached so many connections, and was handed on or not."""

    def accepted(self, answer: "Messages", accepted: int, delivered: int, forwarded: int) -> None:
        """All of an NDJSON body was sent."""

    def refused(self, answer: Answer, problem: Problem, more: dict[str, int] | None = None) -> None:
        """It wasn't; if its body is still coming, it's of no interest any more."""


def too_large(limit: int) -> Problem:
    """The problem of a message over the limit."""
    return Problem(
        413, f"The message is larger than {limit} bytes; shorten it, or send a reference to it."
    )


class Message(Answer):
    """POST /send/{id}: the body is one message."""

    __slots__ = ("_data", "_id", "_limit", "_replies", "_router", "lane", "order")

    def __init__(
        self,
        exchange: Exchange,
        id: bytes,
        order: Order,
        router: Router,
        replies: Replies,
        limit: int,
    ) -> None:
        super().__init__(exchange)
        self.lane = exchange.fd
        self.order = order
        self._id = id
        self._router = router
        self._replies = replies
        self._limit = limit
        self._data: bytes | bytearray = b""

    def feed(self, piece: bytes) -> None:
        if not self._data:
            self._data = piece  # all of it, in most cases
        else:
            if isinstance(self._data, bytes):
                self._data = bytearray(self._data)
            self._data += piece
        if len(self._data) > self._limit:
            self._data = b""
            self._replies.refused(self, too_large(self._limit))

    def finish(self) -> None:
        data = bytes(self._data)
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                self._replies.refused(self, NOT_UTF8)
                return
        self._router.send(self, Columns([self._id], [data]), self.order)

    def settled(self, messages: int, delivered: int, forwarded: int = 0) -> None:
        """See port.Sender."""
        self._replies.delivered(self, delivered, forwarded)

    def failed(self, messages: int, why: Status | None = None) -> None:
        """See port.Sender."""
        self._replies.refused(self, FAILURES[why])


class Messages(Answer):
    """POST /send: the body is NDJSON, sent on as it comes.

    What was sent stays sent: if a line is bad, or the router goes away, the answer
    says how many had been accepted and delivered.
    """

    __slots__ = (
        "_accepted", "_cutter", "_delivered", "_finished", "_forwarded", "_limit", "_line",
        "_pending", "_problem", "_replies", "_router", "lane", "order",
    )  # fmt: skip

    def __init__(
        self, exchange: Exchange, order: Order, router: Router, replies: Replies, limit: int
    ) -> None:
        super().__init__(exchange)
        self.lane = exchange.fd
        self.order = order
        self._router = router
        self._replies = replies
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
        if decoded.ids:
            self._pending += len(decoded.ids)
            self._router.send(self, Columns(decoded.ids, decoded.messages), self.order)
        if decoded.bad is not None:
            self._refuse(decoded.bad.reason, decoded.bad.number)

    def _refuse(self, reason: str, line: int) -> None:
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
            self._replies.refused(self, problem, more | counts)
        elif self._finished:
            self._replies.accepted(self, self._accepted, self._delivered, self._forwarded)
