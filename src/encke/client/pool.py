"""Plain connections for any number of threads.

A connection belongs to the thread that took it until it gives it back; those that nobody has lie
in a deque, whose `pop` and `append` are atomic. So there is no lock that a thread could hold while
another one forks.
"""

import contextlib
import itertools
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from . import forks
from .answers import broken, closed, is_stream, no_answer, silent, too_slow, unreachable
from .posts import LAST_CHUNK, WRITE_SIZE, Lines
from .reader import Answer, Reader
from .server import KEEPALIVE, Server, seconds, tls

IDLE = 30.0
"""Seconds after which a connection isn't used any more: the server closes it after 75 s, and a
message must not meet a connection that is just being closed."""

KEPT = 100
"""Connections that are kept for the next request, at most."""

READ_SIZE = 64 * 1024

_TLS_WAITS = (ssl.SSL_ERROR_WANT_READ, ssl.SSL_ERROR_WANT_WRITE)


class Wire:
    """One connection; of one thread at a time. Raises Unreachable if there is no server."""

    def __init__(self, server: Server, timeout: float) -> None:
        self._url = server.url
        self._timeout = timeout
        self._socket = connected(server, timeout)
        self._tls: Final = server.tls
        self._poll = select.poll()
        self._poll.register(self._socket)
        self.reader = Reader(server.url)
        self.since = 0.0
        """When it was given back."""

    def __del__(self) -> None:
        """Who makes a client that lives as long as the program needn't close it."""
        with contextlib.suppress(AttributeError):  # it was never connected
            self.close()

    def usable(self) -> bool:
        """Whether the server still has it, and has said nothing that wasn't asked for."""
        if time.monotonic() - self.since > IDLE:
            return False
        try:
            return self._receive() is None
        except OSError:
            return False

    def close(self) -> None:
        """Close it; may be called again."""
        self._socket.close()

    def keep_alive(self) -> None:
        """Have TCP ask now and then whether the other side is there."""
        for option in KEEPALIVE:
            self._socket.setsockopt(*option)

    def shut(self) -> None:
        """End it, so that a thread which waits for it sees the end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def ask(self, request: bytes) -> Answer:
        """Write `request`, and read its answer to the end. Raises Interrupted."""
        self.reader.expect()
        if not self._write(request):
            self.reader.keep = False
        return self._answer()

    def stream(self, head: bytes, pieces: Iterable[bytes]) -> Answer:
        """Write a request whose body is `pieces`, and read its answer: as soon as that begins,
        no more of the body is wanted. Raises Interrupted, and what `pieces` raises."""
        self.reader.expect()
        for piece in itertools.chain((head,), pieces, (LAST_CHUNK,)):
            if self._answers_already() or not self._write(piece):
                answer = self._answer()
                self.reader.keep = False  # the rest of the body would be taken for a request
                return answer
        return self._answer()

    def open(self, request: bytes) -> Answer:
        """Write `request`, and read its answer: to the end, or of a stream the head.

        Raises Interrupted, or Unreachable if none comes in time.
        """
        self.reader.expect()
        self._write(request)
        deadline = time.monotonic() + self._timeout
        try:
            while not self.reader.headed:
                self._read(deadline)
        except TimeoutError:
            raise no_answer(self._url, self._timeout) from None
        if not is_stream(self.reader.answer):
            self._answer()
        return self.reader.answer

    def piece(self, patience: float | None) -> bytes:
        """The next bytes of a stream, b"" at its end. Raises Interrupted, also if none come for
        `patience` seconds."""
        answer = self.reader.answer
        deadline = None if patience is None else time.monotonic() + patience
        try:
            while not answer.body and not answer.whole:
                self._read(deadline)
        except TimeoutError:
            raise silent(self._url) from None
        piece = bytes(answer.body)
        answer.body.clear()
        return piece

    def _answer(self) -> Answer:
        """The rest of an answer."""
        deadline = time.monotonic() + self._timeout
        try:
            while not self.reader.answer.whole:
                self._read(deadline)
        except TimeoutError:
            raise too_slow(self._url) from None
        return self.reader.answer

    def _read(self, deadline: float | None) -> None:
        """What comes next; raises Interrupted, and TimeoutError at the deadline."""
        try:
            piece = self._receive() if self._tls else None  # some may be decrypted already
            while piece is None:
                self._await(select.POLLIN, deadline)
                piece = self._receive()
        except TimeoutError:
            raise
        except OSError as error:
            raise broken(self._url, error) from error
        self.reader.feed(piece)

    def _receive(self) -> bytes | None:
        """What is there; None if nothing is."""
        try:
            return self._socket.recv(READ_SIZE)
        except OSError as error:
            if not _waits(error):
                raise
        return None

    def _write(self, data: bytes) -> bool:
        """Write all of `data`; False if that isn't wanted: the server has begun to answer."""
        rest = memoryview(data)
        deadline = time.monotonic() + self._timeout
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
                continue
            except OSError as error:
                if not _waits(error):
                    if self._answers_already():
                        return False
                    raise broken(self._url, error) from error
            try:
                self._await(select.POLLIN | select.POLLOUT, deadline)
            except TimeoutError:
                raise too_slow(self._url) from None
            if self._answers_already():
                return False
        return True

    def _answers_already(self) -> bool:
        """Whether something of an answer has come; it is there also when the server's end has
        made writing impossible."""
        try:
            piece = self._receive()
        except OSError as error:
            raise broken(self._url, error) from error
        if piece is not None:
            self.reader.feed(piece)
        return self.reader.begun

    def _await(self, events: int, deadline: float | None) -> None:
        """Until one of `events`, or an error, is there; raises TimeoutError."""
        self._poll.modify(self._socket, events)
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not self._poll.poll(left):
            raise TimeoutError


