"""The router as a process of its own: links in, links out; the friends' store; other nodes.

A plain message doesn't come by here: what a link's channel receives goes to the ledger, what the
ledger sends to the channels, and `flush_all` writes at the turn's end what they have gathered.
"""

import os
import signal
import socket
import struct
import time
from array import array
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .. import log
from ..friends.lookups import Lookups
from ..hub.hub import Hub
from ..reactor.channel import Channel, flush_all
from ..reactor.loop import GONE, IN, Reactor
from ..scoreboard import Field, Row, Scoreboard, State
from ..settings import Settings, friends_store
from ..wire import nodes
from ..wire.link import AskNodes, Frame, Hello, SeenNodes
from ..wire.message import Messages, Order, Verb
from ..wire.nodes import Figures
from .ledger import TICK, Ledger
from .others import Others

if TYPE_CHECKING:
    from ..cluster.peers import Peers

COMPLAINT_PAUSE = 10.0
"""Seconds between two log lines about a number that is in use."""

_UCRED = struct.Struct("3i")  # pid, uid, gid


class RouterProcess:
    """The links of one node's gateways, around a ledger and its hub."""

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
        self._complain_at = 0.0
        self._gathering: list[Channel] = []
        self._hub = Hub(time.monotonic, publishing=self._publishing)
        self._looking_up = False
        reactor.add(listener.fileno(), IN, self._accept)
        reactor.every(TICK, self._tick)
        self._peers: Peers | None = None
        self._others: Others | None = None
        if settings.nats:
            reactor.after_turn(self._tell)
        reactor.after_turn(partial(flush_all, self._gathering))
        if settings.nats:
            from ..cluster.joining import join  # a node that is alone doesn't carry it

            self._peers = join(settings, reactor, self)
            self._others = Others(self._hub, self._peers)
            self._hub.map.changes = {}
        self._ledger = Ledger(
            self._hub,
            expected,
            self._others,
            ack_timeout=settings.ack_timeout,
            most=settings.connections_per_user,
        )
        self._behind: set[int] = set()  # gateways of which that was logged
        self._lookups = Lookups(
            reactor, friends_store(settings), settings.data, self._hub, row, self._ledger.let_out
        )
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
        _Link(self, self._reactor, connection, self._gathering)

    def linked(self, gateway: int, channel: Channel) -> Callable[[Sequence[Frame]], None] | None:
        """A gateway has said its number. Returns what takes its frames; None: there is a link with
        that number already. It may be the gateway's own, which it has given up: then the router
        notices its end in a moment, and the gateway tries again."""
        if gateway in self._links:
            if time.monotonic() >= self._complain_at:
                self._complain_at = time.monotonic() + COMPLAINT_PAUSE
                log.error("number-in-use", gateway=gateway)
            return None
        self._links[gateway] = channel
        self._ledger.linked(gateway, channel.send)
        return partial(self._ledger.received, gateway)

    def lost(self, gateway: int, channel: Channel) -> None:
        """A gateway's link broke: all its users are logged out."""
        if self._links.get(gateway) is not channel:
            return
        del self._links[gateway]
        self._ledger.gone(gateway)

    # what the friends' store is asked

    def _publishing(self) -> None:
        """A publication has come: look things up, at the end of each turn, until none is left."""
        if not self._looking_up:
            self._looking_up = True
            self._reactor.after_turn(self._look_up, first=True)

    def _look_up(self) -> None:
        self._lookups.pump()
        if rest := self._hub.rest:
            self._reactor.again(rest)
        if not self._hub.busy_publishing:
            self._looking_up = False
            self._reactor.not_after_turn(self._look_up)

    # what the other nodes do (cluster.local_router)

    @property
    def remote_bytes(self) -> int:
        """Bytes of their messages that are under way here."""
        return 0 if self._others is None else self._others.remote_bytes

    def interest(self) -> list[bytes]:
        """Who is here."""
        return self._hub.map.ids()

    def is_here(self, id: bytes) -> bool:
        """Whether `id` is."""
        return self._hub.map.find(id) is not None

    def reachable(self, gateway: int, handles: "array[int]") -> None:
        """All nodes reach these."""
        self._ledger.reachable(gateway, handles)

    def remote(self, verb: Verb, ids: list[bytes], messages: list[bytes], ticket: int = 0) -> None:
        """Messages of theirs."""
        self._ledger.remote(Order(verb), Messages(ids, messages), ticket)

    def answered(self, ticket: int, count: int | None) -> None:
        """What they say of a message of ours."""
        self._ledger.answered(ticket, count)

    def figures(self) -> Figures:
        """What they are told of this node."""
        board, users = self._scoreboard, self._hub.map
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

    def _tell(self) -> None:
        """Tell the other nodes what the turn has brought."""
        peers, others, users = self._peers, self._others, self._hub.map
        assert peers is not None
        assert others is not None
        concluded, others.concluded = others.concluded, []
        for ticket, count in concluded:
            peers.answer(ticket, count)
        changes, users.changes = users.changes, {}
        peers.changed(changes or {})
        self._ledger.forward_held()
        if others.waits and not peers.link.unwritten:
            self._reactor.again(0)  # this turn's share was enough, and the kernel may take it all

    def _tick(self) -> None:
        ledger, users = self._ledger, self._hub.map
        self._row.tick()
        ledger.tick()
        if self._behind != self._hub.behind.keys():
            self._log_behind()
        if not ledger.ready:
            alive = {row[Field.NUMBER] for row in self._scoreboard.gateways()}
            for gateway in set(ledger.missing) - alive:
                ledger.gone(gateway)
        self._row[Field.STATE] = State.READY if ledger.ready else State.STARTING
        if self._peers is not None:
            self._count(self._peers)
        self._row[Field.USERS] = len(users)
        self._row[Field.LOGINS_HELD] = users.logins

    def _log_behind(self) -> None:
        """Gateways have fallen behind, or caught up."""
        behind = set(self._hub.behind)
        for gateway in behind - self._behind:
            log.warning(
                "gateway-behind",
                gateway=gateway,
                hint="it writes nothing of what is sent to its users: stopped, or overloaded",
            )
        for gateway in self._behind - behind:
            log.info("gateway-caught-up", gateway=gateway)
        self._behind = behind

    def _count(self, peers: "Peers") -> None:
        """Put the cluster's counts on the scoreboard."""
        row, tally = self._row, peers.tally
        row[Field.NATS_LINK] = peers.link.state
        row[Field.NODE] = int(peers.node, 16)
        row[Field.NODES] = len(peers.members.nodes)
        row[Field.FORWARDED] = tally.forwarded
        row[Field.UNFORWARDED] = tally.unforwarded
        row[Field.RECEIVED] = tally.received
        row[Field.DROPPED] = tally.dropped
        row[Field.NATS_LOST] = peers.link.tally.lost


class _Link:
    """One link: nameless until its Hello; from then on its frames are the ledger's. Who only asks
    says none: the control process."""

    def __init__(
        self,
        router: RouterProcess,
        reactor: Reactor,
        connection: socket.socket,
        gathering: list[Channel],
    ) -> None:
        self._router = router
        self._gateway: int | None = None
        self._channel = Channel(
            reactor, connection, self._received, self._closed, gathering=gathering
        )

    def _received(self, frames: list[Frame]) -> None:
        for place, frame in enumerate(frames, 1):
            if isinstance(frame, Hello):
                received = self._router.linked(frame.gateway, self._channel)
                if received is None:
                    self._channel.close()
                    return
                self._gateway = frame.gateway
                self._channel.received = received
                received(frames[place:])
                return
            if isinstance(frame, AskNodes):
                self._channel.send(self._router.seen_nodes())

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
