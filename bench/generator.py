"""Child process of ``python -m bench steady``: the clients, and their watch on every message.

``python -m bench.generator PLAN`` opens the plan's streams, then carries
out each phase that it's told on standard input, with a line of Progress a second and
the Outcome in the last one.

In Python, since the load is light here and what counts is the check; but the clock
must show the server's delay, not ours: the stamp is taken right before the write, the
time of arrival right after the read, garbage collection is off, and what is late by
our own doing (`lag`) is reported beside the latency.

A user's messages always take the same sending connection: the order is promised for
what one sender sent. The load is open: the next message is sent when it's due, whether
or not the one before was answered.

May import: ledger, processes (BenchError).
"""

import gc
import random
import resource
import select
import socket
import sys
import time
from array import array
from collections.abc import Iterator

import msgspec

from .ledger import Faults, Ledger, Quantiles, answers, body, histogram, messages
from .processes import BenchError

OPENING = 256
"""Streams whose head may be outstanding while opening: below the server's backlog."""

PATIENCE_NS = 5_000_000_000
"""How long the last messages and answers may keep us waiting without any coming."""


class Plan(msgspec.Struct, frozen=True):
    """Whom to load, with how many connections."""

    port: int
    streams: int
    senders: int
    source: str = "127.0.0.2"
    seed: int = 1


class Phase(msgspec.Struct, frozen=True):
    """How long, and how many messages a second."""

    seconds: float
    rate: float


class Outcome(msgspec.Struct):
    """What a phase showed."""

    seconds: float
    sent: int
    answered: int
    received: int
    faults: Faults
    latency: Quantiles
    histogram: list[int]
    """See ledger.BOUNDS."""
    lag: Quantiles
    """How much later than due messages were sent: the load's own delay."""
    cpu_seconds: float
    """CPU time of the load itself."""


class Progress(msgspec.Struct):
    """Where a phase is: messages so far, latency in the last second."""

    elapsed: float
    sent: int
    received: int
    latency: Quantiles
    outcome: Outcome | None = None


class _Stream:
    __slots__ = ("count", "rest", "socket", "user")

    def __init__(self, connection: socket.socket, user: int) -> None:
        self.socket = connection
        self.user = user
        self.count = 0  # messages that came on it
        self.rest = b""  # of a message that came in part


class _Sender:
    __slots__ = ("pending", "rest", "socket", "under_way")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.pending = b""  # not written yet: the server doesn't read
        self.rest = b""
        self.under_way = 0  # requests without an answer


