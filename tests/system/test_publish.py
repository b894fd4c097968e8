"""Publishing: to everyone subscribed, to the publisher, and to nobody else."""

import os
import random
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.crowd import Crowd, Stream
from encke.friends.opening import open_store
from encke.friends.store import Pair, Store
from encke.wire.sse_reader import SseReader

from .node import Node, until
from .raw import Raw, ask, post, stream

GATEWAYS = ["1", "2"]
"""With one gateway the map is in its process, with two in the router's."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The data directory of the nodes."""
    return str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=GATEWAYS)
def node(request: pytest.FixtureRequest, data: str) -> Iterator[Node]:
    """A node with friends in `data`."""
    with Node("--gateways", request.param, "--data", f"{data}/{request.param}") as node:
        yield node


@pytest.fixture
def store(node: Node, data: str) -> Iterator[Store]:
    """The friends of the node, opened beside it, as the control process does."""
    store = open_store("sqlite", f"{data}/{len(node.gateways())}")
    yield store
    store.close()


def befriend(store: Store, publisher: str, *subscribers: str) -> None:
    store.add([(it.encode(), publisher.encode()) for it in subscribers])


def publish(node: Node, publisher: str, message: str) -> int:
    """Publish one message; connections that got it."""
    answer = ask(node.address, post(f"/publish/{publisher}", message.encode()))
    assert answer.status == 200, answer
    return int(answer.json()["delivered"])


def lines(*pairs: tuple[str, str]) -> bytes:
    return b"".join(msgspec.json.encode({"id": id, "data": data}) + b"\n" for id, data in pairs)


def test_nobody_is_subscribed(node: Node) -> None:
    """A publication reaches its publisher, if they are there, before there are any friends."""
    assert publish(node, "lonely", "x") == 0
    with stream(node.address, "lonely") as listener:
        assert publish(node, "lonely", "y") == 1
        assert listener.chunk() == b"Recvd msg #1: 'y'\n"


def test_subscribers_get_it(node: Node, store: Store) -> None:
    """Each connection of each subscriber and of the publisher, once; nobody else."""
    befriend(store, "ada", "ben", "cid", "ada", "offline")
    users = ["ada", "ben", "ben", "cid", "eve"]
    with Crowd(node.address) as crowd:
        streams = crowd.open(users)
        assert publish(node, "ada", "news") == 4
        assert ask(node.address, post("/send/eve", b"end")).json() == {"delivered": 1}
        crowd.until(lambda: all(it.messages for it in streams), "everyone got something")
        assert [it.messages for it in streams] == [[b"news"]] * 4 + [[b"end"]]


def test_a_change_takes_effect_at_once(node: Node, store: Store) -> None:
    """Both online: a subscription made or ended counts for the next publication."""
    with stream(node.address, "fan") as listener:
        assert publish(node, "star", "1") == 0
        befriend(store, "star", "fan")
        assert publish(node, "star", "2") == 1
        assert listener.chunk() == b"Recvd msg #1: '2'\n"
        store.remove([(b"fan", b"star")])
        assert publish(node, "star", "3") == 0


def test_events_say_who_published(node: Node, store: Store) -> None:
    """On /events a publication is an event of its own type, with its publisher's id."""
    befriend(store, "who@example.org", "reader")
    with stream(node.address, "reader", "events") as listener:
        listener.chunk()  # the greeting
        assert publish(node, "who@example.org", 'two\nlines "quoted" ☄') == 1
        (event,) = SseReader().feed(listener.chunk())
        assert event.type == "friend"
        assert msgspec.json.decode(event.data) == {
            "from": "who@example.org", "data": 'two\nlines "quoted" ☄',
        }  # fmt: skip


def test_ndjson(node: Node, store: Store) -> None:
    """Many publications in one body, in their order; a bad line is named, those before it
    stay delivered."""
    befriend(store, "p1", "sub")
    befriend(store, "p2", "sub")
    with stream(node.address, "sub") as listener:
        body = lines(("p1", "a"), ("p2", "b"), ("nobody", "c"), ("p1", "d"))
        answer = ask(node.address, post("/publish", body))
        assert answer.json() == {"accepted": 4, "delivered": 3}
        for number, message in enumerate("abd", 1):
            assert listener.chunk() == f"Recvd msg #{number}: '{message}'\n".encode()
        answer = ask(node.address, post("/publish", lines(("p1", "e")) + b"{}\n"))
        assert "Line 2" in answer.problem(400)
        assert answer.json()["delivered"] == 1
        assert listener.chunk() == b"Recvd msg #4: 'e'\n"


