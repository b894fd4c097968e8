"""From a server's name to a connection that it has accepted.

Looks the name up, connects to one address after the other, reads INFO, speaks TLS if the
server or the URL wants it, says CONNECT and PING, and waits for PONG. Then the connection
is its owner's.

Invariant: `done` is called once, unless `cancel` came first.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from ..errors import FrameError, MissingExtra
from ..reactor.loop import Reactor
from ..reactor.resolver import Address, Resolver
from ..wire import nats
from ..wire.nats import Decoder, Err, Info, Operation, Ping, Pong
from .connection import NatsConnection, reason_of
from .credentials import connect_options
from .options import NatsOptions
from .servers import Server

if TYPE_CHECKING:
    from .tls import Context, Tls

REFUSALS = ("Authorization Violation", "Authentication Expired", "Authentication Revoked")
"""What in an -ERR means that our credentials won't do."""


class Accepted(msgspec.Struct, frozen=True):
    """A connection that the server has accepted."""

    connection: NatsConnection
    """Its `received` and `closed` are the owner's to set."""
    decoder: Decoder
    info: Info
    events: Sequence[Operation]
    """What came behind the PONG."""


class Failed(msgspec.Struct, frozen=True):
    """No connection, and why."""

    reason: str
    refused: bool = False
    """The server, or a file, has to be changed first: there's no hurry to try again."""


class Dialer:
    """One attempt at `server`; `tick` it now and then."""

    def __init__(
        self,
        reactor: Reactor,
        options: NatsOptions,
        context: "Context | None",
        server: Server,
        done: Callable[[Accepted | Failed], None],
    ) -> None:
        """`context` is what TLS would begin with; None: made when the server wants it."""
        self._reactor = reactor
        self._options = options
        self._context = context
        self._server = server
        self._done = done
        self._addresses: list[Address] = []  # still to be tried
        self._began = time.monotonic()  # with this address
        self._connection: NatsConnection | None = None
        self._decoder = Decoder()
        self._info: Info | None = None
        self._resolver = Resolver(reactor, server.host, server.port, self._found)

    def tick(self) -> None:
        """Give an address up that takes too long."""
        timeout = self._options.connect_timeout
        if time.monotonic() - self._began > timeout:
            self._fail(f"no connection within {timeout:g} s")

    def cancel(self) -> None:
        """End the attempt; nobody is called."""
        self._resolver.cancel()
        self._hang_up()

    def _found(self, addresses: list[Address] | OSError) -> None:
        if isinstance(addresses, OSError):
            self._fail(reason_of(addresses))
        else:
            self._addresses = addresses
            self._open()

    def _open(self) -> None:
        self._began = time.monotonic()
        self._decoder = Decoder()
        self._connection = NatsConnection(self._reactor, self._addresses.pop(0))
        self._connection.received, self._connection.closed = self._received, self._fail
        self._connection.open()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fail(self, reason: str, *, refused: bool = False) -> None:
        self.cancel()
        if self._addresses and self._info is None:
            self._open()
        else:
            self._done(Failed(reason, refused))

    def _received(self, data: bytes) -> None:
        connection = self._connection
        try:
            events = self._decoder.feed(data)
        except FrameError as error:
            self._fail(f"this is not NATS: {error}")
            return
        for place, event in enumerate(events, 1):
            match event:
                case Info():
                    first, self._info = self._info is None, event
                    if first:
                        self._greet(event, alone=len(events) == 1 and self._decoder.idle)
                case Ping():
                    self._write(nats.PONG)
                case Pong() if self._info is not None:
                    self._accepted(self._info, events[place:])
                case Err(text):
                    self._fail(text, refused=any(refusal in text for refusal in REFUSALS))
                case _:
                    self._fail("the server speaks out of turn")
            if self._connection is not connection:
                return

    def _greet(self, info: Info, *, alone: bool) -> None:
        """Answer the first INFO; `alone` says that nothing came behind it."""
        assert self._connection is not None
        options, server = self._options, self._server
        secure = server.tls or info.tls_required
        if secure and not (info.tls_required or info.tls_available):
            self._fail("the server speaks no TLS, which tls:// insists on")
            return
        if secure and not alone:
            self._fail("something came between INFO and TLS: it may not be the server's")
            return
        try:
            if secure:
                self._connection.start_tls(self._tls())
            connect = connect_options(options, server, info, secure=secure)
        except (ValueError, MissingExtra, OSError) as error:  # BadSettings is the first
            self._fail(str(error), refused=True)
            return
        self._write(nats.connect(connect) + nats.PING)

    def _tls(self) -> "Tls":
        from . import tls

        context = self._context or tls.context(self._options)
        return tls.Tls(context, self._server.tls_name or self._server.host)

    def _write(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.write(data)
        self._connection.flush()

    def _accepted(self, info: Info, events: Sequence[Operation]) -> None:
        assert self._connection is not None
        accepted = Accepted(self._connection, self._decoder, info, events)
        self._connection = None  # it's theirs
        self._done(accepted)
