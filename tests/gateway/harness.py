"""A whole gateway in the test's own process: no fork, no clock, no network.

The project's reactor runs it, a turn when the test says so; its listener is a Unix socket, so that
what a client writes is there at once; its router does what the test says (`router.Router`).
"""

import os
import re
import socket
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import httptools

from encke.gateway import gateway, heavy
from encke.gateway.gateway import Gateway
from encke.gateway.life import BROKEN, FREE, PATIENCE, STREAM, interest
from encke.ids import SLOT_MASK
from encke.reactor.loop import Reactor
from encke.scoreboard import FIRST_GATEWAY, Scoreboard
from encke.settings import Settings

from .router import Router

GATEWAY = 3
A_TURN = 0.02
"""Seconds that pass in a turn: more than those who are slow wait for their turn."""
REST = 5
"""So many turns in which nothing was ready: nothing more happens by itself."""


QUIET = Settings(heartbeat=0, keepalive=0, queue_limit=4096)
"""A gateway that has nothing to send by itself."""


def get(path: bytes, version: bytes = b"1.1") -> bytes:
    return b"GET %b HTTP/%b\r\nHost: localhost\r\n\r\n" % (path, version)


def post(path: bytes, body: bytes, headers: bytes = b"") -> bytes:
    length = len(body)
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: %d\r\n\r\n%b" % (
        path, headers, length, body,
    )  # fmt: skip


def epolls() -> set[int]:
    """The descriptors of this process that are epolls."""
    found = set()
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # the directory's own
            if os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]":
                found.add(fd)
    return found


class Turns(Reactor):
    """A reactor that a test drives; the time is `now`."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.calls, self.ticks = 1000.0, 0, list[Callable[[], None]]()
        self.after_turn(self.stop)

    def add(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        def counted(ready: int) -> None:
            self.calls += 1
            callback(ready)

        super().add(fd, events, counted)

    def every(self, seconds: float, callback: Callable[[], None]) -> None:
        self.ticks.append(callback)

    def turn(self) -> bool:
        """One turn; whether anything was ready."""
        before, self.now, self._stopped = self.calls, self.now + A_TURN, False
        self.again(0)
        self.run()
        return self.calls > before

    def settle(self) -> None:
        """Turns until nothing is ready any more; fails if somebody is reported again and again."""
        rest = REST
        for _ in range(1000):
            rest = REST if self.turn() else rest - 1
            if not rest:
                return
        raise AssertionError("somebody keeps the gateway awake")


class Listener(socket.socket):
    """Accepts connections that take little at a time, and remembers their descriptors."""

    def __init__(self, path: str) -> None:
        super().__init__(socket.AF_UNIX)
        self.accepted: list[int] = []
        self.bind(path)
        self.listen(100)
        self.setblocking(False)

    def accept(self) -> tuple[socket.socket, object]:
        connection, address = super().accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least
        self.accepted.append(connection.fileno())
        return connection, address


class Answer:
    """A response as far as it has been read."""

    status, body, whole = 0, b"", False


class Client(socket.socket):
    """A connection's other end. `fd` is the gateway's descriptor: the connection's row."""

    def __init__(self, server: "Server") -> None:
        super().__init__(socket.AF_UNIX)
        self.server, self.fd, self.ended = server, -1, False
        self.answers: list[Answer] = []
        self.raw = b""
        self._parser = httptools.HttpResponseParser(self)
        self.connect(server.path)
        self.setblocking(False)

    def say(self, data: bytes) -> int:
        """Write as much as there is room for, and let the gateway do what comes of it."""
        try:
            size = self.send(data)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            size = 0
        self.server.settle()
        return size

    def take(self, size: int = 1 << 20) -> bytes:
        """Read at most `size` bytes, which are parsed; `ended`: nothing more comes."""
        self.server.settle()
        try:
            data = self.recv(size)
            self.ended |= not data
        except BlockingIOError:
            data = b""
        except ConnectionResetError:
            data, self.ended = b"", True
        if data:
            self.raw += data
            self._parser.feed_data(data)
        return data

    def end_writing(self) -> None:
        """There is nothing more to say."""
        with suppress(OSError):  # it has ended altogether
            self.shutdown(socket.SHUT_WR)

    def take_all(self) -> bytes:
        """Read all that comes."""
        return b"".join(iter(self.take, b""))

    def on_message_begin(self) -> None:
        self.answers.append(Answer())

    def on_headers_complete(self) -> None:
        self.answers[-1].status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self.answers[-1].body += piece

    def on_message_complete(self) -> None:
        self.answers[-1].whole = True


