"""A herd: one process with its share of the streams. Opens, reads, opens again.

Invariants: at most `in_flight` streams are under way to being open; the first ones are opened
when another herd has opened its own (Spread.at_once); it never spins: it waits for a
descriptor, or until the next stream is due; where events come fast, or opening is bounded by
`in_flight`, it lets some gather first (Spread.pause). After a failure nothing is opened for a
while, the longer the more rounds fail. A descriptor is closed only while its own event is
handled or none are, so within a turn none gets a new owner before its event is used up.
"""

import math
import os
import random
import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum
from itertools import chain

from ..load.histogram import SIZE as HISTOGRAM
from ..load.histogram import Histogram
from ..load.target import Target
from .addresses import Addresses, headers, request
from .plan import WORTH, Plan, Spread
from .queue import Queue
from .streams import CONNECTING, FREE, HEAD, OVER, BadStream, Reason, Streams

STOP, CUT, CHURN = b"s", b"c", b"h"
"""What a herd is told on its control pipe; the pipe's end is a STOP too."""

MAX_EVENTS = 512
READ_SIZE = 64 * 1024
COMPLAINTS = 5
"""Lines that a herd writes about streams that fail or are wrong; the rest is only counted."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds without opening after a failure, and at most."""
LOOK = 0.1
"""Seconds between two looks at how far the herd before is."""
MOST_CAUGHT_UP = 0.1
"""Seconds of a given rate, of opens or of churn, that may be made up for at once."""

_NO_PORT_YET = 24
"""IP_BIND_ADDRESS_NO_PORT, which the socket module doesn't name: choose the port when
connecting, when it need only be free for this server."""
_RESET = struct.pack("ii", 1, 0)


class Field(IntEnum):
    """A herd's row of the scoreboard; a Histogram of latencies follows."""

    CONNECTED = 0  # open streams, now
    WAITING = 1  # streams that are to be opened, or under way, now
    OPENED = 2
    CLOSED = 3  # of those that were open
    MESSAGES = 4
    BYTES = 5
    VIOLATIONS = 6
    CUTS = 7  # commands to cut all streams that were carried out
    LAST_OPENED = 8  # monotonic nanoseconds
    FAILED = 9  # by Reason, from here on


LATENCY = Field.FAILED + len(Reason)
"""Where the histogram begins."""
WIDTH = LATENCY + HISTOGRAM


