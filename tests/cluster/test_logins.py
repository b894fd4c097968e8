"""Nodes joined by a real NATS server: who is called reachable, and when."""

import socket
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from reactor.turning import run_until

from bench.servers.nats import NatsServer
from encke.reactor.loop import Reactor
from encke.scoreboard import NatsLink
from encke.wire import nats
from encke.wire.message import Verb
from encke.wire.subjects import Subjects

from .member import OPTIONS
from .nats_py import NatsPy
from .router import Joined, Router, ticks

USER = Subjects().user
SEND = Verb.SEND


def test_reachable_means_reachable(shared: NatsServer, node: Joined, peer: NatsPy) -> None:
    """Whoever publishes once a login is reachable gets through, every time."""
    here = node(shared.url)
    for number in range(1, 50):
        here.login(b"%d" % number, number)
        here.turn()
        here.until_reached(number)
        peer.do(peer.client.publish(f"encke.user.{number}", b"hi"))
        here.until_came(number)


def test_a_turns_logins_are_one_question(shared: NatsServer, node: Joined) -> None:
    """A thousand logins of a turn, and those that come while NATS is asked, take two PINGs."""
    here = node(shared.url)
    for number in range(1000):
        here.login(b"%d" % number, number)
    here.turn()
    for number in range(1000, 2000):
        here.login(b"%d" % number, number)
        here.turn()
    assert len(here.peers.link._flushes) == 1
    here.until_reached(*range(2000))


def test_logouts(shared: NatsServer, node: Joined) -> None:
    """Nothing comes for who has gone; a second login of a user needs no SUB, but a flush."""
    sender, here = node(shared.url), node(shared.url, b"1", b"2")
    here.logout(b"1")
    here.login(b"2", 5)
    here.turn()
    here.until_reached(5)
    sender.peers.forward(SEND, [b"1", b"2"], [b"gone", b"here"])
    assert here.until_came(1) == [(SEND, b"2", b"here")]


def test_logins_wait_for_nats(tmp_path: Path, node: Joined) -> None:
    """While NATS is away nobody is called reachable; once it's back, all are, and all interest
    is in place: of those who came, of those who were there, and not of who has gone."""
    with NatsServer(tmp_path) as server:
        here = node(server.url, b"old", b"leaver")
        server.end()
        here.until_away()
        here.login(b"new", 1)
        here.logout(b"leaver")
        here.turn()
        ticks(here.reactor, 0.3)
        assert here.reached == set()
        server.start()
        here.until_reached(1)
        assert here.peers.link.state is NatsLink.READY
        with NatsPy(server.url) as peer:
            for user in ("leaver", "old", "new"):
                peer.do(peer.client.publish(f"encke.user.{user}", b"hi"))
            came = here.until_came(2)
        assert [id for _, id, _ in came] == [b"old", b"new"]


def test_logins_that_nats_may_not_have_seen(tmp_path: Path, node: Joined) -> None:
    """A login whose SUB was on its way when NATS was killed waits for the next link."""
    with NatsServer(tmp_path) as server:
        here = node(server.url)
        with server.stopped():
            here.login(b"1", 1)
            here.turn()
            ticks(here.reactor, 0.2)
            assert here.reached == set()
            server.end()
            here.until_away()
        server.start()
        here.until_reached(1)
        with NatsPy(server.url) as peer:
            peer.do(peer.client.publish("encke.user.1", b"hi"))
            here.until_came(1)


def test_logins_dont_pile_up(node: Joined) -> None:
    """Those whose clients have given up are forgotten."""
    alone = node("nats://127.0.0.1:9", ready=False, patience=0.3)
    for number in range(100):
        alone.login(b"%d" % number, number)
        alone.turn()
    assert len(alone.peers.logins) == 100
    run_until(alone.reactor, lambda: len(alone.peers.logins) == 0)


