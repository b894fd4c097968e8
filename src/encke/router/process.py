"""The router as a process of its own: links in, links out; the friends' store; other nodes.

May import: dispatch, friends, cluster, reactor, scoreboard, settings, wire.
"""

import os
import signal
import socket
import struct
import time
from array import array
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ..friends.lookups import Lookups
from ..reactor.channel import Channel
from ..reactor.loop import GONE, IN, Reactor
from ..scoreboard import Field, Row, Scoreboard, State
from ..settings import Settings, friends_store
from ..wire import nodes
from ..wire.link import AskNodes, Frame, Hello, SeenNodes
from ..wire.message import Status, Verb
from ..wire.nodes import Figures
from .dispatch import Dispatcher, Outgoing

if TYPE_CHECKING:
    from ..cluster.peers import Peers

_UCRED = struct.Struct("3i")  # pid, uid, gid

TICK = 0.1
"""Seconds between looks at the gateways that are still to log in again."""


class RouterProcess:
    """The links of one node's gateways, around a Dispatcher."""

    def __init__(
        self,
        settings: Settings,
        reactor: Reactor,
        listener: socket.socket,
        scoreboard: Scoreboard,
        row: Row,
        expected: Collection[int],
    ) -> None:
        self._reactor = reactor
        self._listener = listener
        self._scoreboard = scoreboard
        self._row = row
        self._links: dict[int, Channel] = {}
        self._lookups = Lookups(reactor, friends_store(settings), settings.data, self, row)
        reactor.add(listener.fileno(), IN, self._accept)
        reactor.every(TICK, self._tick)
        reactor.after_turn(self._end_turn)
        self._peers: Peers | None = None
        if settings.nats:
            from ..cluster.joining import join  # a node that is alone doesn't carry it

            self._peers = join(settings, reactor, self)
        self._dispatcher = Dispatcher(expected, self._peers, time.monotonic)
        if self._peers is not None:
            self._peers.start()

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        if _UCRED.unpack(credentials)[1] != os.getuid():
            connection.close()  # some other user's process
            return
        _Link(self, self._reactor, connection)

    def linked(self, hello: Hello, channel: Channel) -> None:
        """A gateway has said who it is."""
        if hello.gateway in self._links:  # it has made a new link before the old one was missed
            self.lost(hello.gateway, self._links[hello.gateway])
        self._links[hello.gateway] = channel
        self._dispatcher.linked(hello)

    def received(self, gateway: int, frame: Frame) -> None:
        """A frame of a gateway that said Hello."""
        self._send(self._dispatcher.received(gateway, frame))

    def lost(self, gateway: int, channel: Channel) -> None:
        """A gateway's link broke: all its users are logged out."""
        if self._links.get(gateway) is not channel:
            return
        del self._links[gateway]
        self._send(self._dispatcher.gone(gateway))

    # what the friends' store is asked (lookups.Owner)

    @property
    def wants_lookup(self) -> bool:
        """Whether there's something to look up now."""
        return self._dispatcher.wants_lookup

    def lookup(self) -> list[tuple[bytes, bytes | None, int]]:
        """What to look up."""
        return self._dispatcher.lookup()

    def found(self, pages: Sequence[tuple[Sequence[bytes], bool]]) -> None:
        """The store's answers."""
        self._send(self._dispatcher.found(pages))

    def unknown(self, status: Status) -> None:
        """The store can't answer."""
        self._send(self._dispatcher.unknown(status))

    # what the other nodes do (peers.Client)

    @property
    def remote_bytes(self) -> int:
        """Bytes of their messages that are under way here."""
        return self._dispatcher.remote_bytes

    def interest(self) -> list[bytes]:
        """Who is here."""
        return self._dispatcher.map.ids()

    def is_here(self, id: bytes) -> bool:
        """Whether `id` is."""
        return self._dispatcher.map.find(id) is not None

    def reachable(self, gateway: int, handles: "array[int]") -> None:
        """All nodes reach these."""
        self._send(self._dispatcher.reachable(gateway, handles))

    def remote(self, verb: Verb, ids: list[bytes], messages: list[bytes], ticket: int = 0) -> None:
        """Messages of theirs."""
        self._send(self._dispatcher.remote(verb, ids, messages, ticket))

    def answered(self, ticket: int, count: int | None) -> None:
        """What they say of a message of ours."""
        self._send(self._dispatcher.answered(ticket, count))

    def figures(self) -> Figures:
        """What they are told of this node."""
        board, users = self._scoreboard, self._dispatcher.map
        return Figures(
            users=len(users),
            connections=users.logins,
            messages=board.total(Field.MESSAGES),
            delivered=board.total(Field.DELIVERED),
        )

    def seen_nodes(self) -> SeenNodes:
        """What is said of the cluster to who asks."""
        there = self._peers.seen() if self._peers is not None else []
        return SeenNodes(
            array("Q", [round(at * 1000) for at, _ in there]),
            [nodes.encode(said) for _, said in there],
        )

    def close(self) -> None:
        """Leave the cluster, in so many words; let the friends' store go."""
        if self._peers is not None:
            self._peers.close()
        self._lookups.close()

    def _send(self, outgoing: Outgoing) -> None:
        for gateway, frame in outgoing:
            link = self._links.get(gateway)
            if link is not None:
                link.send(frame)

    def _end_turn(self) -> None:
        self._lookups.pump()
        if rest := self._dispatcher.rest:
            self._reactor.again(rest)
        if self._peers is not None:
            self._tell(self._peers)
        for link in list(self._links.values()):
            link.flush()

    def _tell(self, peers: "Peers") -> None:
        """Tell the other nodes what the turn has brought."""
        dispatcher = self._dispatcher
        concluded, dispatcher.concluded = dispatcher.concluded, []
        for ticket, count in concluded:
            peers.answer(ticket, count)
        changes, dispatcher.map.changes = dispatcher.map.changes, {}
        peers.changed(changes or {})
        self._send(dispatcher.release())
        if dispatcher.waits and not peers.link.unwritten:
            self._reactor.again(0)  # this turn's share was enough, and the kernel may take it all

    def _tick(self) -> None:
        dispatcher = self._dispatcher
        if not dispatcher.ready:
            alive = {row[Field.NUMBER] for row in self._scoreboard.gateways()}
            for gateway in set(dispatcher.missing) - alive:
                self._send(dispatcher.gone(gateway))
        self._row[Field.STATE] = State.READY if dispatcher.ready else State.STARTING
        if self._peers is not None:
            self._count(self._peers)
        self._row[Field.USERS] = len(dispatcher.map)
        self._row[Field.LOGINS_HELD] = dispatcher.map.logins

    def _count(self, peers: "Peers") -> None:
        """Put the cluster's counts on the scoreboard."""
        row, tally = self._row, peers.tally
        row[Field.NATS_LINK] = peers.link.state + 1
        row[Field.NODE] = int(peers.node, 16)
        row[Field.NODES] = len(peers.members.nodes)
        row[Field.FORWARDED] = tally.forwarded
        row[Field.UNFORWARDED] = tally.unforwarded
        row[Field.RECEIVED] = tally.received
        row[Field.DROPPED] = tally.dropped
        row[Field.NATS_LOST] = peers.link.tally.lost


