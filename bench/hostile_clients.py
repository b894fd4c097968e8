"""Child process of ``python -m bench hostile``: hostile clients of one kind.

``python -m bench.hostile_clients PLAN`` connects them to the server, each with its script. It says
its Outcome once all have connected, and again once a line comes on standard input; then all go.

It runs at idle priority: the attack shall bother the server, not the good clients on this
machine. Its own ends of the connections have small buffers, since the kernel's memory is measured.
"""

import os
import resource
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from .raw import chunked, post, request

PAUSE = 1.0
"""Seconds until one that was thrown out comes back."""

STAY = 5.0
"""Seconds after which one that doesn't read comes anew: it doesn't see when it's thrown out."""

BUFFER = 32 * 1024
"""Of each end of a connection here; the kernel makes twice as much of it."""

PIECE = 64 * 1024
"""Bytes of a chunk of NDJSON, and of junk."""

MIB = 1024 * 1024

EACH = 100
"""Streams of one user id: the default --connections-per-user."""


class Script(NamedTuple):
    """What one of them sends at first, and over and over as fast as it's taken; if it reads."""

    first: bytes
    again: bytes = b""
    reads: bool = True


def _chunk(data: bytes) -> bytes:
    return chunked(data).removesuffix(b"0\r\n\r\n")


def _bulk(line: bytes) -> list[Script]:
    head = request("POST", "/send", "Transfer-Encoding: chunked")
    return [Script(head, _chunk(line * (PIECE // len(line))))]


def _unread(protocol: str, message: bytes, count: int) -> list[Script]:
    """Streams of a few users that aren't read, and one who sends to all of them."""
    users = [f"unread{it}" for it in range(-(-count // EACH))]
    gets = [request("GET", f"/{protocol}/{users[it // EACH]}") for it in range(count)]
    sends = b"".join(post(f"/send/{it}", message) for it in users)
    return [*(Script(it, reads=False) for it in gets), Script(b"", sends)]


def _junk(number: int) -> Script:
    if number % 2:
        return Script(request("GET", f"/events/junk{number}"), b"x" * PIECE)
    head = request("GET", f"/test/junk{number}", "Transfer-Encoding: chunked")
    return Script(head, _chunk(b"x" * PIECE))


def _idle(number: int) -> Script:
    id = f"idle{number}"
    return Script(request("GET", f"/events/{id}") if number % 2 else post(f"/send/{id}", b"x"))


KINDS: dict[str, Callable[[int], list[Script]]] = {
    # one sender of NDJSON without an end
    "bulk": lambda _: _bulk(b'{"id": "nobody", "data": "xxxxxxxxxxxxxxxxxxxxxxxx"}\n'),
    # streams that aren't read, and messages that are 7 MiB there
    "large": lambda count: _unread("events", b"\n" * MIB, count),
    # senders that stop one byte before the end
    "bodies": lambda count: [Script(post("/send/short", b"x" * MIB)[:-1])] * count,
    # GETs with an endless body, streams whose client sends without an end
    "junk": lambda count: list(map(_junk, range(count))),
    # streams that aren't read, and ordinary messages
    "unread": lambda count: _unread("test", b"x" * 8 * 1024, count),
    # one sender of NDJSON of nothing but empty lines
    "empty": lambda _: _bulk(b"\n"),
    # more than the server has room for: streams, and senders that keep their connection
    "cap": lambda count: list(map(_idle, range(count))),
}
"""The scripts of so many clients of a kind."""


class Plan(msgspec.Struct, frozen=True):
    """Whom to bother, how, and by how many."""

    kind: str
    port: int
    count: int

    @property
    def scripts(self) -> list[Script]:
        return KINDS[self.kind](self.count)


class Outcome(msgspec.Struct):
    """What has become of them; `sent` in bytes."""

    opened: int = 0
    gone: int = 0
    sent: int = 0
    answers: dict[str, int] = {}
    """How many, by status."""


class _Client:
    def __init__(self, script: Script, port: int) -> None:
        self.script = script
        self.born = time.monotonic()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        self.socket.connect_ex(("127.0.0.1", port))
        self.rest = memoryview(script.first or script.again)

    @property
    def interest(self) -> int:
        return (select.EPOLLIN if self.script.reads else 0) | (select.EPOLLOUT if self.rest else 0)


class Attack:
    """All of them."""

    def __init__(self, plan: Plan) -> None:
        self._port = plan.port
        self._poller = select.epoll()
        self._clients: dict[int, _Client] = {}
        self._due = deque((0.0, it) for it in plan.scripts)
        self._outcome = Outcome()

    def run(self) -> Iterator[Outcome]:
        """Bother the server until there's a line to read; the outcome at first, and then."""
        self._come()
        yield self._outcome
        self._poller.register(0, select.EPOLLIN)
        while True:
            for fd, events in self._poller.poll(0.1, 64):
                if not fd:
                    yield self._outcome
                    return
                if not self._serve(self._clients[fd], events):
                    self._drop(fd, PAUSE)
            self._come()

    def _come(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            client = _Client(self._due.popleft()[1], self._port)
            self._clients[client.socket.fileno()] = client
            self._poller.register(client.socket, client.interest)
            self._outcome.opened += 1
        deaf = [it for it, client in self._clients.items() if not client.script.reads]
        for fd in deaf:
            if self._clients[fd].born < now - STAY:
                self._drop(fd, 0.0)

    def _drop(self, fd: int, pause: float) -> None:
        client = self._clients.pop(fd)
        client.socket.close()
        self._outcome.gone += pause > 0
        self._due.append((time.monotonic() + pause, client.script))

    def _serve(self, client: _Client, events: int) -> bool:
        """Whether it's still there."""
        try:
            if events & select.EPOLLIN:
                data = client.socket.recv(PIECE)
                if data.startswith(b"HTTP/1.1 "):
                    status, counts = data[9:12].decode(), self._outcome.answers
                    counts[status] = counts.get(status, 0) + 1
                return bool(data)
            sent = client.socket.send(client.rest)
            self._outcome.sent += sent
            client.rest = client.rest[sent:] or memoryview(client.script.again)
            if not client.rest:
                self._poller.modify(client.socket, client.interest)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True


def main() -> None:
    """Carry out the plan in argv."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    for outcome in Attack(msgspec.json.decode(sys.argv[1], type=Plan)).run():
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
