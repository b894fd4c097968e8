"""Streams: from login to the last chunk, and the messages in between.

The head of a stream is written only once the router has acknowledged the login: a
client that sees the head is reachable.

May import: connections, columns, exchange, sockets, wire.
"""

import random
from collections.abc import Iterable, Iterator, Sequence

from ..ids import SLOT_MASK
from ..scoreboard import Field
from ..wire.message import Messages
from ..wire.request import Request
from ..wire.response import LAST_CHUNK, chunk, status_line
from ..wire.transports import TRANSPORTS, Transport
from . import sockets
from .columns import LOGGING_IN, STREAM
from .connections import TICK, Connections, ticks
from .exchange import Exchange, Login
from .port import Delivery, Target

_COMMON_HEADERS = (
    # no-transform: proxies that compress would hold messages back
    (b"Cache-Control", b"no-cache, no-store, no-transform"),
)

_ENCODERS = {
    STREAM + 2 * code + unchunked: (transport.encode, transport.counts)
    for code, transport in enumerate(TRANSPORTS)
    for unchunked in (0, 1)
}
"""By kind: how a message is encoded, and whether it is numbered."""


def _period(seconds: float) -> int:
    """So many seconds in ticks, at least one; 0: never."""
    return max(1, round(seconds / TICK)) if seconds else 0


class Streams:
    """The streams of one gateway; what the router calls (port.Holder)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._settings = connections.settings
        columns = connections.columns
        self._handles, self._kinds, self._numbers = columns.handle, columns.kind, columns.count
        self._counts = connections.counts
        self._beats = _period(self._settings.heartbeat)
        self._probes = _period(self._settings.keepalive)
        self._heads = [self._fixed_head(transport) for transport in TRANSPORTS]

    def ask(
        self, exchange: Exchange, request: Request, transport: int, id: bytes, date: bytes
    ) -> None:
        """`request` asks for a stream; `log_in` comes once all earlier answers are out."""
        exchange.login = Login(
            STREAM + 2 * transport + request.is_http_10,
            id,
            self.head(request, transport, date),
        )

    def log_in(self, exchange: Exchange) -> None:
        """Ask the router; `logged_in` goes on."""
        assert exchange.login is not None
        exchange.parser.close()  # half of what it weighs, while very many wait
        fd, columns = exchange.fd, self._connections.columns
        columns.set_user(fd, exchange.login.user)
        columns.kind[fd] = LOGGING_IN
        self._connections.set_deadline(fd, ticks(self._settings.head_timeout))
        self._connections.counts[Field.LOGINS] += 1
        self._connections.router.login(columns.handle[fd], exchange.login.user)

    def head(self, request: Request, transport: int, date: bytes, *, only: bool = False) -> bytes:
        """The response's head; `only` (the answer to HEAD) without the greeting."""
        kind = TRANSPORTS[transport]
        framing = b"Connection: close" if request.is_http_10 else b"Transfer-Encoding: chunked"
        origin = b""
        if self._settings.allow_origin:
            origin = b"Access-Control-Allow-Origin: %b\r\n" % self._settings.allow_origin.encode()
        head = b"%bDate: %b\r\n%b%b%b\r\n\r\n" % (
            status_line(200), date, self._heads[transport], origin, framing,
        )  # fmt: skip
        greeting = b"" if only else kind.greeting(self._settings.retry * (1 + random.random()))
        if greeting and not request.is_http_10:
            greeting = chunk(greeting)
        return head + greeting

    # what the router calls

    def logged_in(self, handles: Iterable[int]) -> None:
        """These connections are reachable: write their heads."""
        connections = self._connections
        columns = connections.columns
        for handle in handles:
            fd = handle & SLOT_MASK
            if columns.handle[fd] != handle or columns.kind[fd] != LOGGING_IN:
                continue  # it's gone by now, or was a stream before the router's restart
            exchange = connections.awake[fd]
            login = exchange.login
            assert login is not None
            exchange.login = None
            connections.become_stream(exchange, login.kind)
            connections.outbox.queue(fd, login.head)

    def deliver(self, messages: Messages, targets: Sequence[Target]) -> Delivery:
        """Queue each message for its connections; see port.Holder."""
        owners, kinds, numbers = self._handles, self._kinds, self._numbers
        outbox = self._connections.outbox
        delivered = index = 0
        missed: dict[int, int] = {}
        for message, target in zip(messages.records(), targets, strict=True):
            shared: dict[int, bytes] | None = None  # encoded once for several connections
            if isinstance(target, int):
                target = (target,)  # noqa: PLW2901
            for handle in target or ():
                fd = handle & SLOT_MASK
                kind = kinds[fd]
                if owners[fd] != handle or kind < STREAM:
                    missed[index] = missed.get(index, 0) + 1
                    continue
                encode, counts = _ENCODERS[kind]
                if counts:
                    number = numbers[fd] = numbers[fd] + 1 & 0xFFFFFFFF
                    data = encode(message, number)
                    if not kind & 1:
                        data = b"%x\r\n%b\r\n" % (len(data), data)
                elif shared is not None and kind in shared:
                    data = shared[kind]
                else:
                    data = encode(message, 0)
                    if not kind & 1:
                        data = chunk(data)
                    shared = {kind: data} if shared is None else shared | {kind: data}
                queued = outbox.queued
                if fd not in queued and not outbox.tails:
                    queued[fd] = data  # what Outbox.queue does, without a call
                elif not outbox.queue(fd, data):
                    missed[index] = missed.get(index, 0) + 1
                    continue
                delivered += 1
            index += 1
        self._counts[Field.DELIVERED] += delivered
        if missed:
            self._counts[Field.UNDELIVERED] += sum(missed.values())
        return delivered, missed

    def logins(self) -> Iterator[tuple[int, bytes]]:
        """Everyone who is logged in or waits for it, for a router that knows nobody."""
        columns = self._connections.columns
        for fd, kind in enumerate(columns.kind):
            if kind >= STREAM or kind == LOGGING_IN:
                yield columns.handle[fd], columns.get_user(fd)

    # what the clock calls

    def beat(self) -> None:
        """Send a heartbeat, or where there is none a probe, to the streams whose turn it is:
        each tick to another share."""
        connections = self._connections
        if self._beats:
            for fd, kind in self._share(self._beats):
                beat = TRANSPORTS[(kind - STREAM) >> 1].heartbeat
                if beat:
                    connections.outbox.queue(fd, beat if kind & 1 else chunk(beat))
        if self._probes:
            for fd, kind in self._share(self._probes):
                if not (self._beats and TRANSPORTS[(kind - STREAM) >> 1].heartbeat):
                    sockets.probe(fd)

    def _share(self, period: int) -> Iterator[tuple[int, int]]:
        """Every `period`-th row's stream and its kind; at the next tick those beside them."""
        kinds = self._connections.columns.kind
        for fd in range(self._connections.now % period, len(kinds), period):
            if kinds[fd] >= STREAM:
                yield fd, kinds[fd]

    def end(self) -> list[int]:
        """Queue the last chunk of every stream; returns the streams."""
        kinds = self._connections.columns.kind
        streams = [fd for fd, kind in enumerate(kinds) if kind >= STREAM]
        for fd in streams:
            if not kinds[fd] & 1:
                self._connections.outbox.finish(fd, LAST_CHUNK)
        return streams

    @staticmethod
    def _fixed_head(transport: Transport) -> bytes:
        return b"".join(b"%b: %b\r\n" % header for header in (*_COMMON_HEADERS, *transport.headers))
