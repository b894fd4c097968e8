"""A client that sends the very bytes that it's told, and reads answers strictly.

Strictly: a chunk's framing must be exact, an answer's length too, and what comes after
an answer stays for the next call, so that nothing superfluous goes unnoticed.
"""

import contextlib
import socket
from typing import NamedTuple, Self

import msgspec

from .servers.encke import Address
from .servers.processes import PATIENCE

FAREWELL = 0.5
"""Seconds that the server has to end its side of a connection."""


class Answer(NamedTuple):
    """One response; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> dict[str, int | str]:
        """The body, which must be a JSON object of numbers, strings and booleans."""
        found = msgspec.json.decode(self.body, type=dict[str, int | str | bool])
        return dict(found)

    def problem(self, status: int) -> str:
        """The `detail` of problem details, which must be in order and have this status."""
        assert self.status == status, (self.status, self.body)
        assert self.headers["content-type"] == "application/problem+json"
        body = self.json()
        assert body["status"] == status
        assert body["type"] == "about:blank"
        assert body["title"]
        detail = body["detail"]
        assert isinstance(detail, str)
        assert detail.endswith("."), f"no sentence: {detail}"
        assert " " in detail
        return detail


class Raw:
    """One connection; its receive buffer has the kernel's size if `receive_buffer` is 0."""

    def __init__(
        self, address: Address, seconds: float = PATIENCE, receive_buffer: int = 0
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer:  # it can be set only before connecting
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(seconds)
        try:
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close it, and let the server do so first, if it isn't busy: on a busy machine the next
        test's messages would reach this stream, if it has the same id."""
        with contextlib.suppress(OSError):
            self.socket.settimeout(FAREWELL)
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(1024 * 1024):
                pass
        self.close()

    def close(self) -> None:
        """Close it; may be called again."""
        self.socket.close()

    def send(self, *data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(b"".join(data))

    def end(self) -> None:
        """Say that no more will be sent (half close)."""
        self.socket.shutdown(socket.SHUT_WR)

    def read(self, size: int) -> bytes:
        """So many bytes."""
        self.gather(size)
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def gather(self, size: int, step: int = 65536) -> None:
        """Receive, at most `step` bytes at a time, until so many wait to be read."""
        while len(self.buffer) < size:
            self._receive(step)

    def line(self) -> bytes:
        """Up to the next CR LF, which is not returned."""
        return self.line_until(b"\r\n")

    def line_until(self, mark: bytes) -> bytes:
        """Up to `mark`, which is not returned."""
        start = 0
        while (end := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark))
            self._receive()
        taken = bytes(self.buffer[:end])
        del self.buffer[: end + len(mark)]
        return taken

    def rest(self) -> bytes:
        """Everything up to the end; raises ConnectionResetError if that isn't a clean one."""
        while data := self.socket.recv(65536):
            self.buffer += data
        return self.read(len(self.buffer))

    def everything(self) -> bytes:
        """Everything up to the end, be it a reset."""
        with contextlib.suppress(ConnectionResetError):
            return self.rest()
        return self.read(len(self.buffer))

    def head(self) -> Answer:
        """Status and headers of the next response."""
        version, status, reason = self.line().decode().split(" ", 2)
        assert version == "HTTP/1.1"
        assert reason
        headers: dict[str, str] = {}
        while line := self.line().decode():
            name, value = line.split(": ", 1)
            assert name.lower() not in headers, f"{name} comes twice"
            headers[name.lower()] = value
        return Answer(int(status), headers)

    def answer(self) -> Answer:
        """The next response, which must have a Content-Length."""
        head = self.head()
        return head._replace(body=self.read(int(head.headers["content-length"])))

    def chunk(self) -> bytes:
        """The next chunk's data; empty if it's the last one."""
        size = self.line()
        assert size == b"%x" % int(size, 16), f"odd chunk size {size!r}"
        data = self.read(int(size, 16))
        assert self.read(2) == b"\r\n"
        return data

    def at_the_server(self) -> tuple[int, int]:
        """Bytes at the server's end, which is on this machine too: that its kernel hasn't got rid
        of, and that it hasn't read (proc(5), tcp)."""
        theirs, ours = self.socket.getpeername()[1], self.socket.getsockname()[1]
        with open("/proc/net/tcp", encoding="ascii") as lines:
            for line in lines:
                row = line.split()
                if row[1].endswith(f":{theirs:04X}") and row[2].endswith(f":{ours:04X}"):
                    unsent, unread = row[4].split(":")
                    return int(unsent, 16), int(unread, 16)
        return 0, 0  # it's closed

    def _receive(self, most: int = 65536) -> None:
        data = self.socket.recv(most)
        assert data, f"the server closed; unread: {bytes(self.buffer)!r}"
        self.buffer += data


def request(
    method: str, path: str, *headers: str, body: bytes = b"", version: str = "1.1"
) -> bytes:
    """A request; a Content-Length is added if there is a body, or the method wants one."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *headers]
    if body or (method == "POST" and not any("-encoding:" in it.lower() for it in headers)):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A POST request."""
    return request("POST", path, *headers, body=body)


def chunked(*pieces: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(it), it) for it in pieces if it) + b"0\r\n\r\n"
