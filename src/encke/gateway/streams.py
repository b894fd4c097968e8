"""Streams: from login to the last chunk, and the messages in between.

The head of a stream is written only once the router has acknowledged the login: a
client that sees the head is reachable.
"""

import math
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from ..ids import SLOT_MASK
from ..scoreboard import Field
from ..wire.cors import Cors
from ..wire.message import Message, Messages
from ..wire.protocols import PROTOCOLS, Command, Protocol, nothing
from ..wire.request import Request
from ..wire.response import LAST_CHUNK, chunk, header_lines, status_line
from . import life, sockets
from .connections import TICK, Connections
from .exchange import Exchange, PendingStream
from .life import LOGGING_IN, STREAM
from .port import Late, Target, Written
from .routes import Route
from .slices import ROOM, SHORT, Part, Slices

_COMMON_HEADERS = (
    # no-transform: proxies that compress would hold messages back
    (b"Cache-Control", b"no-cache, no-store, no-transform"),
)

_ENCODERS = {
    life.stream(place, chunked=chunked): (protocol.encode, protocol.around is not None, chunked)
    for place, protocol in enumerate(PROTOCOLS)
    for chunked in (True, False)
}
"""By state: how a message is encoded, whether it is numbered, whether it is a chunk."""

_NOTHING: dict[int, bytes] = {}

_OK = status_line(200)

UNASKED = 4096
"""Bytes that a client may send on a stream whose protocol expects nothing: some programs end a
request with a line end too many."""

UNASKED_PIECE = 64
"""Bytes that each piece of it counts for at least: that's what it costs."""


def _period(seconds: float) -> int:
    """So many seconds in ticks, at least one; 0: never."""
    return max(1, round(seconds / TICK)) if seconds else 0