def test_subscriptions_that_are_refused(tmp_path: Path, node: Joined) -> None:
    """While NATS refuses some, nobody is called reachable who may not be, and the link stays for
    those who are; once it takes them, all are."""
    limited = "max_subscriptions: 8"
    with NatsServer(tmp_path, limited) as server:
        here = node(server.url, b"old", b"leaver")  # with the five of every node: 7
        here.login(b"1", 1)
        here.turn()
        here.until_reached(1)
        here.login(b"2", 2)
        here.turn()
        here.login(b"old", 3)
        here.turn()
        ticks(here.reactor, 0.5)
        here.login(b"old", 4)
        here.turn()
        ticks(here.reactor, 1.2)
        assert here.reached == {1}
        with NatsPy(server.url) as peer:
            peer.do(peer.client.publish("encke.user.old", b"hi"))
            here.until_came(1)
            here.logout(b"leaver")
            here.turn()
            here.until_reached(1, 2, 3, 4)
            peer.do(peer.client.publish("encke.user.2", b"hi"))
            here.until_came(2)
        assert here.peers.link.tally.lost == 0


# any order of things


class Checked(Router):
    """Whoever is called reachable is sent a message at once, from elsewhere."""

    def __init__(self, reactor: Reactor, server: NatsServer) -> None:
        self.server = server
        self.names: dict[int, bytes] = {}
        self.sent: dict[bytes, tuple[bytes, int]] = {}  # message -> for whom, links lost before
        super().__init__(reactor, replace(OPTIONS, servers=server.url, retry_limit=0.2))

    def come(self, id: bytes) -> None:
        """One more connection."""
        handle = len(self.names) + 1
        self.names[handle] = id
        self.login(id, handle)

    def reachable(self, gateway: int, handles: "array[int]") -> None:
        super().reachable(gateway, handles)
        messages = {b"%d" % handle: self.names[handle] for handle in handles}
        pieces = [b'CONNECT {"verbose":false}\r\n', nats.PING]
        pieces[1:1] = [nats.publish(list(map(USER, messages.values())), list(messages))]
        try:
            with socket.create_connection(("127.0.0.1", self.server.port), 5) as other:
                other.sendall(b"".join(pieces))
                while nats.PONG not in other.recv(65_536):
                    pass
        except OSError:
            return  # it's dead by now
        lost = self.peers.link.tally.lost
        self.sent |= {message: (id, lost) for message, id in messages.items()}

    def due(self) -> set[bytes]:
        """Messages that must have come: the link, by which NATS was told of whom they're for, is
        still there. (It may have been dead already, and nobody had noticed.)"""
        lost = self.peers.link.tally.lost
        return {it for it, (id, then) in self.sent.items() if id in self.here and then == lost}


STEPS = st.lists(
    st.tuples(st.sampled_from(["login", "logout"]), st.integers(0, 5))
    | st.tuples(st.just("run"), st.integers(1, 60))
    | st.tuples(st.sampled_from(["turn", "kill", "start"]), st.just(0)),
    min_size=5,
    max_size=40,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_logins_and_logouts_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """However users come and go, and NATS dies and comes back: whoever is reachable gets what is
    sent from then on; in the end NATS knows exactly those who are here."""
    reactor = Reactor()
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        own = server.subscriptions()
        router = Checked(reactor, server)
        running = True
        for what, value in steps:
            id = b"user.%d" % value
            match what:
                case "login":
                    router.come(id)
                case "logout" if id in router.here:
                    router.logout(id)
                case "turn":
                    router.turn()
                case "run":
                    ticks(reactor, value / 1000)
                case "kill" if running:
                    server.end()
                    running = False
                    router.sent.clear()  # what was under way is lost
                case "start" if not running:
                    server.start()
                    running = True
        if not running:
            server.start()
        router.turn()
        router.until_reached(*(handle for id in router.here for handle in router.here[id]))
        router.until_ready()
        ticks(reactor, 0.05)
        came = {message for _, _, message in router.came}
        assert router.due() <= came
        assert server.subscriptions() - own == 5 + len(router.here)
        router.peers.close()
