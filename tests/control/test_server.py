"""The server's turns, in process."""

import contextlib
import itertools
import socket
import time

from reactor.turning import run_until

from encke.control.app import Call
from encke.control.response import Outcome, Response
from encke.control.server import TURN_SECONDS, ControlServer
from encke.node import sockets
from encke.reactor.loop import Reactor
from encke.scoreboard import CONTROL, Field, Scoreboard, State
from encke.settings import Settings
from encke.wire.request import Request

from .test_refused import GOOD

CLIENTS = 30
WORK = TURN_SECONDS / 2
"""Seconds that a request takes."""


class Slow:
    """Answers everything (what a server uses of app.Control), and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def find(self, request: Request) -> Call:
        return Call(self._answer)

    def _answer(self) -> Outcome:
        self.calls += 1
        time.sleep(WORK)
        return Response(200, b"{}", b"application/json")


def test_a_turn_is_short_however_many_ask() -> None:
    """A crowd's requests are spread over many turns; in between everything else has its turn."""
    reactor, slow, row = Reactor(), Slow(), Scoreboard().row(CONTROL)
    settings = Settings(control="127.0.0.1:0")
    turns = [0]
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(sockets.control(settings))
        server = ControlServer(settings, slow, reactor, listener, row)  # type: ignore[arg-type]
        reactor.after_turn(lambda: turns.append(slow.calls))
        assert row[Field.STATE] == State.READY
        clients = [
            stack.enter_context(socket.create_connection(listener.getsockname()))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.sendall(GOOD)
        run_until(reactor, lambda: slow.calls == CLIENTS)
        most = max(after - before for before, after in itertools.pairwise(turns))
        assert most <= TURN_SECONDS / WORK
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        server.drain()
        assert row[Field.STATE] == State.DRAINING
        run_until(reactor, lambda: reactor._stopped)
        for client in clients:
            assert client.recv(65536) == b""