class Generator:
    """The clients."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._poller = select.epoll()
        self._random = random.Random(plan.seed)
        self._streams: dict[int, _Stream] = {}
        self._senders = [_Sender(self._dial()) for _ in range(plan.senders)]
        self._by_fd = {sender.socket.fileno(): sender for sender in self._senders}
        for fd in self._by_fd:
            self._poller.register(fd, select.EPOLLIN)
        self._faults = Faults()
        self._ledger = Ledger(plan.streams)
        self._latency = array("Q")
        self._answered = 0
        self._last_progress = 0
        self._open()

    def _dial(self) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.bind((self._plan.source, 0))
        connection.connect(("127.0.0.1", self._plan.port))
        connection.setblocking(False)
        return connection

    def _open(self) -> None:
        waiting: dict[int, _Stream] = {}
        users = iter(range(self._plan.streams))
        while len(self._streams) < self._plan.streams:
            while len(waiting) < OPENING and (user := next(users, None)) is not None:
                stream = _Stream(self._dial(), user)
                stream.socket.send(b"GET /test/%d HTTP/1.1\r\nHost: bench\r\n\r\n" % user)
                waiting[stream.socket.fileno()] = stream
                self._poller.register(stream.socket, select.EPOLLIN)
            events = self._poller.poll(PATIENCE_NS / 1e9)
            if not events:
                raise BenchError(f"Only {len(self._streams)} streams could be opened.")
            for fd, _ in events:
                if fd not in waiting:
                    raise BenchError("The server speaks on a stream before any message.")
                stream = waiting[fd]
                data = stream.socket.recv(65536)
                stream.rest += data
                if not data or not stream.rest.startswith(b"HTTP/1.1 200 "[: len(stream.rest)]):
                    raise BenchError(f"The server refused a stream: {stream.rest[:300]!r}")
                if stream.rest.endswith(b"\r\n\r\n"):
                    stream.rest = b""
                    self._streams[fd] = waiting.pop(fd)

    def run(self, phase: Phase) -> Iterator[Progress]:
        """Carry out `phase`."""
        self._faults, self._ledger = Faults(), Ledger(self._plan.streams)
        self._latency, self._answered = array("Q"), 0
        lags = array("Q")
        total, interval = int(phase.seconds * phase.rate), 1e9 / phase.rate
        sent = told = 0
        cpu = time.process_time()
        start = self._last_progress = now = time.perf_counter_ns()
        second = start + 1_000_000_000
        while sent < total or (self._unfinished() and now - self._last_progress < PATIENCE_NS):
            while sent < total and start + sent * interval <= now:
                self._send(self._random.randrange(self._plan.streams))
                lags.append(int(now - start - sent * interval))
                sent += 1
            due = start + sent * interval if sent < total else now + 1e8
            self._turn(max(0.0, min(due, second) - time.perf_counter_ns()) / 1e9)
            now = time.perf_counter_ns()
            if now >= second:
                recent, told = self._latency[told:], len(self._latency)
                yield Progress((now - start) / 1e9, sent, told, Quantiles.of(recent))
                second += 1_000_000_000
        elapsed = (now - start) / 1e9
        self._faults.lost = self._ledger.outstanding()
        self._faults.refused += sum(sender.under_way for sender in self._senders)
        received, latency = len(self._latency), Quantiles.of(self._latency)
        outcome = Outcome(
            seconds=elapsed,
            sent=sent,
            answered=self._answered,
            received=received,
            faults=self._faults,
            latency=latency,
            histogram=histogram(self._latency),
            lag=Quantiles.of(lags),
            cpu_seconds=time.process_time() - cpu,
        )
        yield Progress(elapsed, sent, received, latency, outcome)

    def _unfinished(self) -> bool:
        return any(sender.under_way for sender in self._senders) or self._ledger.outstanding() > 0

    def _send(self, user: int) -> None:
        sender = self._senders[user % len(self._senders)]
        sequence = self._ledger.send(user)
        sender.under_way += 1
        message = body(user, sequence, time.perf_counter_ns())
        request = b"POST /send/%d HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%b"
        self._write(sender, request % (user, len(message), message))

    def _write(self, sender: _Sender, data: bytes) -> None:
        sender.pending += data
        try:
            sender.pending = sender.pending[sender.socket.send(sender.pending) :]
        except BlockingIOError:
            return  # tried again next turn; the stamp is taken, so the wait counts
        except OSError as error:
            raise BenchError(f"The server closed a sender's connection: {error}") from None

    def _turn(self, timeout: float) -> None:
        for fd, _ in self._poller.poll(timeout):
            stream = self._streams.get(fd)
            if stream is None:
                self._read_answers(self._by_fd[fd])
            else:
                self._read_messages(fd, stream)
        for sender in self._senders:
            if sender.pending:
                self._write(sender, b"")

    def _read_messages(self, fd: int, stream: _Stream) -> None:
        try:
            data = stream.socket.recv(65536)
        except ConnectionError:
            data = b""
        now = time.perf_counter_ns()
        if not data:
            self._faults.closed_streams += 1
            self._poller.unregister(fd)
            del self._streams[fd]
            return
        self._last_progress = now
        found, stream.rest = messages(stream.rest + data)
        for message in found:
            self._latency.append(now - message.stamp)
            stream.count += 1
            self._faults.misnumbered += message.number != stream.count
            self._ledger.arrived(stream.user, message.user, message.sequence, self._faults)

    def _read_answers(self, sender: _Sender) -> None:
        try:
            data = sender.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise BenchError("The server closed a sender's connection.")
        self._last_progress = time.perf_counter_ns()
        data, end = sender.rest + data, 0
        for end, status, answer in answers(data):  # noqa: B007 (the last end counts)
            sender.under_way -= 1
            self._answered += 1
            self._faults.refused += status != 200
            self._faults.miscounted += status == 200 and _delivered(answer) != 1
        sender.rest = data[end:]


class _Answer(msgspec.Struct):
    delivered: int


def _delivered(answer: bytes) -> int:
    return msgspec.json.decode(answer, type=_Answer).delivered


def raise_file_limit() -> None:
    """Let this process have as many open files as it may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def say(message: msgspec.Struct) -> None:
    """One line for the parent."""
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Open the streams of the plan in argv, then carry out the phases on standard input."""
    raise_file_limit()
    gc.disable()
    try:
        generator = Generator(msgspec.json.decode(sys.argv[1], type=Plan))
        say(Progress(0, 0, 0, Quantiles()))
        for line in sys.stdin.buffer:
            for progress in generator.run(msgspec.json.decode(line, type=Phase)):
                say(progress)
    except BenchError as error:
        sys.exit(f"python -m bench: the load gave up: {error}")


if __name__ == "__main__":
    main()
