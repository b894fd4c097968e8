"""What the control process hears of the cluster: from its router, and never waiting for it."""

import os
import socket
import time
from array import array
from collections.abc import Iterator
from functools import partial

import pytest
from reactor.turning import run_until

from encke.cluster.members import SILENCE
from encke.control import cluster
from encke.control.cluster import Cluster
from encke.control.state import ClusterState
from encke.reactor.channel import Channel
from encke.reactor.loop import IN, Reactor
from encke.scoreboard import ROUTER, Field, Scoreboard
from encke.wire import nodes
from encke.wire.link import AskNodes, Frame, SeenNodes
from encke.wire.nodes import Heartbeat

ONE, TWO = "0000000000a1", "0000000000b2"


class FakeRouter:
    """Takes links, and answers only when it's told to."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.path = f"\0encke-test-{os.urandom(8).hex()}"
        self.frames: list[Frame] = []
        self.links: list[Channel] = []
        self.listen()

    def listen(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.reactor.add(self.listener.fileno(), IN, self._accept)

    def _accept(self, _events: int) -> None:
        connection, _ = self.listener.accept()
        self.links.append(Channel(self.reactor, connection, self.frames.extend, lambda: None))

    def end(self) -> None:
        self.reactor.remove(self.listener.fileno())
        self.listener.close()
        for link in self.links:
            link.close()

    def was_asked(self, times: int) -> bool:
        return len(self.frames) == times

    def answer(self, *seen: tuple[Heartbeat, float]) -> None:
        times = array("Q", [round(at * 1000) for _, at in seen])
        self.links[-1].send(SeenNodes(times, [nodes.encode(said) for said, _ in seen]))
        self.links[-1].flush()


@pytest.fixture
def reactor(monkeypatch: pytest.MonkeyPatch) -> Reactor:
    monkeypatch.setattr(cluster, "ASK_SECONDS", 0.01)
    return Reactor()


@pytest.fixture
def router(reactor: Reactor) -> Iterator[FakeRouter]:
    router = FakeRouter(reactor)
    yield router
    router.end()


@pytest.fixture
def seen(reactor: Reactor, router: FakeRouter) -> Iterator[Cluster]:
    board = Scoreboard()
    board.row(ROUTER)[Field.NODE] = int(ONE, 16)
    seen = Cluster(reactor, router.path, board)
    yield seen
    seen.close()


def heartbeat(
    node: str, users: int = 0, connections: int = 0, messages: int = 0, delivered: int = 0
) -> Heartbeat:
    return Heartbeat(users, connections, messages, delivered, node=node, name=f"web-{node[-1]}")


def names(state: ClusterState) -> list[tuple[str, bool]]:
    return [(node.node, node.here) for node in state.nodes]


def test_it_says_what_the_router_says(reactor: Reactor, router: FakeRouter, seen: Cluster) -> None:
    """By name, with sums; which of them is this one; and whoever has gone is gone."""
    assert seen.state() == ClusterState(users_sum=0, connections=0, nodes=[])
    run_until(reactor, lambda: bool(router.frames))
    now = time.monotonic()
    two, one = heartbeat(TWO, users=2, connections=3), heartbeat(ONE, users=5, connections=7)
    router.answer((two, now), (one, now))
    run_until(reactor, lambda: bool(seen.state().nodes))
    state = seen.state()
    assert names(state) == [(ONE, True), (TWO, False)]
    assert (state.users_sum, state.connections) == (7, 10)
    run_until(reactor, lambda: len(router.frames) == 2)
    router.answer((one, now))
    run_until(reactor, lambda: names(seen.state()) == [(ONE, True)])


def test_rates(reactor: Reactor, router: FakeRouter, seen: Cluster) -> None:
    """Of two heartbeats that differ; one that is told twice changes nothing."""
    run_until(reactor, lambda: bool(router.frames))
    now = time.monotonic()
    for asked, (at, messages) in enumerate([(now, 10), (now + 2, 50), (now + 2, 50)], start=1):
        run_until(reactor, partial(router.was_asked, asked))
        router.answer((heartbeat(TWO, messages=messages, delivered=2 * messages), at))
    run_until(reactor, lambda: len(router.frames) == 4)
    (node,) = seen.state().nodes
    assert (node.messages_rate, node.delivered_rate) == (20, 40)


def test_a_router_that_hangs(
    reactor: Reactor, router: FakeRouter, seen: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It's asked once, nobody waits, and once it has been silent for a while nothing is shown."""
    run_until(reactor, lambda: bool(router.frames))
    now = time.monotonic()
    router.answer((heartbeat(ONE), now))
    run_until(reactor, lambda: names(seen.state()) == [(ONE, True)])
    run_until(reactor, lambda: len(router.frames) == 2)
    turns: list[None] = []
    reactor.every(0.02, lambda: turns.append(None))
    run_until(reactor, lambda: len(turns) > 10)
    assert router.frames == [AskNodes(), AskNodes()]
    monkeypatch.setattr(cluster, "SILENCE", 0.0)
    assert seen.state() == ClusterState(users_sum=0, connections=0, nodes=[])


def test_nats_hangs(reactor: Reactor, router: FakeRouter, seen: Cluster) -> None:
    """Who lives is the router's to say: it doesn't call lost whom it can't hear, and neither does
    the control port."""
    run_until(reactor, lambda: bool(router.frames))
    router.answer((heartbeat(TWO), time.monotonic() - SILENCE - 25))
    run_until(reactor, lambda: len(router.frames) == 2)
    assert names(seen.state()) == [(TWO, False)]


def test_a_router_that_is_replaced(reactor: Reactor, router: FakeRouter, seen: Cluster) -> None:
    """The new one is asked; while there's none, what was said last is kept for a while."""
    run_until(reactor, lambda: bool(router.frames))
    router.answer((heartbeat(ONE), time.monotonic()))
    run_until(reactor, lambda: bool(seen.state().nodes))
    router.end()
    run_until(reactor, lambda: seen._channel is None)
    assert names(seen.state()) == [(ONE, True)]
    before = len(router.frames)
    router.listen()
    run_until(reactor, lambda: len(router.frames) > before)
    router.answer((heartbeat(TWO), time.monotonic()))
    run_until(reactor, lambda: names(seen.state()) == [(TWO, False)])


def test_what_is_no_heartbeat_is_left_out(
    reactor: Reactor, router: FakeRouter, seen: Cluster
) -> None:
    """The others are shown."""
    run_until(reactor, lambda: bool(router.frames))
    now = round(time.monotonic() * 1000)
    answer = SeenNodes(array("Q", [now, now]), [b"{}", nodes.encode(heartbeat(TWO))])
    router.links[-1].send(answer)
    router.links[-1].flush()
    run_until(reactor, lambda: names(seen.state()) == [(TWO, False)])
