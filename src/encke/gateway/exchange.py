"""An awake connection: the only object that a connection ever has.

It exists while a request is half read or an answer is owed, and is given back when
the connection goes to sleep again. Answers leave in the order of the requests, as
pipelining wants it (RFC 9112, 9.3.2), whichever is known first.
"""

from collections import deque

import msgspec

from ..wire.http import RequestParser
from ..wire.request import Request
from ..wire.response import Headers
from .routes import Problem, Route

MAX_PIPELINED = 256
"""Answers that may be owed on one connection before it isn't read from any more."""


class Handler:
    """One request's: takes its body, and holds the answer until it's its turn."""

    __slots__ = ("data", "exchange")

    bulk = False
    """Whether a client that sends such a body sends much."""

    events = False
    """Whether who asks accepts an event stream: if there's none now, they are told in one."""

    def __init__(self, exchange: "Exchange") -> None:
        self.exchange = exchange
        self.data = b""
        """The answer; empty until it's known."""
        exchange.owed.append(self)

    @property
    def kept(self) -> int:
        """Bytes of the body that are kept for what is to come."""
        return 0

    def drop(self) -> None:
        """Keep nothing of it."""

    def feed(self, piece: bytes) -> None:
        """A piece of the request's body; here: nobody wants it."""

    def finish(self) -> None:
        """The request's body is complete."""


class PendingStream(msgspec.Struct, frozen=True):
    """A stream that was asked for: what its row becomes, and its head; or if there's none, the
    headers of the answer to a page of another origin, and whether events are accepted."""

    state: int
    user: bytes
    head: bytes
    headers: Headers
    events: bool


class Exchange:
    """What is known of one awake connection."""

    __slots__ = ("fd", "handler", "kept", "login", "owed", "parser", "request", "route")

    def __init__(self, parser: RequestParser) -> None:
        self.fd = -1
        """-1 once the connection is closed, or asleep: an answer for it is of no use then."""
        self.parser = parser
        self.request: Request | None = None
        """The request that is being read."""
        self.handler: Handler | None = None
        """What takes its body."""
        self.route: Route | Problem | None = None
        """Where it leads."""
        self.owed: deque[Handler] = deque()
        """Those whose answers aren't on their way yet."""
        self.login: PendingStream | None = None
        self.kept = 0
        """Bytes of its unfinished body, see bodies."""

    def cut_off(self) -> None:
        """The client has ended in the middle of a body: that request has no answer."""
        if self.handler is not None:
            self.owed.pop()
        self.request = self.handler = self.route = None

    def end(self) -> None:
        """It is of no use any more."""
        self.fd = -1
        self.owed.clear()
        self.handler = None
        self.parser.close()
