"""Nodes joined by a real NATS server: who is there, and what all of them are asked."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from nats.aio.msg import Msg
from reactor.turning import run_until
from system.node import until

from bench.servers.nats import NatsServer
from encke.cluster import pulse
from encke.reactor.loop import Reactor
from encke.scoreboard import NatsLink
from encke.wire import nodes
from encke.wire.message import Verb

from .member import OPTIONS
from .nats_py import NatsPy
from .router import Joined, Router, ticks

SEND, PUBLISH = Verb.SEND, Verb.PUBLISH


# questions


def test_all_nodes_are_asked(shared: NatsServer, node: Joined) -> None:
    """The answer is the sum of all others; each message of many has its own."""
    nodes_ = [node(shared.url, b"%d" % number, b"all") for number in range(3)]
    asking = nodes_[0]
    asking.until_knows(2)
    for ticket, id in enumerate((b"1", b"2", b"all", b"nobody", b"0"), 1):
        assert asking.peers.ask(SEND, id, b"hi", ticket)
    assert asking.peers.ask(PUBLISH, b"1", b"hi", 6)
    run_until(asking.reactor, lambda: len(asking.answers) == 6)
    assert asking.answers == {1: 1, 2: 1, 3: 2, 4: 0, 5: 0, 6: 1}
    assert asking.came == []
    assert nodes_[1].came[-1] == (PUBLISH, b"1", b"hi")


def test_who_is_alone_knows_the_answer(shared: NatsServer, node: Joined) -> None:
    """Once a node must have heard of others if there were any, the answer is there as soon as
    NATS has taken the question."""
    alone = node(shared.url)
    assert alone.peers.ask(SEND, b"1", b"hi", 1)
    assert alone.answers == {}
    alone.until_settled()
    assert alone.answers == {1: 0}
    assert alone.peers.ask(SEND, b"1", b"hi", 2)
    run_until(alone.reactor, lambda: alone.answers == {1: 0, 2: 0})


def test_who_has_just_joined_asks_everyone(shared: NatsServer, node: Joined) -> None:
    """Before it has heard of the others, a node's question waits for those who were there, and
    not for who came later."""
    first = node(shared.url, b"1")
    ticks(first.reactor, 0.1)
    asking = node(shared.url)
    assert len(asking.peers.members) == 0
    assert asking.peers.ask(SEND, b"1", b"hi", 1)
    first.answers_at_once = False
    later = node(shared.url, b"1")
    later.answers_at_once = False
    asking.until_knows(2)
    asking.until_settled()
    assert asking.answers == {}
    first.answer()
    run_until(asking.reactor, lambda: asking.answers == {1: 1})
    assert later.came == []


def test_answers_that_take_too_long(shared: NatsServer, node: Joined) -> None:
    """After the timeout nobody knows; an answer that comes later changes nothing."""
    asking, slow = node(shared.url, timeout=0.5), node(shared.url, b"1")
    asking.until_settled()
    slow.answers_at_once = False
    assert asking.peers.ask(SEND, b"1", b"hi", 1)
    run_until(asking.reactor, lambda: asking.answers == {1: None})
    slow.answer()
    slow.answers_at_once = True
    assert asking.peers.ask(SEND, b"1", b"hi", 2)
    run_until(asking.reactor, lambda: 2 in asking.answers)
    assert asking.answers == {1: None, 2: 1}


def test_a_node_that_cannot_say(shared: NatsServer, node: Joined) -> None:
    """If a node doesn't know what became of a message, who asked hears of it at once."""
    asking, other = node(shared.url, timeout=60.0), node(shared.url, b"1")
    asking.until_knows(1)
    other.answers_at_once = False
    assert asking.peers.ask(PUBLISH, b"1", b"hi", 1)
    other.until_came(1)
    other.answer(None)
    run_until(asking.reactor, lambda: asking.answers == {1: None})