def test_bad_requests(node: Node) -> None:
    """As with /send: id, method, body and path are checked."""
    ask(node.address, post("/publish/a%20b", b"x")).problem(400)
    ask(node.address, post("/publish/1", b"\xff")).problem(400)
    answer = ask(node.address, b"GET /publish/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer.problem(405)
    assert answer.headers["allow"] == "POST"
    ask(node.address, post("/publish/1?wait=all", b"x")).problem(400)
    assert ask(node.address, post("/publish/1?wait=cluster", b"x")).json() == {"delivered": 0}


def test_a_sender_keeps_his_order(node: Node, store: Store) -> None:
    """Publications of one sender come in their order, though one of them is large."""
    store.add([(b"%d" % number, b"large") for number in range(5000)])
    befriend(store, "large", "ordered")
    befriend(store, "small", "ordered")
    with stream(node.address, "ordered") as listener, Raw(node.address) as sender:
        sender.send(
            post("/publish/small", b"1"), post("/publish/large", b"2"),
            post("/publish/small", b"3"), post("/publish/large", b"4"),
        )  # fmt: skip
        for number in range(1, 5):
            assert sender.answer().json() == {"delivered": 1}
            assert listener.chunk() == b"Recvd msg #%d: '%d'\n" % (number, number)


def test_everyone_and_nobody_else(node: Node, store: Store) -> None:
    """Random friends, random publications from several senders: each stream gets exactly
    what its user is subscribed to."""
    chance = random.Random(5)
    users = [f"u{number}" for number in range(60)]
    pairs: set[Pair] = set()
    for subscriber in users:
        for publisher in chance.sample(users, 7):
            pairs.add((subscriber.encode(), publisher.encode()))
    store.add(sorted(pairs))
    audience = defaultdict(set)
    for pair in pairs:
        audience[pair[1].decode()].add(pair[0].decode())
    published = [[(chance.choice(users), f"{n}-{k}") for k in range(300)] for n in range(4)]
    online = users[::2]
    with Crowd(node.address) as crowd:
        streams = crowd.open(online)
        senders = [
            threading.Thread(target=ask, args=[node.address, post("/publish", lines(*each))])
            for each in published
        ]
        for sender in senders:
            sender.start()
        expected = {
            user: sorted(
                message.encode()
                for each in published
                for publisher, message in each
                if user == publisher or user in audience[publisher]
            )
            for user in online
        }
        crowd.until(lambda: all(_count(it) >= len(expected[it.user]) for it in streams), "all came")
        for sender in senders:
            sender.join()
        assert {it.user: sorted(it.messages) for it in streams} == expected


def _count(stream: Stream) -> int:
    return len(stream.messages)


def test_it_is_counted(node: Node, store: Store) -> None:
    """/state counts publications, and the subscribers that were looked up."""
    before = node.state()
    befriend(store, "counted", "x", "y", "z")
    publish(node, "counted", "m")
    node.until(lambda now: now.published > before.published, "counted")
    node.until(lambda now: now.subscribers_read >= before.subscribers_read + 3, "looked up")


@pytest.mark.parametrize("gateways", GATEWAYS)
def test_a_broken_store(gateways: str, tmp_path: Path) -> None:
    """If the store is no database, publishing says so; sending goes on; once it is repaired,
    so does publishing."""
    file = tmp_path / "friends.sqlite"
    file.write_bytes(b"this is no database" * 1000)
    with Node("--gateways", gateways, "--data", str(tmp_path)) as node:
        answer = ask(node.address, post("/publish/1", b"x"))
        assert "friends" in answer.problem(503)
        assert answer.headers["retry-after"] == "1"
        assert ask(node.address, post("/send/1", b"x")).json() == {"delivered": 0}
        node.until(lambda now: now.lookups_failed == 1, "counted")
        file.unlink()
        assert publish(node, "1", "x") == 0


def test_friends_off(tmp_path: Path) -> None:
    """With --friends off publishing is refused, in a sentence; nothing is created."""
    with Node("--friends", "off", "--data", str(tmp_path / "none")) as node:
        assert "--friends" in ask(node.address, post("/publish/1", b"x")).problem(409)
    assert not (tmp_path / "none").exists()


def test_the_router_is_killed(tmp_path: Path) -> None:
    """kill -9 of the router between publications: the next one is looked up by its successor."""
    with Node("--gateways", "2", "--data", str(tmp_path)) as node:
        store = open_store("sqlite", str(tmp_path))
        befriend(store, "ada", "ben")
        store.close()
        with stream(node.address, "ben") as listener:
            assert publish(node, "ada", "1") == 1
            os.kill(node.pid_of("router"), signal.SIGKILL)
            until(lambda: ask(node.address, post("/publish/ada", b"2")).status == 200, "it's back")
            assert listener.chunk() == b"Recvd msg #1: '1'\n"
            assert listener.chunk() == b"Recvd msg #2: '2'\n"
