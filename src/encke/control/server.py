"""The control port's server: its listener, its connections, and who of them is next.

A turn of the loop finds out which connections are ready; at its end they take steps in turn,
each one read or one request at a time, for at most TURN_SECONDS and one step. What is left goes
on in the next turn, so that a crowd, or one who asks for much, holds up nobody for long: not
SIGTERM, not the store's answers, not the router's. New connections are accepted after that:
a descriptor that was closed in a turn has no new owner before the turn's reports are used up.

Invariants: at most --control-connections are served, and REFUSED more are told so at a time.
After SIGTERM nothing new is taken, what is under way is answered, and after ANSWERING_SECONDS
the loop ends whatever happens. The row says READY only while connections are accepted.
"""

import errno
import gc
import os
import signal
import socket
import time
from collections import deque
from http import HTTPStatus

from .. import log
from ..reactor.loop import GONE, IN, Reactor
from ..scoreboard import Field, Row, Scoreboard, State
from ..settings import Settings, allowed_hosts
from ..wire.cross_origin import CrossOriginProtection
from ..wire.http import KnownHeads, RequestParser
from .app import Control
from .connection import Connection
from .ending import ANSWERING_SECONDS
from .problems import RETRY_AFTER, problem

TICK = 0.25
"""Seconds between looks at the deadlines."""

TURN_SECONDS = 0.01
"""Time for the connections' steps in one turn."""

ACCEPTS_A_TURN = 64
"""Connections accepted before those that are open get their turn."""

REFUSED = 64
"""Connections beyond the limit that are told so and may read it in peace; a further one is
told so and closed."""

SEND_BUFFER = 128 * 1024
"""Bytes of answers that the kernel takes for who doesn't read; left alone it's up to 4 MiB."""

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class ControlServer:
    """See the module's head."""

    def __init__(
        self,
        settings: Settings,
        control: Control,
        reactor: Reactor,
        listener: socket.socket,
        row: Row,
    ) -> None:
        self.settings = settings
        self.control = control
        self.draining = False
        self._reactor = reactor
        self._listener = listener
        self._row = row
        self._served: set[Connection] = set()
        self._refused: set[Connection] = set()
        self._queue: deque[Connection] = deque()
        self._known_heads = KnownHeads()
        self._protection = CrossOriginProtection(
            hosts=allowed_hosts(settings),
            origins=settings.allow_origin,
            pages=not settings.api_key,
        )
        self._listening = self._come = False
        self._complain_at = 0.0
        self._end_at = 0.0
        listener.setblocking(False)
        # those that it accepts inherit these
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        reactor.every(TICK, self._tick)
        reactor.after_turn(self._end_turn)
        self._listen(True)
        row[Field.STATE] = State.READY

    def drain(self) -> None:
        """Take nothing new, answer what is under way, then let the loop end."""
        if not self.draining:
            self.draining = True
            self._row[Field.STATE] = State.DRAINING
            self._end_at = time.monotonic() + ANSWERING_SECONDS
            self._listen(False)
            self._listener.close()
            for connection in list(self._served):
                connection.end()

    # what connections call (connection.Owner)

    def queue(self, connection: Connection) -> None:
        if not connection.queued:
            connection.queued = True
            self._queue.append(connection)

    def interest(self, connection: Connection, events: int) -> None:
        self._reactor.change(connection.fileno(), events)

    def closed(self, connection: Connection) -> None:
        self._reactor.remove(connection.fileno())
        self._served.discard(connection)
        self._refused.discard(connection)

    # a turn

    def _end_turn(self) -> None:
        until = time.monotonic() + TURN_SECONDS
        queue = self._queue
        while queue:
            connection = queue.popleft()
            connection.queued = False
            connection.step()
            if time.monotonic() >= until:
                break
        if self._come:
            self._come = False
            self._accept()
        if queue:
            self._reactor.again(0)
        if self.draining:
            rest = self._end_at - time.monotonic()
            if rest <= 0 or not (self._served or self._refused):
                self._reactor.stop()
            self._reactor.again(max(0.0, rest))

    def _somebody_came(self, _events: int) -> None:
        self._come = True

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if not self._listening:
                return
            try:
                connection, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause_accepting(error)
                    return
                continue  # the client was gone before it was accepted
            connection.setblocking(False)
            self._take(connection)

    def _take(self, client: socket.socket) -> None:
        parser = RequestParser(self.settings.head_limit, self._known_heads, self._protection)
        connection = Connection(self, client, parser)
        self._reactor.add(connection.fileno(), IN, connection.ready)
        most = self.settings.control_connections
        if len(self._served) < most:
            self._served.add(connection)
            return
        self._refused.add(connection)
        connection.refuse(
            problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{most} connections are open here (--control-connections); try again later.",
                RETRY_AFTER,
            )
        )
        if len(self._refused) > REFUSED:
            connection.close()

    def _pause_accepting(self, error: OSError) -> None:
        """No file or memory for another connection: leave it in the backlog until the next tick."""
        if time.monotonic() >= self._complain_at:
            self._complain_at = time.monotonic() + 60
            log.warning(
                "accept-paused",
                process="control",
                reason=error.strerror,
                open=len(self._served),
                hint="raise the open-files limit; see encke doctor",
            )
        self._listen(False)

    def _listen(self, wanted: bool) -> None:
        if wanted != self._listening:
            self._listening = wanted
            if wanted:
                self._reactor.add(self._listener.fileno(), IN, self._somebody_came)
            else:
                self._reactor.remove(self._listener.fileno())

    def _tick(self) -> None:
        self._row.tick()
        now = time.monotonic()
        for connection in [*self._served, *self._refused]:
            if connection.deadline <= now:
                connection.expire()
        if not self.draining:
            self._listen(True)


def serve(
    settings: Settings,
    scoreboard: Scoreboard,
    listener: socket.socket,
    lifeline: int,
    row: Row,
    router_path: str,
) -> None:
    """Serve the control port on `listener` until SIGTERM or the end of `lifeline`."""
    row[Field.PID] = os.getpid()
    row[Field.STARTED] = int(time.time())
    row[Field.STATE] = State.STARTING
    reactor = Reactor()
    control = Control(scoreboard, settings, reactor, router_path)
    server = ControlServer(settings, control, reactor, listener, row)

    def end(_events: int = 0) -> None:
        reactor.remove(lifeline)
        server.drain()

    reactor.on_signal(signal.SIGTERM, end)
    reactor.add(lifeline, IN | GONE, end)
    # What lives now lives for ever: the collector need not look at it (and write to it) again.
    gc.collect()
    gc.freeze()
    reactor.run()
    control.close()