def test_a_node_that_leaves_owes_nothing(
    shared: NatsServer, node: Joined, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who goes on purpose is known to have gone, and not waited for."""
    asking, leaving = node(shared.url, timeout=60.0), node(shared.url, b"1", name="web-2")
    asking.until_settled()
    leaving.answers_at_once = False
    assert asking.peers.ask(SEND, b"1", b"hi", 1)
    leaving.until_came(1)
    leaving.peers.close()
    asking.until_knows(0)
    assert asking.answers == {1: 0}
    logged = capfd.readouterr().err
    assert f"event=node-joined node={leaving.peers.node} name=web-2" in logged
    assert f"event=node-left node={leaving.peers.node} name=web-2" in logged


def test_without_nats_questions_have_no_answer(tmp_path: Path, node: Joined) -> None:
    """Questions under way fail when the link is lost; later ones aren't taken."""
    with NatsServer(tmp_path) as server:
        asking, other = node(server.url, timeout=60.0), node(server.url, b"1")
        asking.until_knows(1)
        other.answers_at_once = False
        assert asking.peers.ask(SEND, b"1", b"hi", 1)
        other.until_came(1)
        server.end()
        run_until(asking.reactor, lambda: asking.answers == {1: None})
        assert not asking.peers.ask(SEND, b"1", b"hi", 2)
        other.answer()  # nobody hears it


def test_questions_are_bounded(
    shared: NatsServer, node: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a number they are refused, until others are answered."""
    monkeypatch.setattr("encke.cluster.questions.MAX_QUESTIONS", 3)
    asking = node(shared.url)
    node(shared.url, b"1")
    asking.until_knows(1)
    assert [asking.peers.ask(SEND, b"1", b"hi", ticket) for ticket in range(5)] == [
        True, True, True, False, False,
    ]  # fmt: skip
    run_until(asking.reactor, lambda: len(asking.answers) == 3)
    assert asking.peers.ask(SEND, b"1", b"hi", 9)


def test_answers_while_interest_is_restored(
    tmp_path: Path, node: Joined, reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is being joined can't publish yet; what it is asked it answers a bit later."""
    monkeypatch.setattr("encke.cluster.uplink.RESTORED_AT_ONCE", 10)
    with NatsServer(tmp_path) as server, NatsPy(server.url) as peer:
        answers: list[bytes] = []

        async def ask() -> None:
            async def receive(message: Msg) -> None:
                answers.append(message.data)

            await peer.client.subscribe("mine", cb=receive)
            await peer.client.publish("encke.ask.user.1", b"hi", reply="mine")
            await peer.client.flush()

        own = server.subscriptions()
        router = node(server.url, *(b"%d" % number for number in range(100)), ready=False)
        run_until(reactor, lambda: router.peers.link.state is NatsLink.RESTORING)
        router.turn()
        until(lambda: server.subscriptions() >= own + 10, "the first slice is processed")
        peer.do(ask())
        held: list[int] = []
        linked = router.peers.linked

        def look() -> None:
            held.append(len(router.peers._replies._held))
            linked()

        router.peers.linked = look  # type: ignore[method-assign]
        run_until(reactor, lambda: bool(answers))
        assert nodes.reply(answers[0]) == nodes.Reply(router.peers.node, 1)
        assert held == [1]


# what isn't known is not said


def test_a_server_that_hangs_answers_no_question(tmp_path: Path, node: Joined) -> None:
    """Who is alone knows how many got a message only once NATS has taken it."""
    with NatsServer(tmp_path) as server:
        asking = node(server.url, silence=60.0)
        asking.until_settled()
        with server.stopped():
            assert asking.peers.ask(SEND, b"1", b"hi", 1)
            ticks(asking.reactor, 0.5)
            assert asking.answers == {}
        run_until(asking.reactor, lambda: asking.answers == {1: 0})


def test_nobody_is_silent_while_nats_is(
    tmp_path: Path, node: Joined, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A server that hangs for longer than the silence of nodes: the others are still asked, and
    who asks isn't told less than gets there afterwards."""
    monkeypatch.setattr("encke.cluster.members.SILENCE", 1.2)
    monkeypatch.setattr(pulse, "SILENCE", 1.2)
    with NatsServer(tmp_path) as server:
        asking, other = node(server.url, silence=60.0), node(server.url, b"1", silence=60.0)
        asking.until_settled()
        with server.stopped():
            ticks(asking.reactor, 2.0)  # it is what is tested: nothing comes for so long
            assert len(asking.peers.members) == 1
            assert asking.peers.ask(SEND, b"1", b"hi", 1)
            ticks(asking.reactor, 0.5)
            assert asking.answers == {}
        run_until(asking.reactor, lambda: 1 in asking.answers)
        assert asking.answers[1] in (None, len(other.came))
    assert "node-lost" not in capfd.readouterr().err


def test_who_was_stopped_takes_no_question_of_then(shared: NatsServer, node: Joined) -> None:
    """Who asked meanwhile has been told a number without it: what it delivered now would make that
    a lie. What isn't a question is delivered, and so is what's asked once it's back."""
    asking = node(shared.url)
    stopped = Router(Reactor(), replace(OPTIONS, servers=shared.url, silence=60.0), b"1")
    try:
        stopped.until_ready()
        asking.until_knows(1)
        asking.until_knows(0)  # since only one of the two loops turns
        assert asking.peers.ask(SEND, b"1", b"asked", 1)
        run_until(asking.reactor, lambda: asking.answers == {1: 0})
        assert asking.peers.forward(SEND, [b"1"], [b"sent"]) is None
        asking.turn()
        assert stopped.until_came(1) == [(SEND, b"1", b"sent")]
        assert stopped.peers.tally.dropped == 1
        run_until(stopped.reactor, lambda: not stopped.peers._pulse.behind(time.monotonic()))
        asking.until_knows(1)
        assert asking.peers.ask(SEND, b"1", b"again", 2)
        asking.turn()
        assert stopped.until_came(2)[1] == (SEND, b"1", b"again")
        run_until(asking.reactor, lambda: asking.answers == {1: 0, 2: 1})
    finally:
        stopped.peers.close()


# who is there


def test_nodes_know_each_other(shared: NatsServer, node: Joined) -> None:
    """Each knows all others, with name and figures, and not itself."""
    made = [node(shared.url, b"1", name=f"web-{number}") for number in range(3)]
    for router in made:
        router.until_knows(2)
        assert set(router.peers.members.nodes) == {it.peers.node for it in made} - {
            router.peers.node
        }
    said = made[0].peers.members._said[made[2].peers.node]
    assert (said.name, said.users, said.connections) == ("web-2", 1, 1)
    made[2].peers.close()
    made[0].until_knows(1)


def test_heartbeats_are_a_public_contract(shared: NatsServer, node: Joined, peer: NatsPy) -> None:
    """Any client learns who is there from encke.node.*; nonsense there changes nothing."""
    heard: list[Msg] = []

    async def listen() -> None:
        async def receive(message: Msg) -> None:
            heard.append(message)

        await peer.client.subscribe("encke.node.*", cb=receive)
        await peer.client.flush()

    peer.do(listen())
    router = node(shared.url, b"1", name="web-1")
    run_until(router.reactor, lambda: len(heard) >= 2)
    assert heard[0].subject == f"encke.node.{router.peers.node}"
    said = msgspec.json.decode(heard[1].data)
    assert {name: said[name] for name in ("node", "name", "users", "connections", "leaving")} == {
        "node": router.peers.node, "name": "web-1", "users": 1, "connections": 1, "leaving": False,
    }  # fmt: skip
    other = "0123456789ab"
    for subject, payload in (
        ("encke.node.x", b"{}"),
        (f"encke.node.{other}", b"\xff"),
        (f"encke.node.{other}", b'{"node": "ba9876543210"}'),
        (f"encke.node.{router.peers.node}", b'{"node": "%b"}' % router.peers.node.encode()),
        (f"encke.reply.{router.peers.node}.x", b"{}"),
        (f"encke.reply.{router.peers.node}.{'1' * 500}", b'{"node": "%b"}' % other.encode()),
        (f"encke.reply.{router.peers.node}.1", b'{"node": "%b", "delivered": 1}' % other.encode()),
        (f"encke.node.{other}", b'{"node": "%b"}' % other.encode()),
    ):
        peer.do(peer.client.publish(subject, payload))
    router.until_knows(1)
    assert set(router.peers.members.nodes) == {other}


def test_a_link_that_comes_back_keeps_the_others(
    tmp_path: Path, node: Joined, capfd: pytest.CaptureFixture[str]
) -> None:
    """NATS restarted: nobody is called lost who only couldn't be heard."""
    with NatsServer(tmp_path) as server:
        one, other = node(server.url), node(server.url, b"1")
        one.until_knows(1)
        server.end()
        one.until_away()
        server.start()
        one.until_ready()
        other.until_ready()
        assert one.peers.ask(SEND, b"1", b"hi", 1)
        run_until(one.reactor, lambda: bool(one.answers))
        assert one.answers == {1: 1}
        assert "node-lost" not in capfd.readouterr().err


# processes

PROGRAM = """
import sys
from cluster.member import OPTIONS
from cluster.router import Router
from encke.reactor.loop import Reactor
from msgspec.structs import replace
reactor = Reactor()
Router(reactor, replace(OPTIONS, servers=sys.argv[1]), b"1")
reactor.run()
"""


@contextlib.contextmanager
def process(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node with user 1, in a process of its own."""
    tests = str(Path(__file__).parents[1])
    paths = [tests, *filter(None, [os.environ.get("PYTHONPATH")])]
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait(10)


def test_a_node_that_is_killed(
    shared: NatsServer, node: Joined, capfd: pytest.CaptureFixture[str]
) -> None:
    """kill -9: questions to it have no answer, it's called lost within seconds, and not asked
    any more."""
    asking = node(shared.url, timeout=60.0)
    with process(shared.url) as other:
        asking.until_knows(1)
        other.kill()
        other.wait(10)
        began = time.monotonic()
        assert asking.peers.ask(SEND, b"1", b"hi", 1)
        asking.until_knows(0)
        assert time.monotonic() - began < 5
    assert asking.answers == {1: None}
    assert "event=node-lost" in capfd.readouterr().err
    assert asking.peers.ask(SEND, b"1", b"hi", 2)
    run_until(asking.reactor, lambda: asking.answers.get(2) == 0)


def test_a_node_that_is_stopped_comes_back(shared: NatsServer, node: Joined) -> None:
    """SIGSTOP for longer than the silence: it's lost; after SIGCONT it's there again, and gets
    what NATS has kept for it."""
    asking = node(shared.url, timeout=60.0)
    with process(shared.url) as other:
        asking.until_knows(1)
        other.send_signal(signal.SIGSTOP)
        try:
            assert asking.peers.ask(SEND, b"1", b"hi", 1)
            asking.until_knows(0)
            assert asking.answers == {1: None}
        finally:
            other.send_signal(signal.SIGCONT)
        asking.until_knows(1)
        assert asking.peers.ask(SEND, b"1", b"hi", 2)
        run_until(asking.reactor, lambda: asking.answers.get(2) == 1)


def test_who_was_stopped_calls_nobody_lost(
    shared: NatsServer, node: Joined, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A process that didn't run for longer than the silence can't know who is silent."""
    monkeypatch.setattr("encke.cluster.members.SILENCE", 1.2)
    monkeypatch.setattr(pulse, "SILENCE", 1.2)
    here = node(shared.url)
    with process(shared.url):
        here.until_knows(1)
        time.sleep(2)  # it is what is tested: nothing turns
        ticks(here.reactor, 1.0)
        assert len(here.peers.members) == 1
    assert "node-lost" not in capfd.readouterr().err