class _Link:
    """One link: nameless until its Hello. Who only asks says none: the control process."""

    def __init__(self, router: RouterProcess, reactor: Reactor, connection: socket.socket) -> None:
        self._router = router
        self._gateway: int | None = None
        self._channel = Channel(reactor, connection, self._received, self._closed)

    def _received(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self._gateway is not None:
                self._router.received(self._gateway, frame)
            elif isinstance(frame, Hello):
                self._gateway = frame.gateway
                self._router.linked(frame, self._channel)
            elif isinstance(frame, AskNodes):
                self._channel.send(self._router.seen_nodes())
                self._channel.flush()

    def _closed(self) -> None:
        if self._gateway is not None:
            self._router.lost(self._gateway, self._channel)


def run(
    settings: Settings,
    *,
    listener: socket.socket,
    scoreboard: Scoreboard,
    row: Row,
    expected: Collection[int],
    lifeline: int,
) -> None:
    """Route until SIGTERM, or until `lifeline` says that the supervisor died.

    `expected` are the numbers of the gateways that live already: they know users whom
    this router doesn't know yet.
    """
    reactor = Reactor()
    router = RouterProcess(settings, reactor, listener, scoreboard, row, expected)
    reactor.on_signal(signal.SIGTERM, reactor.stop)
    reactor.add(lifeline, IN | GONE, lambda _events: reactor.stop())
    reactor.run()
    router.close()
