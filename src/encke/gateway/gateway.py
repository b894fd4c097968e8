"""The gateway: accepts, reads, delivers, closes; all of its parts together.

A turn of the loop, in this order: frames of the router, new connections, ready
connections (at most MAX_READY), ticks; then answers are given, the outbox is written, and what is
for the router leaves, so that a delivery is acknowledged only after it was written.
"""

import errno
import socket
import time
from collections import deque
from collections.abc import Callable

from .. import log
from ..reactor.loop import EXCLUSIVE, IN, Reactor
from ..scoreboard import Field, Row, State
from ..settings import Settings
from .cap import Cap
from .connections import TICK, Connections
from .exchange import MAX_PIPELINED
from .heavy import Heavy
from .life import BROKEN, IDLE, LINGERING, LOGGING_IN, NEW, STREAM, WAITING, WRITE
from .poller import MAX_READY, POLLED
from .port import Router
from .requests import READ_A_TURN, READ_SIZE, Requests
from .senders import Desk
from .slices import ROOM, SLICE
from .streams import Streams

ACCEPTS_A_TURN = 64
"""Connections accepted before those that are open get their turn; also what keeps one
gateway from taking a whole storm of connections for itself."""

ACCEPT_PAUSE = 0.25
"""Seconds without accepting after the kernel refused for want of files or memory."""

SLOW_PAUSE = 0.01
"""Seconds between two looks at those who are slow: that have been deferred, or took too long."""

SLOW_AT_ONCE = 4
"""How many that have been deferred get their turn at such a look, after the messages of this turn
have left; and how many that took too long, at most."""

SLOW_CROWD = 128
"""Who took too long is dealt with one at a look, which is 0.1 ms of work, the longest that an
attack should hold up a message; of a crowd one more for each so many who wait."""

_SLOW_REST = 0.001
"""Seconds until the next look if there are more of them: so 4,000 a second of those who have been
deferred get their turn."""

LAST_ANSWERS = 0.25
"""Seconds for a drain at once: the answers of messages that are under way come in less."""

DRAIN_TICK = 0.05
"""Seconds between looks at who is left while draining."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SWEEP = 4
"""Each tick looks at every fourth row's deadline: all of them once a second."""


