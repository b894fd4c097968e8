"""A crowd: many ``/test`` streams in one thread, each with what it got.

A stream's framing is checked as it's read: head, chunks, message numbers from 1, and
nothing after the last chunk.
"""

import contextlib
import enum
import re
import select
import socket
import time
from collections.abc import Callable, Iterable
from typing import Self

from .servers.encke import Address
from .servers.processes import PATIENCE

_MESSAGE = re.compile(rb"Recvd msg #(\d+): '(.*)'\n", re.DOTALL).fullmatch


class End(enum.Enum):
    """How a stream ended."""

    OPEN = enum.auto()
    PROPER = enum.auto()  # with the last chunk
    CUT = enum.auto()  # without one
    OURS = enum.auto()  # closed here


class Stream:
    """One stream: `user` is whose it is, `tag` whatever its opener wants to remember."""

    __slots__ = ("_buffer", "end", "ended_at", "messages", "opened_at", "socket", "tag", "user")

    def __init__(self, user: str, connection: socket.socket, tag: int) -> None:
        self.user = user
        self.socket = connection
        self.tag = tag
        self.opened_at = 0.0
        """When the head was read, from when on the user is reachable; 0: not yet."""
        self.end = End.OPEN
        self.ended_at = 0.0
        """By time.monotonic(); 0: it is open."""
        self.messages: list[bytes] = []
        self._buffer = bytearray()

    @property
    def is_open(self) -> bool:
        """Whether the head was read."""
        return bool(self.opened_at)

    def feed(self, data: bytes) -> None:
        """Take in what was read."""
        assert not self.ended_at, f"after the last chunk: {data!r}"
        buffer = self._buffer
        buffer += data
        if not self.is_open:
            head, found, rest = buffer.partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 200 "), head
            self.opened_at = time.monotonic()
            self._buffer = buffer = rest
        start = 0
        while (line_end := buffer.find(b"\r\n", start)) >= 0:
            size = int(buffer[start:line_end], 16)
            end = line_end + 2 + size
            if len(buffer) < end + 2:
                break
            assert buffer[end : end + 2] == b"\r\n", buffer
            self._chunk(bytes(buffer[line_end + 2 : end]))
            start = end + 2
        del buffer[:start]
        assert not self.ended_at or not buffer, f"after the last chunk: {bytes(buffer)!r}"

    def closed(self, end: End) -> None:
        """The connection has ended."""
        if self.end is End.OPEN:
            self.end = end
            self.ended_at = time.monotonic()
        self.socket.close()

    def _chunk(self, data: bytes) -> None:
        assert not self.ended_at, f"after the last chunk: {data!r}"
        if not data:
            self.end = End.PROPER
            self.ended_at = time.monotonic()
            return
        found = _MESSAGE(data)
        assert found is not None, data
        self.messages.append(found[2])
        assert int(found[1]) == len(self.messages), data


class Crowd:
    """Streams of one server. `poll` reads; one thread may poll while another opens."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._epoll = select.epoll()
        self._by_fd: dict[int, Stream] = {}
        self.streams: list[Stream] = []
        self.polled_elsewhere = False
        """Whether another thread polls."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self.streams:
            stream.socket.close()
        self._epoll.close()

    def open(
        self,
        users: Iterable[str],
        tag: int = 0,
        seconds: float = 60.0,
        address: Address | None = None,
    ) -> list[Stream]:
        """Open a stream for each of `users`, and wait until all are reachable."""
        opened = []
        for user in users:
            connection = socket.create_connection(address or self._address, PATIENCE)
            connection.setblocking(False)
            connection.send(b"GET /test/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % user.encode())
            stream = Stream(user, connection, tag)
            opened.append(stream)
            self.streams.append(stream)
            self._by_fd[connection.fileno()] = stream
            self._epoll.register(connection.fileno(), select.EPOLLIN)
        self.until(lambda: all(it.is_open for it in opened), "all streams are open", seconds)
        return opened

    def poll(self, seconds: float = 0.1) -> None:
        """Read what there is; waits at most so long for something."""
        for fd, _events in self._epoll.poll(seconds):
            stream = self._by_fd[fd]
            try:
                data = stream.socket.recv(262144)
            except BlockingIOError:
                continue
            except ConnectionError:
                data = b""
            if data:
                stream.feed(data)
            else:
                self.drop(stream, End.CUT)

    def drop(self, stream: Stream, end: End = End.OURS) -> None:
        """Close a stream from this side."""
        fd = stream.socket.fileno()
        if fd >= 0:
            self._by_fd.pop(fd, None)
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
            stream.closed(end)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Read until `condition` holds; fails with `what` after `seconds`."""
        give_up = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < give_up, f"after {seconds:g} s still not: {what}"
            if self.polled_elsewhere:
                time.sleep(0.005)
            else:
                self.poll()
