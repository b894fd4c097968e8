"""Nodes joined by a real NATS server: what is handed on, and what comes."""

import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from reactor.turning import run_until

from bench.servers.nats import NatsServer
from encke.cluster import arrivals, complaints, forwarding
from encke.cluster.joining import options
from encke.reactor.loop import Reactor
from encke.settings import Settings
from encke.wire import nodes
from encke.wire.message import Status, Verb
from encke.wire.nats import NatsMessage

from .member import OPTIONS
from .nats_py import NatsPy
from .router import Joined, Router, ticks

SEND, PUBLISH = Verb.SEND, Verb.PUBLISH


# what is handed on


def test_messages_reach_the_nodes_concerned(shared: NatsServer, node: Joined) -> None:
    """A batch comes to the nodes where its users are, in order, each message once; to no other
    node, and not back."""
    ids = [b"1", b"ada@example.org", b"1"]
    sender, receiver = node(shared.url, b"1"), node(shared.url, b"1", b"ada@example.org")
    stranger = node(shared.url, b"2")
    assert sender.peers.forward(SEND, ids, [b"a", b"\xc3\xa9", b""]) is None
    sender.peers.forward(SEND, [b"2"], [b"end"])
    assert receiver.until_came(3) == [
        (SEND, b"1", b"a"), (SEND, b"ada@example.org", b"\xc3\xa9"), (SEND, b"1", b""),
    ]  # fmt: skip
    assert stranger.until_came(1) == [(SEND, b"2", b"end")]
    assert sender.came == []
    assert sender.peers.tally.forwarded == 4
    assert receiver.peers.tally.received == 3


def test_publications_reach_all_nodes(shared: NatsServer, node: Joined) -> None:
    """Whoever is subscribed may be on any node."""
    sender, *others = node(shared.url), node(shared.url), node(shared.url, b"2")
    assert sender.peers.forward(PUBLISH, [b"a.b"], [b"hi"]) is None
    for other in others:
        assert other.until_came(1) == [(PUBLISH, b"a.b", b"hi")]


def test_what_comes_together_is_taken_together(shared: NatsServer, node: Joined) -> None:
    """A thousand messages are few batches; of different kinds, in their order."""
    sender, receiver = node(shared.url), node(shared.url, b"1")
    messages = [b"%d" % number for number in range(1000)]
    for verb in (SEND, PUBLISH, SEND):
        sender.peers.forward(verb, [b"1"] * 1000, messages)
    came = receiver.until_came(3000)
    assert came == [(verb, b"1", m) for verb in (SEND, PUBLISH, SEND) for m in messages]
    assert receiver.batches < 30


def test_without_a_link_messages_are_kept(node: Joined) -> None:
    """The sender is told that they weren't handed on."""
    alone = node("nats://127.0.0.1:9", ready=False)
    assert alone.peers.forward(SEND, [b"1", b"2"], [b"a", b"b"]) == bytes([Status.UNFORWARDED] * 2)
    assert not alone.peers.ask(SEND, b"1", b"a", 1)
    assert alone.peers.tally.unforwarded == 3


def test_of_a_batch_only_what_is_too_large_is_kept(tmp_path: Path, node: Joined) -> None:
    """NATS takes messages up to its limit; the others of a batch go on."""
    with NatsServer(tmp_path, "max_payload: 2000") as server:
        sender, receiver = node(server.url), node(server.url, b"1")
        statuses = sender.peers.forward(SEND, [b"1"] * 3, [b"a", b"x" * 2001, b"x" * 2000])
        assert statuses == bytes([Status.OK, Status.UNFORWARDED, Status.OK])
        assert [len(message) for *_, message in receiver.until_came(2)] == [1, 2000]
        assert (sender.peers.tally.forwarded, sender.peers.tally.unforwarded) == (2, 1)


def test_while_nats_takes_nothing_messages_are_kept(tmp_path: Path, node: Joined) -> None:
    """Up to the limit they wait; then senders are told."""
    with NatsServer(tmp_path) as server:
        sender = node(server.url)
        with server.stopped():
            outcomes = []
            for _ in range(400):
                outcomes.append(sender.peers.forward(SEND, [b"1"], [b"x" * 65_536]))
                sender.peers.link.write()
        assert outcomes[0] is None
        assert outcomes[-1] == bytes([Status.UNFORWARDED])
        assert sender.peers.tally.unforwarded == sum(outcome is not None for outcome in outcomes)


