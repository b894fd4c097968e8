"""An awake connection: the only object that a connection ever has.

It exists while a request is half read or an answer is owed, and is given back when
the connection goes to sleep again. Answers leave in the order of the requests, as
pipelining wants it (RFC 9112, 9.3.2), whichever is known first.

May import: routes, wire.
"""

from collections import deque

import msgspec

from ..wire.http import RequestParser
from ..wire.request import Request
from .routes import Problem, Route

MAX_PIPELINED = 256
"""Answers that may be owed on one connection before it isn't read from any more."""


class Answer:
    """One answer in its connection's order: takes the request's body, holds the response."""

    __slots__ = ("data", "exchange")

    def __init__(self, exchange: "Exchange") -> None:
        self.exchange = exchange
        self.data = b""
        """The response; empty until it's known."""
        exchange.answers.append(self)

    def feed(self, piece: bytes) -> None:
        """A piece of the request's body; here: nobody wants it."""

    def finish(self) -> None:
        """The request's body is complete."""


class Login(msgspec.Struct, frozen=True):
    """A stream that was asked for: what its row becomes, and its head."""

    kind: int
    user: bytes
    head: bytes


class Exchange:
    """The state of one awake connection; `fd` is -1 once it's closed or asleep."""

    __slots__ = (
        "answers", "body", "closing", "fd", "login", "parser", "request", "route",
    )  # fmt: skip

    def __init__(self, fd: int, parser: RequestParser) -> None:
        self.fd = fd
        self.parser = parser
        self.request: Request | None = None
        """The request that is being read."""
        self.body: Answer | None = None
        """What takes its body."""
        self.route: Route | Problem | None = None
        """Where it leads."""
        self.answers: deque[Answer] = deque()
        self.login: Login | None = None
        self.closing = False
        """Whether nothing more is read, and the connection ends once all answers are out."""

    @property
    def crowded(self) -> bool:
        """Whether so many answers are owed that no more requests are read."""
        return len(self.answers) >= MAX_PIPELINED
