"""A link's end: frames over a Unix socket, written in batches.

Invariants: frames leave in the order of `send`; one write a turn (`flush`), however
many frames; what the kernel doesn't take waits here, and is bounded because what it
answers is (see the gateway's window).

May import: wire.link, reactor.loop, errors.
"""

import socket
from collections.abc import Callable

from ..errors import FrameError
from ..wire.link import Frame, FrameReader, encode
from .loop import GONE, IN, OUT, Reactor

READ_SIZE = 256 * 1024
"""Bytes read a turn: about 2,000 messages; more would only keep others waiting."""

SOCKET_BUFFER = 2 * 1024 * 1024
"""Kernel buffer of a link, so that a whole batch goes in one write."""


class Channel:
    """One end of a link; `received` gets the frames, `closed` is called once at its end."""

    def __init__(
        self,
        reactor: Reactor,
        connection: socket.socket,
        received: Callable[[list[Frame]], None],
        closed: Callable[[], None],
        read_size: int = READ_SIZE,
    ) -> None:
        """At most `read_size` bytes are read a turn."""
        connection.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connection.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        self._reactor = reactor
        self._socket = connection
        self._received = received
        self._closed = closed
        self._read_size = read_size
        self._reader = FrameReader()
        self._frames: list[bytes] = []
        self._unwritten = b""
        self.open = True
        reactor.add(connection.fileno(), IN, self._ready)

    def send(self, frame: Frame) -> None:
        """Queue `frame`; it leaves with the next `flush`."""
        if self.open:
            self._frames.append(encode(frame))

    def flush(self) -> None:
        """Write what was queued, as far as the kernel takes it."""
        if not self._frames or not self.open:
            return
        was_empty = not self._unwritten
        data = b"".join((self._unwritten, *self._frames))
        self._frames.clear()
        if was_empty:
            self._write(data)
        else:
            self._unwritten = data

    def close(self) -> None:
        """End the link; `closed` is called."""
        if self.open:
            self.open = False
            self._reactor.remove(self._socket.fileno())
            self._socket.close()
            self._closed()

    def _write(self, data: bytes) -> None:
        waited = bool(self._unwritten)
        try:
            written = self._socket.send(data)
        except BlockingIOError:
            written = 0
        except OSError:
            self.close()
            return
        self._unwritten = data[written:]
        if bool(self._unwritten) != waited:
            self._reactor.change(self._socket.fileno(), IN | OUT if self._unwritten else IN)

    def _ready(self, events: int) -> None:
        if events & OUT and self._unwritten:
            self._write(self._unwritten)
        if events & (IN | GONE) and self.open:
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(self._read_size)
            frames = self._reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, FrameError):
            self.close()
            return
        if not data:
            self.close()
        elif frames:
            self._received(frames)