def test_a_server_that_hangs_is_found_out_by_default(tmp_path: Path, node: Joined) -> None:
    """Within about two seconds (--nats-silence) nothing is handed on to it any more; what was
    before that is what may be lost."""
    with NatsServer(tmp_path) as server:
        silence = options(msgspec.convert({"nats": server.url}, Settings)).silence
        sender = node(server.url, silence=silence)
        with server.stopped():
            began = time.monotonic()
            handed_on = began

            def unforwarded() -> bool:
                nonlocal handed_on
                if sender.peers.forward(SEND, [b"1"], [b"hi"]) is not None:
                    return True
                handed_on = time.monotonic()
                return False

            run_until(sender.reactor, unforwarded)
            assert handed_on - began < 2.0 + 1.0


# what any NATS client does


def test_any_client_sends_and_publishes(shared: NatsServer, node: Joined, peer: NatsPy) -> None:
    """The documented subjects, from nats-py."""
    receiver = node(shared.url, b"ada@example.org")
    peer.do(peer.client.publish("encke.user.ada@example,org", "h\u00e9".encode()))
    peer.do(peer.client.publish("encke.publish.ada@example,org", b"news"))
    assert receiver.until_came(2) == [
        (SEND, b"ada@example.org", "h\u00e9".encode()), (PUBLISH, b"ada@example.org", b"news"),
    ]  # fmt: skip


def test_any_client_asks(shared: NatsServer, node: Joined, peer: NatsPy) -> None:
    """Who publishes with a reply subject is told by each node that gets it how many connections
    there did; where nobody is, NATS says so at once."""
    here, there = node(shared.url, b"1"), node(shared.url, b"1")
    there.login(b"1", 7)

    async def ask(subject: str) -> bytes:
        return (await peer.client.request(subject, b"hi", timeout=5)).data

    answer = peer.later(ask("encke.user.1"))
    run_until(here.reactor, answer.done)
    first = nodes.reply(answer.result())
    assert (first.node, first.delivered) in {(here.peers.node, 1), (there.peers.node, 2)}
    with pytest.raises(NoRespondersError):
        peer.do(ask("encke.user.2"))
    answers: list[bytes] = []

    async def ask_all() -> None:
        async def receive(message: Msg) -> None:
            answers.append(message.data)

        await peer.client.subscribe("mine", cb=receive)
        await peer.client.publish("encke.ask.user.1", b"hi", reply="mine")
        await peer.client.publish("encke.ask.publish.2", b"hi", reply="mine")
        await peer.client.flush()

    peer.do(ask_all())
    run_until(here.reactor, lambda: len(answers) == 4)
    decoded = sorted((it.node, it.delivered) for it in map(nodes.reply, answers))
    assert decoded == sorted(
        [(here.peers.node, 0), (here.peers.node, 1), (there.peers.node, 0), (there.peers.node, 2)]
    )


@pytest.mark.parametrize(
    ("subject", "payload", "why"),
    [
        ("encke.user.1", b"\xff", arrivals.NOT_UTF8),
        ("encke.user.1", b"x" * 100_001, arrivals.TOO_LARGE),
        ("encke.publish.1", b"\xc3\xa9\xc3", arrivals.NOT_UTF8),
        ("encke.publish.a/b", b"hi", arrivals.NO_ID),
        ("encke.ask.user." + "x" * 129, b"hi", arrivals.NO_ID),
    ],
)
def test_what_cannot_be_taken(
    shared: NatsServer, node: Joined, peer: NatsPy, capfd: pytest.CaptureFixture[str],
    subject: str, payload: bytes, why: str,
) -> None:  # fmt: skip
    """It's dropped, counted and logged; who asked for an answer gets the reason."""
    receiver = node(shared.url, b"1")

    async def ask() -> bytes:
        return (await peer.client.request(subject, payload, timeout=5)).data

    peer.do(peer.client.publish(subject, payload))
    answer = peer.later(ask())
    run_until(receiver.reactor, answer.done)
    assert nodes.reply(answer.result()) == nodes.Reply(receiver.peers.node, 0, why)
    assert receiver.came == []
    assert receiver.peers.tally.dropped == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "messages-dropped" in line]
    assert len(lines) == 1
    assert why in lines[0]


def test_what_has_gathered_counts(shared: NatsServer, node: Joined) -> None:
    """Senders are to wait as soon as much has gathered within a turn, not only once the kernel
    doesn't take it: else those that had waited would go on all at once, and be refused."""
    sender = node(shared.url)

    def congested_after(count: int) -> bool:
        sender.peers.forward(SEND, [b"1"] * count, [b"x" * 1000] * count)
        return sender.peers.congested

    assert [congested_after(count) for count in (900, 200)] == [False, True]
    sender.turn()
    run_until(sender.reactor, lambda: not sender.peers.link.pending)
    assert not congested_after(1)


