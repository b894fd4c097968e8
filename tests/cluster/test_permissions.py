"""Nodes at a server with the permissions of docs/cluster.md: what who may only send can't do."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from reactor.turning import run_until

from bench.servers.nats import NatsServer
from encke.wire import nodes
from encke.wire.message import Status, Verb
from encke.wire.nats import NatsMessage

from .nats_py import NatsPy
from .router import Joined

SEND = Verb.SEND


def documented() -> str:
    """The server's configuration, as the documentation has it."""
    page = Path(__file__).parents[2] / "docs" / "cluster.md"
    found = re.search(r"^authorization \{.*?^\}", page.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[0].replace("$NODE_PASSWORD", "n").replace("$SENDER_PASSWORD", "s")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("guarded"), documented()) as server:
        yield server


@pytest.fixture
def sender(guarded: NatsServer) -> Iterator[NatsPy]:
    """Who may only send."""
    with NatsPy(as_user(guarded, "sender:s")) as peer:
        yield peer


def as_user(server: NatsServer, user: str) -> str:
    return server.url.replace("://", f"://{user}@")


@pytest.mark.parametrize("reply", ["encke.link.%s.999999999", "encke.reply.%s.999999999-1"])
@pytest.mark.parametrize("subject", ["encke.publish.nobody", "encke.user.1", "encke.ask.user.1"])
def test_a_sender_mutes_no_node(
    guarded: NatsServer, node: Joined, sender: NatsPy, subject: str, reply: str
) -> None:
    """What it says of a node's links is not believed, and the node's messages come as before."""
    mute, receiver = (node(as_user(guarded, "node:n"), *ids) for ids in ([], [b"1"]))
    receiver.until_knows(1)
    sender.do(sender.client.publish(subject, b"evil", reply=reply % mute.peers.node))
    sender.do(sender.client.flush())
    receiver.until_came(1)
    for number in range(5):
        assert mute.peers.forward(SEND, [b"1"], [b"%d" % number]) is None
        mute.turn()
    came = receiver.until_came(6)
    assert [message for *_, message in came[1:]] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_sender_falsifies_no_count(guarded: NatsServer, node: Joined, sender: NatsPy) -> None:
    """A question whose answers it wants at the place of another's answers is no answer to it."""
    asking, other = (node(as_user(guarded, "node:n"), *ids) for ids in ([], [b"1"]))
    asking.until_settled()
    other.answers_at_once = False
    assert asking.peers.ask(SEND, b"1", b"hi", 1)
    other.until_came(1)
    for number in range(3):
        place = f"encke.reply.{asking.peers.node}.1-{number}"
        sender.do(sender.client.publish("encke.ask.user.nobody", b"", reply=place))
    sender.do(sender.client.flush())
    other.until_came(4)
    answered, other.owed = other.owed[1:], other.owed[:1]
    for ticket, _ in answered:
        other.peers.answer(ticket, 0)
    sender.do(sender.client.publish("encke.user.1", b"end"))
    other.turn()
    other.until_came(5)
    assert asking.answers == {}
    other.answer()
    run_until(asking.reactor, lambda: asking.answers == {1: 1})


def test_nodes_answer_at_no_subject_of_their_own(
    guarded: NatsServer, node: Joined, sender: NatsPy
) -> None:
    """Who may not publish there can't have a node do so: what a node says of itself, for one."""
    one, other = (node(as_user(guarded, "node:n"), *ids) for ids in ([b"1"], []))
    other.until_knows(1)
    said = other.peers.members._said[one.peers.node]
    assert said.name == "test"
    heard: list[bytes] = []
    came = other.peers._pulse.came

    def listen(message: NatsMessage) -> None:
        heard.append(message.payload)
        came(message)

    other.peers._kinds[b"encke.node.*"] = listen  # type: ignore[index]
    place = f"encke.node.{one.peers.node}"
    sender.do(sender.client.publish("encke.user.1", b"hi", reply=place))
    sender.do(sender.client.flush())
    one.until_came(1)
    run_until(one.reactor, lambda: len(heard) >= 2)
    assert {nodes.heartbeat(payload).name for payload in heard} == {"test"}


# what nodes themselves may not


def denying(*subjects: str) -> str:
    """A configuration in which nobody may publish to `subjects`."""
    permissions = f'publish: {{ allow: ["encke.>", "_INBOX.>"], deny: {list(subjects)} }}'
    user = f"user: node, password: n, permissions: {{ {permissions} }}".replace("'", '"')
    return f"authorization {{ users = [ {{ {user} }} ] }}"


@pytest.mark.parametrize(
    "subject",
    ["encke.user.*", "encke.publish.*", "encke.ask.user.*", "encke.ask.publish.*", "encke.reply.>",
     "encke.node.*"],
)  # fmt: skip
def test_a_node_that_may_not_publish_is_not_ready(
    tmp_path: Path, node: Joined, capfd: pytest.CaptureFixture[str], subject: str
) -> None:
    """Each kind of what it publishes is tried before it says that it's joined: else it would call
    forwarded what NATS throws away."""
    with NatsServer(tmp_path, denying(subject)) as server:
        router = node(as_user(server, "node:n"), ready=False)
        run_until(router.reactor, lambda: router.peers.link.tally.failed >= 2)
        assert router.peers.link.tally.linked == 0
        assert router.peers.forward(SEND, [b"1"], [b"hi"]) == bytes([Status.UNFORWARDED])
    logged = capfd.readouterr().err
    assert "level=error event=nats-unreachable" in logged
    assert "Permissions Violation for Publish to" in logged


def test_a_publish_that_nats_denies_ends_the_link(
    tmp_path: Path, node: Joined, capfd: pytest.CaptureFixture[str]
) -> None:
    """What isn't found out at joining: from the violation on nothing is called forwarded, a
    question has no answer, and the link is made anew."""
    with NatsServer(tmp_path, denying("encke.user.secret", "encke.ask.user.secret")) as server:
        router = node(as_user(server, "node:n"))
        assert router.peers.forward(SEND, [b"secret"], [b"hi"]) is None
        router.turn()
        run_until(router.reactor, lambda: router.peers.link.tally.lost == 1)
        assert router.peers.forward(SEND, [b"1"], [b"hi"]) == bytes([Status.UNFORWARDED])
        router.until_ready()
        assert router.peers.ask(SEND, b"secret", b"hi", 1)
        router.turn()
        run_until(router.reactor, lambda: router.answers == {1: None})
    assert "level=error event=nats-lost" in capfd.readouterr().err


def test_a_stranger_ends_no_link(guarded: NatsServer, node: Joined, sender: NatsPy) -> None:
    """Who wants an answer where a node may not publish gets none; the node stays joined, and its
    probes are nothing to others."""
    one, other = (node(as_user(guarded, "node:n"), *ids) for ids in ([b"1"], []))
    sender.do(sender.client.publish("encke.user.1", b"hi", reply="forbidden"))
    sender.do(sender.client.flush())
    one.until_came(1)
    one.turn()
    other.until_settled()
    assert one.peers.link.tally.lost == 0
    assert one.peers.tally.dropped == other.peers.tally.dropped == 0