class Server:
    """A gateway, its reactor and its clients."""

    def __init__(self, reactor: Turns, settings: Settings, capacity: int, path: str) -> None:
        self.reactor, self.path, self.router = reactor, path, Router()
        before = epolls()
        self.listener = Listener(path)
        self.row = Scoreboard().row(FIRST_GATEWAY)
        self.clients: list[Client] = []
        self.others_full = False
        """Whether no other gateway has room."""
        self.gateway = Gateway(
            settings, reactor, self.router, number=GATEWAY, listener=self.listener,
            capacity=capacity, full=lambda: self.others_full, row=self.row,
        )  # fmt: skip
        self.router.holder = self.gateway
        self.connections = self.gateway._connections
        self.epolls = epolls() - before
        self.settle = reactor.settle
        self.tick()

    def tick(self, count: int = 1) -> None:
        """The clock ticks so many times; a turn after each."""
        for _ in range(count):
            for each in self.reactor.ticks:
                each()
            self.reactor.turn()
        self.settle()

    def connect(self) -> Client:
        """A new client, whom the gateway has accepted."""
        client = Client(self)
        self.clients.append(client)
        self.settle()
        client.fd = self.listener.accepted[-1]
        return client

    def stream(self, id: bytes, protocol: bytes = b"stream") -> Client:
        """A client that is logged in, and has read its stream's head."""
        client = self.connect()
        client.say(get(b"/%b/%b" % (protocol, id)))
        self.router.say_yes()
        client.take_all()
        assert client.answers[0].status == 200
        return client

    def state(self, client: Client) -> int:
        return self.connections.columns.state[client.fd]

    @property
    def rows(self) -> dict[int, int]:
        """The state of every row that is taken."""
        return {fd: it for fd, it in enumerate(self.connections.columns.state) if it != FREE}

    def registered(self) -> dict[int, list[int]]:
        """What the kernel has been asked to report of each descriptor, in whichever epoll."""
        found: dict[int, list[int]] = defaultdict(list)
        for epoll in self.epolls:
            text = Path(f"/proc/self/fdinfo/{epoll}").read_text()
            for fd, events in re.findall(r"^tfd: +(\d+) events: +([0-9a-f]+)", text, re.MULTILINE):
                found[int(fd)].append(int(events, 16) & ~BROKEN)
        return found

    def check(self) -> None:
        """What holds between any two turns: of every row, and of all together."""
        connections, rows = self.connections, self.rows
        wanted = {}
        for fd, state in rows.items():
            unwritten, held = connections.outbox.waiting(fd), fd in connections.held
            wanted[fd] = [interest(state, unwritten=unwritten, held=held)]
            deadline = connections.columns.deadline[fd]
            assert bool(deadline) == (min(state, STREAM) in PATIENCE)
            assert deadline <= connections.now + connections.patience[state]
        assert self.registered() == wanted
        streams = {connections.columns.handle[fd] for fd, state in rows.items() if state >= STREAM}
        assert (connections.open, connections.streams) == (len(rows), len(streams))
        assert {handle & SLOT_MASK for handle in self.router.here} <= rows.keys()
        assert streams <= self.router.here.keys()

    def end(self) -> None:
        """All clients go. Nothing of them stays, and no time has to pass for that."""
        self.router.full = False  # or nobody would look at those who send much
        for client in self.clients:
            client.close()
        self.settle()
        self.check()
        assert not self.rows
        assert not self.router.here

    def close(self) -> None:
        """Whatever is still open is closed."""
        for end in (self.listener, *self.clients):
            end.close()
        for fd in self.rows:
            self.connections.close(fd)


@contextmanager
def running(settings: Settings | None = None, capacity: int = 100) -> Iterator[Server]:
    """A gateway that has nothing to send by itself."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Turns(), settings or QUIET, capacity, f"{directory}/gateway")
        clock = SimpleNamespace(monotonic=lambda: server.reactor.now)
        with patch.object(gateway, "time", clock), patch.object(heavy, "time", clock):
            try:
                yield server
                server.end()
            finally:
                server.close()
