"""A link's end: frames over a Unix socket, written in batches.

Invariants: frames leave in the order of `send`; one write a turn (`flush`), however
many frames; what the kernel doesn't take waits here, and is bounded because what it
answers is (see the gateway's window).
"""

import socket
from collections.abc import Callable

from ..errors import FrameError
from ..wire.link import Frame, FrameReader
from .loop import GONE, IN, OUT, Reactor

READ_SIZE = 256 * 1024
"""Bytes read a turn: about 2,000 messages; more would only keep others waiting."""

SOCKET_BUFFER = 2 * 1024 * 1024
"""Kernel buffer of a link, so that a whole batch goes in one write."""


class Channel:
    """One end of a link; `received` gets the frames, `closed` is called once at its end."""

    __slots__ = (
        "_closed", "_gathering", "_reactor", "_read_size", "_reader", "_socket", "_unwritten",
        "frames", "open", "received",
    )  # fmt: skip

    def __init__(
        self,
        reactor: Reactor,
        connection: socket.socket,
        received: Callable[[list[Frame]], None],
        closed: Callable[[], None],
        read_size: int = READ_SIZE,
        gathering: "list[Channel] | None" = None,
    ) -> None:
        """At most `read_size` bytes are read a turn. A channel that has something to write puts
        itself on the list `gathering`, which `flush_all` takes."""
        connection.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connection.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
        self._reactor = reactor
        self._socket = connection
        self.received = received
        """Who gets the frames that come; another may be put in its place."""
        self._closed = closed
        self._read_size = read_size
        self._gathering = gathering
        self._reader = FrameReader()
        self.frames: list[bytes] = []
        """What the next `flush` writes."""
        self._unwritten = memoryview(b"")
        self.open = True
        reactor.add(connection.fileno(), IN, self._ready)

    def send(self, frame: Frame) -> None:
        """Queue `frame`; it leaves with the next `flush`."""
        if self.open:
            if not self.frames and self._gathering is not None:
                self._gathering.append(self)
            self.frames.append(frame.encode())

    def flush(self) -> None:
        """Write what was queued, as far as the kernel takes it."""
        frames = self.frames
        if not frames or not self.open or self._unwritten:  # it's the kernel's turn to say when
            return
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        frames.clear()
        try:
            written = self._socket.send(data)
        except BlockingIOError:
            written = 0
        except OSError:
            self.close()
            return
        if written < len(data):
            self._unwritten = memoryview(data)[written:]
            self._reactor.change(self._socket.fileno(), IN | OUT)

    def close(self) -> None:
        """End the link; `closed` is called."""
        if self.open:
            self.open = False
            self._reactor.remove(self._socket.fileno())
            self._socket.close()
            self._closed()

    def _ready(self, events: int) -> None:
        """The link can be written to again, or has something to read, or has ended."""
        if events & OUT and self._unwritten:
            self._write_on()
        if not events & (IN | GONE) or not self.open:
            return
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
            self.received(frames)

    def _write_on(self) -> None:
        try:
            written = self._socket.send(self._unwritten)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._unwritten = self._unwritten[written:]
        if not self._unwritten:
            self._reactor.change(self._socket.fileno(), IN)
            self.flush()  # what has been queued meanwhile


def connect(path: str) -> socket.socket | None:
    """A connection to the Unix socket at `path`, without waiting; None: nobody listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def flush_all(gathering: list[Channel]) -> None:
    """Flush the channels that have put themselves on the list: once, at the end of a turn."""
    while gathering:
        gathering.pop().flush()