class Streams:
    """The streams of one gateway; what the router calls (port.Holder)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._settings = connections.settings
        self.cors = Cors(connections.settings.allow_origin)
        columns = connections.columns
        self._handles, self._states, self._numbers = columns.handle, columns.state, columns.count
        self._counts = connections.counts
        self.slices = Slices(self._write_late)
        self.room = ROOM
        """Bytes of messages that may still be written at once in this turn."""
        self._beats = _period(self._settings.heartbeat)
        # a client that hears nothing for longer knows that the stream is lost
        seconds = b"%g" % self._settings.heartbeat
        self._heartbeat = ((b"Encke-Heartbeat", seconds),) if self._beats else ()
        self._probes = _period(self._settings.keepalive)

    def ask(self, exchange: Exchange, request: Request, where: Route, date: bytes) -> None:
        """`request` asks for a stream; `log_in` comes once all earlier answers are out."""
        self._connections.move(exchange.fd, life.Event.STREAM_ASKED)
        exchange.login = PendingStream(
            life.stream(where.protocol, chunked=not request.is_http_10),
            where.id,
            self.head(request, where, date),
            self.cors.told(request.headers.get(b"origin")),
            request.accepts_events,
        )

    def log_in(self, exchange: Exchange) -> None:
        """Ask the router; `logged_in` goes on."""
        assert exchange.login is not None
        exchange.parser.close()  # half of what it weighs, while very many wait
        fd, columns = exchange.fd, self._connections.columns
        columns.set_user(fd, exchange.login.user)
        self._connections.move(fd, life.Event.ANSWERED)
        self._counts[Field.LOGINS] += 1
        self._connections.router.login(columns.handle[fd], exchange.login.user)

    def head(self, request: Request, where: Route, date: bytes, *, only: bool = False) -> bytes:
        """The response's head; `only` (the answer to HEAD) without the greeting."""
        protocol = PROTOCOLS[where.protocol]
        framing = b"Connection: close" if request.is_http_10 else b"Transfer-Encoding: chunked"
        cors = self.cors.headers(request.headers.get(b"origin"))
        beats = self._heartbeat if protocol.heartbeat else ()
        fields = header_lines((*_COMMON_HEADERS, *protocol.headers(request), *beats, *cors))
        head = b"%bDate: %b\r\n%b%b\r\n\r\n" % (_OK, date, fields, framing)
        if only:
            return head
        greeting = protocol.greeting(self._settings.retry * (1 + random.random()))
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
            if columns.handle[fd] != handle or columns.state[fd] != LOGGING_IN:
                continue  # it's gone by now, or was a stream before the router's restart
            exchange = connections.awake[fd]
            login = exchange.login
            assert login is not None
            connections.become_stream(exchange, login.state)
            connections.outbox.queue(fd, login.head)

    def deliver(self, messages: Messages, targets: Sequence[Target]) -> Written:
        """Queue each message for its connections; see port.Holder."""
        owners, states, numbers = self._handles, self._states, self._numbers
        outbox, waiting, room = self._connections.outbox, self.slices.waiting, self.room
        delivered = index = 0
        missed: dict[int, int] = {}
        late: Late | None = None
        records = map(Message, messages.data, messages.publishers or repeat(b""))
        for message, target in zip(records, targets, strict=True):
            shared = _NOTHING  # encoded once for several connections
            size, short = len(message.data), False
            if isinstance(target, int):
                short = size <= SHORT
                target = (target,)  # noqa: PLW2901
            for handle in target or ():
                fd = handle & SLOT_MASK
                state = states[fd]
                if owners[fd] != handle or state < STREAM:
                    missed[index] = missed.get(index, 0) + 1
                    continue
                if fd in waiting or (room < size and not short):
                    late = self.slices.put_off(late, index, message, shared, handle)
                    continue
                data = shared.get(state)
                if data is None:
                    encode, numbered, chunked = _ENCODERS[state]
                    if numbered:
                        numbers[fd] = numbers[fd] + 1 & 0xFFFFFFFF
                    data = encode(message, numbers[fd])
                    if chunked:
                        data = b"%x\r\n%b\r\n" % (len(data), data)  # as response.chunk
                    if not numbered:
                        shared = {**shared, state: data}
                room -= len(data)
                queued = outbox.queued
                if fd not in queued and not outbox.tails:
                    queued[fd] = data  # what Outbox.queue does, without a call
                elif not outbox.queue(fd, data):
                    missed[index] = missed.get(index, 0) + 1
                    continue
                delivered += 1
            index += 1
        self.room = room
        self._counts[Field.DELIVERED] += delivered
        self._counts[Field.UNDELIVERED] += sum(missed.values())
        return delivered, missed, late

    def _write_late(self, part: Part, handle: int) -> int:
        """Write to a connection what was put off; returns the bytes that the kernel took."""
        fd, late, outbox = handle & SLOT_MASK, part.late, self._connections.outbox
        before = outbox.bytes_out
        here = self._handles[fd] == handle and self._states[fd] >= STREAM
        if here and outbox.write(fd, self._pieces(part, fd)):
            late.delivered += 1
            self._counts[Field.DELIVERED] += 1
        else:
            late.missed[part.index] = late.missed.get(part.index, 0) + 1
            self._counts[Field.UNDELIVERED] += 1
        return outbox.bytes_out - before

    def _pieces(self, part: Part, fd: int) -> Sequence[bytes]:
        """What a connection is sent: of a large message the very bytes that all others are."""
        state, message = self._states[fd], part.message
        protocol = self._protocol(fd)
        if protocol.around is not None:
            number = self._numbers[fd] = self._numbers[fd] + 1 & 0xFFFFFFFF
            before, after = protocol.around(number)
            if life.chunked(state):
                size = len(before) + len(message.data) + len(after)
                before, after = b"%x\r\n%b" % (size, before), after + b"\r\n"
            return before, message.data, after
        data = part.encoded.get(state)
        if data is None:
            data = part.encoded[state] = self._framed(fd, protocol.encode(message, 0))
        return (data,)

    def logins(self) -> Iterator[tuple[int, bytes]]:
        """Everyone who is logged in or waits for it, for a router that knows nobody."""
        columns = self._connections.columns
        for fd, state in enumerate(columns.state):
            if state >= STREAM or state == LOGGING_IN:
                yield columns.handle[fd], columns.get_user(fd)

    # what clients do

    def readable(self, fd: int) -> None:
        """A stream's client is gone, or sends something after its request."""
        try:
            data = os.read(fd, UNASKED + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        protocol = self._protocol(fd)
        if not data or Command.CLOSE in protocol.commands(data):
            self._connections.close(fd)
        elif protocol.commands is nothing:
            self.unasked(fd, len(data))

    def unasked(self, fd: int, size: int) -> None:
        """A client that has asked for a stream has sent so many bytes that nobody expects."""
        connections = self._connections
        sent = connections.unasked.get(fd, 0) + max(size, UNASKED_PIECE)
        connections.unasked[fd] = sent
        if sent > UNASKED:
            self._counts[Field.BAD_REQUESTS] += 1
            connections.close(fd)

    # what the clock calls

    def beat(self) -> None:
        """Send a heartbeat, or where there is none a probe, to the streams whose turn it is:
        each tick to another share."""
        outbox = self._connections.outbox
        if self._beats:
            for fd in self._share(self._beats):
                beat = self._protocol(fd).heartbeat
                if beat and fd not in outbox.tails:  # or it's slow: nothing new is known by it
                    outbox.queue(fd, self._framed(fd, beat))
        if self._probes:
            for fd in self._share(self._probes):
                if not (self._beats and self._protocol(fd).heartbeat):
                    sockets.probe(fd)

    def _share(self, period: int) -> Iterator[int]:
        """Every `period`-th row's stream; at the next tick those beside them."""
        states = self._states
        for fd in range(self._connections.now % period, len(states), period):
            if states[fd] >= STREAM:
                yield fd

    def end(self) -> list[int]:
        """Queue the last bytes of every stream; returns the streams."""
        self.slices.go_on(math.inf)
        streams = [fd for fd, state in enumerate(self._states) if state >= STREAM]
        for fd in streams:
            farewell = self._protocol(fd).farewell
            last = self._framed(fd, farewell) if farewell else b""
            if life.chunked(self._states[fd]):
                last += LAST_CHUNK
            if last:
                self._connections.outbox.finish(fd, last)
        return streams

    def _protocol(self, fd: int) -> Protocol:
        return PROTOCOLS[life.protocol(self._states[fd])]

    def _framed(self, fd: int, data: bytes) -> bytes:
        return chunk(data) if life.chunked(self._states[fd]) else data
