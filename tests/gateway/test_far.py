"""A gateway's link to its router: after each turn the router's map is right.

The real map at the other end of a real socket, against a dict. Rows are few, so that they are
freed and taken again within a turn.
"""

import socket
import tempfile
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from reactor.turning import run_until

from encke.gateway.columns import Columns
from encke.gateway.far import FarRouter
from encke.gateway.life import FREE, LOGGING_IN
from encke.gateway.port import Target, Written
from encke.hub.hub import Hub
from encke.reactor.loop import Reactor
from encke.router.ledger import Ledger
from encke.router.others import Others
from encke.wire.link import Frame, FrameReader
from encke.wire.message import Messages, Verb

GATEWAY = 3


class Rows:
    """A gateway's connections, as far as logins go (port.Holder)."""

    def __init__(self) -> None:
        self.columns = Columns(GATEWAY)

    def logins(self) -> Iterator[tuple[int, bytes]]:
        for fd, kind in enumerate(self.columns.state):
            if kind == LOGGING_IN:
                yield self.columns.handle[fd], self.columns.get_user(fd)

    def logged_in(self, handles: Iterable[int]) -> None:
        raise AssertionError("the router says nothing here")

    def refused(self, handles: Iterable[int]) -> None:
        raise AssertionError("the router says nothing here")

    def deliver(self, messages: Messages, targets: Sequence[Target]) -> Written:
        raise AssertionError("nobody sends")

    def resume(self) -> None:
        pass


class NoPeers:
    """A cluster without other nodes."""

    congested = False

    def forward(self, verb: Verb, ids: list[bytes], messages: list[bytes]) -> bytes | None:
        raise AssertionError("nobody sends")

    def ask(self, verb: Verb, id: bytes, message: bytes, ticket: int) -> bool:
        raise AssertionError("nobody sends")

    def logged_in(self, gateway: int, handles: "array[int]") -> None:
        pass


class LinkMachine(RuleBasedStateMachine):
    """Connections come, log in and go, in any order, any number of them in a turn."""

    some_rows = st.integers(0, 3)
    some_ids = st.sampled_from([b"1", b"2", b"a"])

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        path = str(Path(self.directory.name) / "router")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.reactor = Reactor()
        self.router = FarRouter(self.reactor, path, GATEWAY, window=1024, patience=20)
        self.rows = self.router.holder = Rows()
        self.sent: list[Frame] = []  # by the router: nobody reads it
        self.link()

    def link(self) -> None:
        """A router that knows nobody takes the link."""
        self.router.tick()
        self.router.flush()
        self.end, _ = self.listener.accept()
        self.end.setblocking(False)
        self.reader = FrameReader()
        self.map = (hub := Hub(time.monotonic)).map
        self.map.changes = {}
        self.ledger = Ledger(hub, others=Others(hub, NoPeers()), ack_timeout=5.0)
        self.ledger.linked(GATEWAY, self.sent.append)
        self.interest: set[bytes] = set()
        self.turn()

    @rule(row=some_rows, id=some_ids)
    def login(self, row: int, id: bytes) -> None:
        """A new connection asks for a stream; whoever was in its row has gone."""
        self.close(row)
        columns = self.rows.columns
        columns.take(row)
        columns.set_user(row, id)
        columns.state[row] = LOGGING_IN
        self.router.login(columns.handle[row], id)

    @rule(row=some_rows)
    def close(self, row: int) -> None:
        """A connection goes."""
        columns = self.rows.columns
        if row < len(columns) and columns.state[row] != FREE:
            self.router.logout(columns.handle[row])
            columns.free(row)

    @rule()
    def turn(self) -> None:
        """At a turn's end the map has exactly those who are there, and so has NATS."""
        self.router.flush()
        try:
            frames = self.reader.feed(self.end.recv(1 << 20))
        except BlockingIOError:
            frames = []
        self.ledger.received(GATEWAY, frames)
        there = sorted((id, handle) for handle, id in self.rows.logins())
        router = self.map
        found = {id: router.find(id) for id in router.ids()}
        assert there == sorted(
            (id, handle)
            for id, handles in found.items()
            for handle in (handles if isinstance(handles, tuple) else (handles,))
            if handle is not None
        )
        assert router.logins == len(there)
        assert router.changes is not None
        for id, here in router.changes.items():
            (self.interest.add if here else self.interest.discard)(id)
        router.changes.clear()
        assert self.interest == set(found)

    @rule()
    def break_link(self) -> None:
        """The router dies in the middle of a turn; its successor hears of everyone."""
        self.die()
        self.link()

    def die(self) -> None:
        """The router's end goes, and the gateway notices."""
        self.end.close()
        run_until(self.reactor, lambda: True)

    def teardown(self) -> None:
        self.die()
        self.listener.close()
        self.directory.cleanup()


TestLink = LinkMachine.TestCase
TestLink.settings = settings(deadline=None)


def test_who_goes_in_the_turn_of_his_login_is_not_logged_in() -> None:
    """A user's LOGOUT doesn't come before their LOGIN."""
    machine = LinkMachine()
    try:
        machine.login(0, b"1")
        machine.close(0)
        machine.turn()
    finally:
        machine.teardown()


def test_a_row_that_is_freed_and_taken_ends_up_logged_in() -> None:
    """The old generation's LOGOUT doesn't end the new one, whose id it may share."""
    machine = LinkMachine()
    try:
        machine.login(0, b"1")
        machine.turn()
        machine.login(0, b"1")
        machine.login(1, b"2")
        machine.login(1, b"2")
        machine.turn()
    finally:
        machine.teardown()