class Herd:
    """The `number`-th herd's streams."""

    def __init__(
        self,
        plan: Plan,
        spread: Spread,
        addresses: Addresses,
        number: int,
        *,
        first: int,
        before: "memoryview[int] | None",
        sources: Sequence[str],
        row: "memoryview[int]",
        tally: "memoryview[int]",
        sums: "memoryview[int] | None",
        control: int,
        report: int,
    ) -> None:
        """Its first stream is the `first` of all; it begins when the herd whose row is `before` is
        nearly done."""
        streams = len(tally)
        self._plan = plan
        self._spread = spread
        self._addresses = addresses
        self._headers = headers(plan.headers)
        self._number = number
        self._first = first
        self._before = before
        self._in_flight = spread.first_in_flight
        self._sources = sources
        self._row = row
        self._control = control
        self._report = report
        self._complaints = 0
        self._queue = Queue(streams)
        self._streams = Streams(
            streams, Histogram(row[LATENCY:]), tally, self._violated if plan.verify else None, sums
        )
        self._opening: dict[int, float] = {}  # fd: when; the oldest first
        self._poller = select.epoll()
        self._poller.register(control, select.EPOLLIN)
        self._stopped = False
        self._pause = FIRST_PAUSE
        self._paused_until = 0.0
        self._interval = spread.herds / plan.rate if plan.rate else 0.0
        self._churn = spread.herds / plan.churn if plan.churn else math.inf
        # at a given rate herds take turns
        self._next_open = time.monotonic() + number * self._interval / spread.herds
        self._next_leave = math.inf
        self._left = 0  # streams that have left, of the churn
        self._turn = 0  # the descriptor whose turn it is to leave

    def run(self) -> None:
        """Until told to stop."""
        poll, streams, row, spread = self._poller.poll, self._streams, self._row, self._spread
        phases, feed, read, now = streams.phase, streams.feed, os.read, time.time_ns
        since, events, gather = time.monotonic(), 0, False
        ready: list[tuple[int, int]] = []
        while not self._stopped:
            size, messages = 0, streams.messages
            if gather and len(ready) < MAX_EVENTS:
                time.sleep(spread.pause)
            ready = poll(self._timeout(), MAX_EVENTS)
            for fd, _ in ready:
                if fd == self._control:
                    self._obey()
                    break  # what else was reported may be cut by now; it comes again
                if phases[fd] <= HEAD:
                    self._progress(fd)
                    continue
                try:
                    data = read(fd, READ_SIZE)
                    if not data:
                        self._ended(fd)
                        continue
                    size += len(data)
                    feed(fd, data, now())
                    if phases[fd] == OVER:
                        self._ended(fd)
                except BlockingIOError:
                    pass
                except OSError:
                    self._ended(fd)
                except BadStream as error:
                    self._complain(self._streams.stream[fd], str(error))
                    self._ended(fd)
            row[Field.MESSAGES] += streams.messages - messages
            row[Field.BYTES] += size
            self._leave()
            self._open()
            events += len(ready)
            took = time.monotonic() - since
            if took >= spread.pause:
                full = len(self._opening) >= max(WORTH, self._in_flight)
                gather = full or spread.gathers(events / took)
                since, events = since + took, 0

    # opening

    def _timeout(self) -> float | None:
        """Seconds until there is something to do unasked; None: nothing."""
        now = time.monotonic()
        waits = [self._next_leave - now] if self._next_leave < math.inf else []
        if self._opening:
            waits.append(next(iter(self._opening.values())) + self._plan.timeout - now)
        if self._before is not None:
            waits.append(LOOK)
        elif len(self._opening) < self._in_flight:
            due = self._queue.next_due(now)
            if due is not None:
                waits.append(max(due, self._next_open - now, self._paused_until - now))
        return max(0.0, min(waits)) if waits else None

    def _open(self) -> None:
        """Open what is due, as far as the limits allow; give up what takes too long."""
        row, opening, queue = self._row, self._opening, self._queue
        if not (opening or queue or row[Field.WAITING]):
            return
        if self._before is not None:
            if self._before[Field.WAITING] > self._in_flight:
                return
            self._before = None
        now = time.monotonic()
        while opening:
            fd, since = next(iter(opening.items()))
            if since + self._plan.timeout > now:
                break
            self._fail(fd, Reason.TIMEOUT, f"No answer in {self._plan.timeout:g} s.")
        while len(opening) < self._in_flight and now >= self._paused_until:
            if self._interval and now < self._next_open:
                break
            stream = queue.pop(now)
            if stream is None:
                break
            self._next_open = max(self._next_open + self._interval, now - MOST_CAUGHT_UP)
            self._connect(stream, now)
        row[Field.WAITING] = waiting = len(queue) + len(opening)
        if not waiting:
            self._in_flight = self._spread.in_flight

    def _connect(self, stream: int, now: float) -> None:
        server, path = self._addresses[self._index(stream)]
        connection = None
        try:
            connection = socket.socket(server.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if self._sources and server.loopback:
                connection.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
                connection.bind((self._sources[stream % len(self._sources)], 0))
            connection.connect(server.address)
        except BlockingIOError:
            pass
        except OSError as error:
            if connection is not None:
                connection.close()
            self._failed(stream, _reason(error), f"{error.strerror}.")
            return
        assert connection is not None
        fd = connection.detach()
        self._streams.take(fd, stream)
        self._opening[fd] = now
        events = self._ask(fd, server, path)  # on loopback the connection is there by now
        if events:
            self._poller.register(fd, events)

    def _ask(self, fd: int, server: Target, path: bytes) -> int:
        """Write the request, if the connection is there; returns the event to wait for.

        That's 0 if it has failed.
        """
        try:
            os.write(fd, request(server, path, self._headers))
        except BlockingIOError:
            return select.EPOLLOUT
        except OSError as error:
            self._fail(fd, _reason(error), f"{error.strerror}.")
            return 0
        self._streams.phase[fd] = HEAD
        return select.EPOLLIN

    def _progress(self, fd: int) -> None:
        """Something happened on a stream that isn't open yet."""
        streams = self._streams
        if streams.phase[fd] == CONNECTING:
            events = self._ask(fd, *self._addresses[self._index(streams.stream[fd])])
            if events:
                self._poller.modify(fd, events)
            return
        try:
            data = os.read(fd, READ_SIZE)
            if not data:
                self._fail(fd, Reason.CLOSED, "The server closed the connection.")
                return
            self._row[Field.BYTES] += len(data)
            streams.feed(fd, data, time.time_ns())
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(fd, Reason.CLOSED, f"{error.strerror}.")
            return
        except BadStream as error:
            self._fail(fd, error.reason, str(error))
            return
        if streams.phase[fd] > HEAD:
            self._opened(fd)

    def _opened(self, fd: int) -> None:
        row = self._row
        del self._opening[fd]
        self._pause = FIRST_PAUSE
        row[Field.LAST_OPENED] = time.monotonic_ns()
        row[Field.OPENED] += 1
        row[Field.CONNECTED] += 1
        if self._streams.phase[fd] == OVER:
            self._ended(fd)

    def _fail(self, fd: int, reason: Reason, detail: str) -> None:
        """A stream could not be opened: close its descriptor."""
        stream = self._streams.stream[fd]
        del self._opening[fd]
        self._streams.free(fd)
        os.close(fd)
        self._failed(stream, reason, detail)

    def _failed(self, stream: int, reason: Reason, detail: str) -> None:
        self._row[Field.FAILED + reason] += 1
        self._complain(stream, detail)
        if not (self._plan.retry or self._plan.reconnect):
            return
        now = time.monotonic()
        if now >= self._paused_until:
            self._paused_until = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._queue.put(stream, now + random.uniform(0, self._pause))

    # open streams

    def _ended(self, fd: int) -> None:
        """An open stream is over, because the server says so."""
        self._account(fd, again=self._plan.reconnect)
        os.close(fd)

    def _leave(self) -> None:
        """Close the open streams whose turn it is, by FIN and RST in turns."""
        now = time.monotonic()
        while now >= self._next_leave:
            self._next_leave = max(self._next_leave + self._churn, now - MOST_CAUGHT_UP)
            fd = self._next_open_stream()
            if fd is None:
                break
            self._account(fd, again=True)
            self._left += 1
            if self._left % 2:
                os.close(fd)
            else:
                _reset(fd)

    def _next_open_stream(self) -> int | None:
        """Round robin by descriptor: what is opened again gets a free one, behind this turn's."""
        phases = self._streams.phase
        for fd in chain(range(self._turn, len(phases)), range(self._turn)):
            if phases[fd] > HEAD:
                self._turn = fd + 1
                return fd
        return None

    def _account(self, fd: int, *, again: bool) -> None:
        """An open stream is being closed, to be opened again or not."""
        row, stream = self._row, self._streams.stream[fd]
        self._streams.free(fd)
        if again:
            row[Field.WAITING] += 1  # before it's no longer connected: it's always one of both
            self._queue.put(stream, time.monotonic() + self._delay())
        row[Field.CLOSED] += 1
        row[Field.CONNECTED] -= 1

    def _delay(self) -> float:
        return self._plan.reconnect_delay * random.uniform(0.5, 1.5)

    def _cut(self) -> None:
        """Close all streams at once, the hard way, and open them again."""
        row, streams, now = self._row, self._streams, time.monotonic()
        for fd, phase in enumerate(streams.phase):
            if phase == FREE:
                continue
            self._queue.put(streams.stream[fd], now + self._delay())
            streams.free(fd)
            _reset(fd)
        self._opening.clear()
        row[Field.WAITING] = len(self._queue)
        row[Field.CLOSED] += row[Field.CONNECTED]
        row[Field.CONNECTED] = 0
        row[Field.CUTS] += 1

    # the parent

    def _obey(self) -> None:
        commands = os.read(self._control, 64)
        if not commands or STOP in commands:
            self._stopped = True
        if CUT in commands:
            self._cut()
        if CHURN in commands:
            # herds take turns here too
            self._next_leave = time.monotonic() + self._churn * self._number / self._spread.herds

    def _violated(self, stream: int, detail: str) -> None:
        self._row[Field.VIOLATIONS] += 1
        self._complain(stream, f"Wrong: {detail}.")

    def _complain(self, stream: int, detail: str) -> None:
        """Tell the parent, in one line, about a stream."""
        self._complaints += 1
        if self._complaints > COMPLAINTS:
            return
        server, path = self._addresses[self._index(stream)]
        line = f"http://{server.host.decode()}{path.decode('ascii', 'replace')}: {detail}"
        with suppress(BlockingIOError):  # the parent is busy; it's counted anyway
            os.write(self._report, line.encode()[:1000].replace(b"\n", b" ") + b"\n")

    def _index(self, stream: int) -> int:
        """Which of all streams this one is."""
        return self._first + stream


def _reset(fd: int) -> None:
    """Close by RST, not FIN: no port is left waiting for its end (TIME_WAIT)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _reason(error: OSError) -> Reason:
    gone = isinstance(error, ConnectionError)
    return Reason.REFUSED if gone else Reason.SYSTEM