ORIGINS = [b"encke.link.0123456789ab.1", b"encke.link.0123456789ab.2"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"1", b"a,b", b"encke.publish.*"]),
            st.sampled_from([b"", b"hi", "h\u00e9".encode(), b"\xff", b"x" * 100_001]),
            st.sampled_from([b"", b"mine", *ORIGINS]),
        ),
        max_size=6,
    )
)
def test_together_or_one_by_one(came: list[tuple[bytes, bytes, bytes]]) -> None:
    """The same is taken of messages that come together as of those that come one by one."""
    messages = [
        NatsMessage(
            b"encke.publish.1" if b"*" in sid else b"encke.user." + sid, sid, payload, reply
        )
        for sid, payload, reply in came
    ]
    reactor = Reactor()
    options = replace(OPTIONS, servers="nats://127.0.0.1:1")  # nobody is there
    together, one_by_one = (Router(reactor, options) for _ in range(2))
    for router in (together, one_by_one):
        router.answers_at_once = False
        router.peers._origins.announced("0123456789ab", 2)
    if messages:
        together.peers.received(messages)
    for message in messages:
        one_by_one.peers.received([message])
    assert together.came == one_by_one.came
    assert together.owed == one_by_one.owed
    assert together.peers.tally == one_by_one.peers.tally
    for router in (together, one_by_one):
        router.peers.close()


def test_a_node_that_is_about_to_fall_behind(shared: NatsServer, node: Joined) -> None:
    """It doesn't read what comes for a while, longer than a silent server would be put up with;
    then everything comes, in order."""
    sender, receiver = node(shared.url), node(shared.url, b"1")
    receiver.remote_bytes = arrivals.HOLD_REMOTE + 1
    messages = [b"%d" % number for number in range(100)]
    for message in messages:
        sender.peers.forward(SEND, [b"1"], [message])
        sender.turn()
    receiver.until_came(1)
    assert receiver.peers.link.held
    before = len(receiver.came)
    sender.peers.forward(SEND, [b"1"], [b"later"])
    ticks(sender.reactor, 1.2)
    assert len(receiver.came) == before
    receiver.remote_bytes = 0
    came = receiver.until_came(101)
    assert came == [(SEND, b"1", message) for message in (*messages, b"later")]
    assert receiver.peers.tally.dropped == receiver.peers.link.tally.lost == 0


def test_a_server_that_takes_nothing(tmp_path: Path, node: Joined) -> None:
    """Senders are to wait while much is waiting for it, but not for long if it has stopped; and
    not at all once it has taken everything."""
    with NatsServer(tmp_path) as server:
        sender = node(server.url)

        def congested() -> bool:
            return sender.peers.congested

        assert not congested()
        with server.stopped():
            while sender.peers.link.unwritten <= forwarding.HOLD_PENDING:
                sender.peers.forward(SEND, [b"1"] * 100, [b"x" * 1000] * 100)
                sender.turn()
            assert congested()
            run_until(sender.reactor, lambda: not congested())
            assert sender.peers.link.unwritten > forwarding.HOLD_PENDING
        run_until(sender.reactor, lambda: not sender.peers.link.unwritten)
        assert not congested()
        assert sender.peers.link.tally.lost == 0


def test_a_node_that_falls_behind(
    shared: NatsServer, node: Joined, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Messages beyond what the router can hold are dropped, counted and logged; who asked is
    told; once there's room, all goes on."""
    monkeypatch.setattr(complaints, "PAUSE", 0.2)
    sender, receiver = node(shared.url), node(shared.url, b"1")
    sender.until_knows(1)
    receiver.remote_bytes = arrivals.MAX_REMOTE + 1
    sender.peers.forward(SEND, [b"1"] * 1000, [b"lost"] * 1000)
    assert sender.peers.ask(SEND, b"1", b"lost", 7)
    run_until(sender.reactor, lambda: 7 in sender.answers)
    assert sender.answers == {7: None}
    assert receiver.came == []
    assert receiver.peers.tally.dropped == 1001
    receiver.remote_bytes = 0
    sender.peers.forward(SEND, [b"1"], [b"again"])
    assert receiver.until_came(1) == [(SEND, b"1", b"again")]
    ticks(sender.reactor, 0.4)
    logged = capfd.readouterr().err
    assert "reason=\"This node can't keep up" in logged
    assert sum(int(line.split("times=")[1]) for line in logged.splitlines() if "times=" in line)
