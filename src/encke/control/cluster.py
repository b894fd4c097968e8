"""The cluster, as the node's own router hears of it: asked every second over its socket.

The link is nameless: it isn't a gateway's, for no Hello is said on it. Nobody ever waits for
the router. Who lives is the router's to say, which knows whether it's a node that is silent, or
NATS. What it has said last is shown until nothing was heard of itself for SILENCE.

Invariants: one question is under way at most. Imported only in a cluster.
"""

import time

import msgspec

from ..cluster.members import SILENCE
from ..errors import FrameError
from ..reactor.channel import Channel, connect
from ..reactor.loop import Reactor
from ..scoreboard import ROUTER, Field, Scoreboard
from ..wire import nodes
from ..wire.link import AskNodes, Frame, SeenNodes
from ..wire.nodes import Heartbeat
from .state import ClusterState, cluster_state

ASK_SECONDS = 1.0
"""Seconds between two questions: as often as nodes say that they live."""


class _Node(msgspec.Struct):
    """A node as it was last heard of (state.Seen)."""

    said: Heartbeat
    at: float
    """When, on the monotonic clock, which is the same in all processes."""
    messages_rate: float = 0.0
    delivered_rate: float = 0.0


class Cluster:
    """The nodes that live."""

    def __init__(self, reactor: Reactor, router_path: str, scoreboard: Scoreboard) -> None:
        self._reactor = reactor
        self._path = router_path
        self._router = scoreboard.row(ROUTER)
        self._channel: Channel | None = None
        self._asked = False
        self._nodes: dict[str, _Node] = {}
        self._answered = 0.0  # when the router did
        reactor.every(ASK_SECONDS, self._ask)
        self._ask()

    def state(self) -> ClusterState:
        """Who lives now."""
        silent = time.monotonic() - self._answered > SILENCE
        living = [] if silent else list(self._nodes.values())
        living.sort(key=lambda it: (it.said.name, it.said.node))
        return cluster_state(living, f"{self._router[Field.NODE]:012x}")

    def close(self) -> None:
        """Let go of the router."""
        if self._channel is not None:
            self._channel.close()

    def _ask(self) -> None:
        if self._channel is None:
            self._connect()
        if self._channel is not None and not self._asked:
            self._asked = True
            self._channel.send(AskNodes())
            self._channel.flush()

    def _connect(self) -> None:
        connection = connect(self._path)
        if connection is None:
            return  # the supervisor is about to start a router, or to end
        self._asked = False
        self._channel = Channel(self._reactor, connection, self._received, self._lost)

    def _lost(self) -> None:
        self._channel = None

    def _received(self, frames: list[Frame]) -> None:
        for frame in frames:
            if isinstance(frame, SeenNodes):
                self._asked = False
                self._heard(frame)

    def _heard(self, seen: SeenNodes) -> None:
        self._answered = time.monotonic()
        before, self._nodes = self._nodes, {}
        for at, raw in zip(seen.times, seen.heartbeats, strict=True):
            try:
                said = nodes.heartbeat(raw)
            except FrameError:
                continue
            self._nodes[said.node] = _node(said, at / 1000, before.get(said.node))


def _node(said: Heartbeat, at: float, before: _Node | None) -> _Node:
    """A node, with its rates since it was heard of `before`."""
    if before is None:
        return _Node(said, at)
    seconds = at - before.at
    if seconds <= 0:
        return before  # it hasn't spoken since
    return _Node(
        said,
        at,
        max(0, said.messages - before.said.messages) / seconds,
        max(0, said.delivered - before.said.delivered) / seconds,
    )