def _waits(error: OSError) -> bool:
    """Whether it isn't one: the other side hasn't sent or taken enough yet."""
    if isinstance(error, BlockingIOError):
        return True
    return isinstance(error, ssl.SSLError) and error.errno in _TLS_WAITS


def connected(server: Server, timeout: float) -> socket.socket:
    """A socket that is connected and doesn't block; raises Unreachable."""
    plain = None
    try:
        plain = socket.create_connection((server.host, server.port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = tls().wrap_socket(plain, server_hostname=server.host) if server.tls else plain
        made.setblocking(False)
    except OSError as error:
        if plain is not None:
            plain.close()
        raise unreachable(server.url, error) from error
    return made


def once(server: Server, request: bytes, timeout: float) -> Answer:
    """The answer to one request; no connection is kept. Raises Unreachable, Interrupted."""
    wire = Wire(server, timeout)
    try:
        return wire.ask(request)
    finally:
        wire.close()


class Closing(Protocol):
    """A stream that is open."""

    def close(self) -> None:
        """Close it."""

    def forget(self) -> None:
        """See forks.Forgetting."""


class Pool:
    """A server's connections; of any number of threads, and of forked processes."""

    def __init__(self, server: Server, timeout: float) -> None:
        self.server = server
        self.timeout = seconds(timeout)
        self.streams: set[Closing] = set()
        """Those that are open."""
        self._idle: deque[Wire] = deque()
        self._closed = False
        forks.at_fork(self)

    def ask(self, request: bytes) -> Answer:
        """The answer to a request that is sent once.

        Raises Closed, Unreachable, Interrupted.
        """
        wire = self._take()
        try:
            answer = wire.ask(request)
        except BaseException:
            wire.close()
            raise
        self._give(wire)
        return answer

    def stream(self, head: bytes, items: Iterable[object], lines: Lines) -> Answer:
        """The answer to a request whose body is `items` as `lines`.

        Raises as `ask` does, and what `items` raises.
        """
        wire = self._take()
        try:
            answer = wire.stream(head, _pieces(items, lines))
        except BaseException:
            wire.close()
            raise
        self._give(wire)
        return answer

    def open(self) -> Wire:
        """A connection of its own, for a stream."""
        if self._closed:
            raise closed()
        return Wire(self.server, self.timeout)

    def close(self) -> None:
        """Close streams, and what nobody uses; what is in use is closed once it's given back."""
        self._closed = True
        for stream in list(self.streams):
            stream.close()
        self._drop(0)

    def forget(self) -> None:
        """See forks.Forgetting. To close a descriptor here closes no connection of the parent."""
        streams, self.streams = self.streams, set()
        for stream in streams:
            stream.forget()
        self._drop(0)

    def _take(self) -> Wire:
        if self._closed:
            raise closed()
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return Wire(self.server, self.timeout)
            if wire.usable():
                return wire
            wire.close()

    def _give(self, wire: Wire) -> None:
        if not wire.reader.keep:
            wire.close()
            return
        wire.since = time.monotonic()
        self._idle.append(wire)
        self._drop(0 if self._closed else KEPT)

    def _drop(self, keep: int) -> None:
        """Close the oldest, until there are `keep` at most."""
        while len(self._idle) > keep:
            try:
                self._idle.popleft().close()
            except IndexError:
                return  # somebody else took the last


def _pieces(items: Iterable[object], lines: Lines) -> Iterator[bytes]:
    """`items` in chunks of 64 KiB."""
    for item in items:
        if not lines.add(item):
            break
        if len(lines.block) >= WRITE_SIZE:
            yield lines.take()
    if lines.block:
        yield lines.take()
