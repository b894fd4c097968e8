"""One TCP connection to a NATS server: bytes in, bytes out, maybe through TLS.

Invariants: bytes leave in the order of `write`, one `send` or more at `flush`; what the
kernel doesn't take waits here and counts as `pending`, which the owner bounds. At most
READ_SIZE bytes are read a turn. `closed` is called at most once, and never after `close`.
"""

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..reactor.loop import GONE, IN, OUT, Reactor
from ..reactor.resolver import Address

if TYPE_CHECKING:
    from .tls import Tls

READ_SIZE = 256 * 1024
"""Bytes read a turn: some 2,000 messages; more would only keep others waiting."""


class NatsConnection:
    """A connection to `address`, made without waiting; begins with `open`.

    Set `received` and `closed` before.
    """

    received: Callable[[bytes], None]
    """Gets the bytes that come."""
    closed: Callable[[str], None]
    """Gets the reason if the connection ends, or doesn't come about."""

    def __init__(self, reactor: Reactor, address: Address) -> None:
        self._reactor = reactor
        self._address = address
        self._socket = socket.socket(address[0], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._connected = False
        self._waits = False  # for the kernel to take more
        self._reads = True
        self._chunks: deque[memoryview] = deque()
        self._tls: Tls | None = None
        self.pending = 0
        """Bytes that the kernel hasn't taken."""
        self.written = 0
        """Bytes that it has."""

    def open(self) -> None:
        """Begin to connect."""
        self._reactor.add(self._socket.fileno(), OUT, self._ready)
        try:
            self._socket.connect(self._address[1])
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(reason_of(error))

    def start_tls(self, tls: "Tls") -> None:
        """Speak TLS from now on, in both directions."""
        self._tls = tls
        self._queue(tls.outgoing())

    def write(self, data: bytes) -> None:
        """Queue `data`; it leaves with the next `flush`."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._tls.outgoing()
        self._queue(data)

    def flush(self) -> None:
        """Write what was queued, as far as the kernel takes it."""
        if self._connected and not self._waits:
            self._write()

    def read(self, reads: bool) -> None:
        """Whether to read what comes; if not, it waits at the other side."""
        if reads != self._reads:
            self._reads = reads
            if self._connected:
                self._watch()

    def close(self) -> None:
        """End the connection; nobody is called."""
        if self._socket.fileno() >= 0:
            self._reactor.remove(self._socket.fileno())
            self._socket.close()
            self._chunks.clear()
            self.pending = 0
            self._connected = False

    def _end(self, reason: str) -> None:
        if self._socket.fileno() >= 0:
            self.close()
            self.closed(reason)

    def _queue(self, data: bytes) -> None:
        if data:
            self._chunks.append(memoryview(data))
            self.pending += len(data)

    def _ready(self, events: int) -> None:
        if not self._connected:
            self._finish_connecting()
        elif events & OUT:
            self._write()
        if self._connected and events & (IN | GONE):
            self._read()

    def _finish_connecting(self) -> None:
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._end(os.strerror(error))
            return
        self._connected = True
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()

    def _write(self) -> None:
        try:
            while self._chunks:
                chunk = self._chunks[0]
                written = self._socket.send(chunk)
                self.pending -= written
                self.written += written
                if written < len(chunk):
                    self._chunks[0] = chunk[written:]
                else:
                    self._chunks.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(reason_of(error))
            return
        if bool(self._chunks) != self._waits:
            self._waits = not self._waits
            self._watch()

    def _watch(self) -> None:
        events = (IN if self._reads else 0) | (OUT if self._waits else 0)
        self._reactor.change(self._socket.fileno(), events)

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_SIZE)
            ended = not data
            if self._tls is not None:
                data = self._tls.received(data)
                self._queue(self._tls.outgoing())
                self.flush()
        except BlockingIOError:
            return
        except OSError as error:
            self._end(reason_of(error))
            return
        if data and self._connected:
            self.received(data)
        elif ended:
            self._end("the server closed the connection")


def reason_of(error: OSError) -> str:
    """What went wrong, in the system's words."""
    return error.strerror or str(error)