class Gateway:
    """One gateway's connections, served by a reactor."""

    def __init__(
        self,
        settings: Settings,
        reactor: Reactor,
        router: Router,
        *,
        number: int,
        listener: socket.socket,
        capacity: int,
        full: Callable[[], bool],
        row: Row,
    ) -> None:
        """`capacity` in connections; `full` says whether no gateway of the node has room."""
        self._reactor = reactor
        self._router = router
        self._listener = listener
        self._capacity = capacity
        self._row = row
        self._connections = Connections(settings, number, router)
        self._poller = self._connections.poller
        self._streams = Streams(self._connections)
        self._desk = Desk(self._connections, self._streams)
        self._cap = Cap(self._connections.columns, capacity, full, self._connections.close)
        self._requests = Requests(self._connections, self._streams, self._desk, self._cap)
        self._heavy = Heavy(
            reactor,
            self._poller,
            self._requests,
            self._desk,
            router,
            settings.window,
            self._serve_each,
        )
        self._listening = False
        self._paused_until = 0.0
        self._drain_until = 0.0
        self._expired: deque[int] = deque()
        self._next_slow = 0.0
        self.logged_in = self._streams.logged_in
        self.refused = self._requests.login_refused
        self.deliver = self._streams.deliver
        self.logins = self._streams.logins
        reactor.add(self._poller.fileno(), IN, self._serve)
        reactor.every(TICK, self._tick)
        reactor.after_turn(self._end_turn)

    def resume(self) -> None:
        """There is room for senders' messages again (port.Holder)."""
        connections = self._connections
        for fd in list(connections.held):
            exchange = connections.awake.get(fd)
            if exchange is None or (
                len(exchange.owed) < MAX_PIPELINED and connections.columns.state[fd] < WAITING
            ):
                connections.release(fd)

    def drain(self) -> None:
        """Take no more connections, end the streams properly, answer senders, then stop."""
        connections = self._connections
        if connections.draining:
            return
        connections.draining = True
        self._drain_until = time.monotonic() + connections.settings.drain_timeout
        self._reactor.every(DRAIN_TICK, self._end_drain)
        self._row[Field.STATE] = State.DRAINING
        self._listen(False)
        streams = self._streams.end()
        connections.outbox.flush()
        for fd in streams:
            if not connections.outbox.waiting(fd):
                connections.close(fd)
        for fd, state in enumerate(connections.columns.state):
            if state in (NEW, IDLE, LOGGING_IN, LINGERING):
                connections.close(fd)

    def drain_at_once(self) -> None:
        """As `drain`, but wait for nobody: streams still end properly, as far as the kernel takes
        it at once, and what is answered in LAST_ANSWERS is."""
        self.drain()
        self._drain_until = min(self._drain_until, time.monotonic() + LAST_ANSWERS)

    # the poller

    def _serve(self, _events: int) -> None:
        """Serve the connections that are ready, some at a time, until enough was read."""
        requests, poll = self._requests, self._poller.poll
        requests.bytes_read = 0
        requests.heard = False
        for _ in range(MAX_READY // POLLED):
            ready = poll(0, POLLED)
            self._serve_each(ready)
            if len(ready) < POLLED or requests.bytes_read >= READ_A_TURN:
                break
        if requests.heard:
            self._heavy.heard = time.monotonic()

    def _serve_each(self, ready: list[tuple[int, int]], size: int = READ_SIZE) -> None:
        """Serve connections, and read at most `size` bytes of each."""
        connections = self._connections
        states = connections.columns.state
        for fd, events in ready:
            if events & WRITE:
                if states[fd] >= STREAM:
                    connections.outbox.writable[fd] = None  # by turns: it may be much
                else:
                    connections.outbox.write_tail(fd)
            if events & ~WRITE:
                state = states[fd]
                if state >= STREAM:
                    self._streams.readable(fd)
                elif events & BROKEN and fd in connections.held:
                    connections.close(fd)  # reading would tell, but nobody reads
                elif state:
                    self._requests.readable(fd, size)
        if self._cap.guests:
            self._cap.served(ready)

    # the listener

    def _accept(self, _events: int) -> None:
        connections, listener, cap = self._connections, self._listener, self._cap
        for _ in range(ACCEPTS_A_TURN):
            if not cap.takes(connections.open):
                self._row[Field.CONNECTIONS] = connections.open  # before the tick: others look
                cap.look(connections.open)
                if not cap.takes(connections.open):
                    self._listen(False)
                    break
            try:
                connection, _address = listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause_accepting(error)
                    return
                continue  # the client was gone before it was accepted
            connection.setblocking(False)
            fd = connection.detach()
            connections.take(fd)
            cap.make_room(fd, connections.open)

    def _pause_accepting(self, error: OSError) -> None:
        """No file or memory for another connection: leave it in the backlog for a while."""
        self._connections.counts[Field.ACCEPT_PAUSES] += 1
        if time.monotonic() >= self._paused_until + 60:
            log.warning(
                "accept-paused",
                reason=error.strerror,
                open=self._connections.open,
                hint="raise the open-files limit; see encke doctor",
            )
        self._paused_until = time.monotonic() + ACCEPT_PAUSE
        self._listen(False)

    def _listen(self, wanted: bool) -> None:
        if wanted != self._listening:
            self._listening = wanted
            if wanted:
                self._reactor.add(self._listener.fileno(), IN | EXCLUSIVE, self._accept)
            else:
                self._reactor.remove(self._listener.fileno())

    # the clock

    def _tick(self) -> None:
        connections = self._connections
        connections.now += 1
        self._router.tick()
        self._sweep()
        if not connections.draining:
            self._streams.beat()
            self._cap.tick(connections.open)
            rested = time.monotonic() >= self._paused_until
            self._listen(rested and self._cap.takes(connections.open))
        if connections.now % round(1 / TICK) == 0:
            self._desk.answers.tick()
        self._report()

    def _sweep(self) -> None:
        """Find the connections that took too long."""
        connections = self._connections
        deadlines, now = connections.columns.deadline, connections.now
        for fd in range(now % _SWEEP, len(deadlines), _SWEEP):
            if 0 < deadlines[fd] <= now:
                self._expired.append(fd)

    def _expire(self) -> None:
        """Deal with some of those that took too long; the others have their turn a bit later."""
        columns = self._connections.columns
        for _ in range(min(SLOW_AT_ONCE, -(-len(self._expired) // SLOW_CROWD))):
            fd = self._expired.popleft()
            if 0 < columns.deadline[fd] <= self._connections.now:  # still, and not done with
                self._requests.expired(fd)

    def _end_drain(self) -> None:
        """Draining: stop once nobody is left, or when it takes too long."""
        connections = self._connections
        if time.monotonic() >= self._drain_until:
            log.warning("drain-incomplete", connections=connections.open)
            self._reactor.stop()
        elif not connections.open:
            self._reactor.stop()
        else:
            for fd, state in enumerate(connections.columns.state):
                if state >= STREAM and not connections.outbox.waiting(fd):
                    connections.close(fd)

    def _report(self) -> None:
        """Put the counts on the scoreboard."""
        connections, row = self._connections, self._row
        row.tick()
        counts = connections.counts
        if not connections.draining:
            row[Field.STATE] = State.READY if self._router.available else State.STARTING
        counts[Field.CONNECTIONS] = connections.open
        counts[Field.STREAMS] = connections.streams
        counts[Field.CAPACITY] = self._capacity
        counts[Field.USERS] = self._router.users
        for own, count in self._router.counts.items():
            counts[own] = count
        counts[Field.QUEUED_BYTES] = connections.outbox.held
        counts[Field.BLOCKED] = len(connections.outbox.tails)
        counts[Field.BODY_BYTES] = connections.bodies.total
        counts[Field.BYTES_OUT] = connections.outbox.bytes_out
        for field in range(Field.CONNECTIONS, Field.LOG_LINES_DROPPED):
            row[field] = counts[field]

    def _end_turn(self) -> None:
        """Give the answers that are known, write what has gathered, and then, with the
        acknowledgements, let go what is for the router."""
        desk, outbox = self._desk, self._connections.outbox
        if desk.ready:
            desk.answer()
        if outbox.queued:
            outbox.flush()
        self._router.flush()
        if desk.ready:  # the link broke, or messages had waited for this turn
            desk.answer()
        if outbox.queued:
            outbox.flush()
        self._streams.room = ROOM
        if self._heavy.ready and self._heavy.serve():
            self._end_turn()  # once more, for them
            self._heavy.rest()
        elif outbox.writable or self._streams.slices.waiting:
            self._go_on()
        if self._expired or self._poller.deferred:
            self._look_at_slow()

    def _go_on(self) -> None:
        """Write a little of what large messages have left over: to who takes bytes again, and what
        was put off. All else of this turn is written, and acknowledged, by now."""
        self._connections.outbox.go_on(SLICE)
        if self._streams.slices.waiting:
            self._streams.slices.go_on(SLICE)
            self._connections.outbox.fit()
            self._reactor.again(0)  # there's more, or it's to be acknowledged

    def _look_at_slow(self) -> None:
        """It's the turn of some of those who are slow, if it's time."""
        now = time.monotonic()
        if now >= self._next_slow:
            ready = self._poller.deferred_ready(SLOW_AT_ONCE)
            self._serve_each(ready)
            self._expire()
            more = self._expired or len(ready) == SLOW_AT_ONCE
            self._next_slow = now + (_SLOW_REST if more else SLOW_PAUSE)
            self._end_turn()  # once more, for them
        else:
            self._reactor.again(self._next_slow - now)
