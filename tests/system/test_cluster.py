"""Nodes joined through a real NATS server."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import nats
import psutil
import pytest

from bench.servers.nats import NatsServer
from bench.servers.postgres import Postgres
from encke.friends.opening import open_store

from .node import Node, until
from .raw import Raw, ask, post, request, stream


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="module")
def nodes(server: NatsServer) -> Iterator[tuple[Node, Node]]:
    """Two nodes that know each other."""
    with Node("--nats", server.url) as one, Node("--nats", server.url, "--gateways", "1") as two:
        for node in (one, two):
            node.until(lambda now: now.nodes == 1, "they know each other")
        yield one, two


def test_a_message_crosses(nodes: tuple[Node, Node]) -> None:
    """A stream on one node gets what is sent on another, and what is sent on its own."""
    one, two = nodes
    with stream(one.address, "123") as listener:
        answer = ask(two.address, post("/send/123", b"Hello"))
        assert answer.json() == {"delivered": 0, "forwarded": True}
        assert listener.chunk() == b"Recvd msg #1: 'Hello'\n"
        answer = ask(one.address, post("/send/123", b"World"))
        assert answer.json() == {"delivered": 1, "forwarded": True}
        assert listener.chunk() == b"Recvd msg #2: 'World'\n"


def test_all_nodes_are_counted(nodes: tuple[Node, Node]) -> None:
    """?wait=cluster: the answer counts the connections of all nodes, for one and for many."""
    one, two = nodes
    with stream(one.address, "all"), stream(two.address, "all"), stream(two.address, "all"):
        answer = ask(one.address, post("/send/all?wait=cluster", b"x"))
        assert answer.json() == {"delivered": 3}
        body = b'{"id": "all", "data": "y"}\n{"id": "nobody", "data": "y"}\n'
        answer = ask(two.address, post("/send?wait=cluster", body))
        assert answer.json() == {"accepted": 2, "delivered": 3}


def test_ndjson_says_how_many_were_handed_on(nodes: tuple[Node, Node]) -> None:
    """Each line is handed on, and counted."""
    one, two = nodes
    with stream(two.address, "lines") as listener:
        body = b"".join(b'{"id": "lines", "data": "%d"}\n' % number for number in range(100))
        answer = ask(one.address, post("/send", body))
        assert answer.json() == {"accepted": 100, "delivered": 0, "forwarded": 100}
        for number in range(100):
            assert listener.chunk() == b"Recvd msg #%d: '%d'\n" % (number + 1, number)


def test_any_nats_client_can_send(nodes: tuple[Node, Node], server: NatsServer) -> None:
    """What a program publishes to the user's subject is delivered; a request is answered."""

    async def send() -> bytes:
        client = await nats.connect(server.url)
        try:
            await client.publish("encke.user.ada@example,org", "Grüße".encode())
            answer = await client.request("encke.user.ada@example,org", b"again", timeout=10)
            return answer.data
        finally:
            await client.close()

    with stream(nodes[0].address, "ada@example.org") as listener:
        assert b'"delivered":1' in asyncio.run(send())
        assert listener.chunk() == "Recvd msg #1: 'Grüße'\n".encode()
        assert listener.chunk() == b"Recvd msg #2: 'again'\n"


def test_interest_ends_with_the_last_logout(nodes: tuple[Node, Node], server: NatsServer) -> None:
    """NATS has a subscription a user who is here, and none for one who has left."""

    def interests() -> list[int]:
        return [server.subscriptions_to(f"encke.user.{user}") for user in ("i1", "i2")]

    assert interests() == [0, 0]
    with ExitStack() as streams:
        for user in ("i1", "i2", "i2"):
            streams.enter_context(stream(nodes[0].address, user))
        assert interests() == [1, 1]
    until(lambda: interests() == [0, 0], "nobody is subscribed any more")


def test_publishing_needs_a_store_that_all_see(nodes: tuple[Node, Node]) -> None:
    """Without a shared store friends are off in a cluster, and that is said."""
    assert "postgresql" in ask(nodes[0].address, post("/publish/1", b"x")).problem(409)


def test_friends_on_different_nodes(server: NatsServer, postgres: Postgres) -> None:
    """Three nodes with one PostgreSQL: subscribers get what is published wherever they are, and
    a change made anywhere counts for the next publication anywhere."""
    postgres.empty()
    flags = ("--nats", server.url, "--nats-prefix", "friends", "--friends", postgres.url)
    with Node(*flags) as one, Node(*flags) as two, Node(*flags) as three:
        for node in (one, two, three):
            node.until(lambda now: now.nodes == 2, "they know each other")
        store = open_store(postgres.url, "")
        with (
            stream(one.address, "ben") as ben,
            stream(two.address, "cid") as cid,
            stream(three.address, "ada") as ada,
        ):
            assert ask(two.address, post("/publish/ada?wait=cluster", b"1")).json() == {
                "delivered": 1
            }
            store.add([(b"ben", b"ada"), (b"cid", b"ada")])
            assert ask(two.address, post("/publish/ada?wait=cluster", b"2")).json() == {
                "delivered": 3
            }
            answer = ask(one.address, post("/publish/ada", b"3"))
            assert answer.json() == {"delivered": 1, "forwarded": True}
            for listener in (ben, cid):
                for number in (1, 2):
                    assert listener.chunk() == b"Recvd msg #%d: '%d'\n" % (number, number + 1)
            for number in (1, 2, 3):
                assert ada.chunk() == b"Recvd msg #%d: '%d'\n" % (number, number)
            store.remove([(b"ben", b"ada")])
            assert ask(three.address, post("/publish/ada?wait=cluster", b"4")).json() == {
                "delivered": 2
            }
        store.close()


def test_nats_goes_and_comes_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    """While NATS is away, what concerns this node works, what doesn't is refused, logins wait;
    once it is back, all interest is restored."""
    with (
        NatsServer(tmp_path_factory.mktemp("nats")) as server,
        Node("--nats", server.url) as one,
        Node("--nats", server.url) as two,
        stream(one.address, "here") as listener,
    ):
        for node in (one, two):
            node.until(lambda now: now.nodes == 1, "they know each other")
        server.end()
        one.until(lambda now: now.nats_link != "ready", "it notices")
        until(lambda: one.get("/health")[0] == 503, "it takes no streams")
        answer = ask(one.address, post("/send/here", b"1"))
        assert answer.json() == {"delivered": 1, "forwarded": False}
        assert listener.chunk() == b"Recvd msg #1: '1'\n"
        assert "NATS" in ask(one.address, post("/send/elsewhere", b"x")).problem(503)
        assert "NATS" in ask(one.address, post("/send/here?wait=cluster", b"x")).problem(503)
        with Raw(one.address) as late:
            late.send(request("GET", "/test/late"))
            server.start()
            assert late.head().status == 200  # once the others reach it
            for node in (one, two):
                node.until(lambda now: now.nats_link == "ready" and now.nodes == 1, "joined again")
            answer = ask(two.address, post("/send/late?wait=cluster", b"2"))
            assert answer.json() == {"delivered": 1}
            answer = ask(two.address, post("/send/here?wait=cluster", b"3"))
            assert answer.json() == {"delivered": 1}
            assert listener.chunk() == b"Recvd msg #2: '3'\n"
        assert one.get("/health")[0] == 200


def test_a_router_is_killed(server: NatsServer) -> None:
    """Its successor restores the interest of all who stayed connected."""
    with (
        Node("--nats", server.url, "--nats-prefix", "killed") as one,
        Node("--nats", server.url, "--nats-prefix", "killed") as two,
        stream(one.address, "stays") as listener,
    ):
        os.kill(one.pid_of("router"), signal.SIGKILL)

        def arrives() -> bool:
            answer = ask(two.address, post("/send/stays?wait=cluster", b"x"))
            return answer.status == 200 and answer.json() == {"delivered": 1}

        until(arrives, "it's reached again")
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"


def test_a_node_is_killed(server: NatsServer) -> None:
    """kill -9 of all of its processes: the others notice, and don't wait for it for ever."""
    with Node("--nats", server.url, "--nats-prefix", "dead") as one:
        other = Node("--nats", server.url, "--nats-prefix", "dead")
        try:
            one.until(lambda now: now.nodes == 1, "they know each other")
            for process in (*psutil.Process(other.pid).children(), psutil.Process(other.pid)):
                process.kill()
            one.until(lambda now: now.nodes == 0, "it's gone")
        finally:
            other.kill()
        assert ask(one.address, post("/send/x?wait=cluster", b"x")).json() == {"delivered": 0}


def test_a_node_is_stopped(server: NatsServer) -> None:
    """A node that ends in order says so: the others don't wait for it, and don't call it lost."""
    flags = ("--nats", server.url, "--nats-prefix", "stopped")
    with Node(*flags) as one:
        with Node(*flags) as other, stream(other.address, "1"):
            one.until(lambda now: now.nodes == 1, "they know each other")
        one.until(lambda now: now.nodes == 0, "it's gone")
        assert any("event=node-left" in line for line in one.log)
        assert not any("event=node-lost" in line for line in one.log)


def test_a_node_for_senders(nodes: tuple[Node, Node], server: NatsServer) -> None:
    """--gateways 0: it opens no streams, and says so; what is sent there arrives elsewhere."""
    with (
        Node("--nats", server.url, "--gateways", "0") as senders,
        stream(nodes[0].address, "far") as listener,
    ):
        senders.until(lambda now: now.nodes == 2, "it knows the others")
        for path in ("/test/1", "/events/1"):
            assert "--gateways 0" in ask(senders.address, request("GET", path)).problem(503)
        answer = ask(senders.address, post("/send/far?wait=cluster", b"x"))
        assert answer.json() == {"delivered": 1}
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"


def test_a_node_that_is_alone_has_none_of_it() -> None:
    """Without --nats nothing of the cluster's room is imported."""
    with Node("--gateways", "2") as node:
        assert node.state().nats_link == "none"
        with open(f"/proc/{node.pid_of('router')}/maps", encoding="utf-8") as maps:
            assert "libssl" not in maps.read()


def test_a_bad_url_is_refused_at_the_start() -> None:
    """The node doesn't start with what can never be joined."""
    said = r"exit code 64\)\nencke: 'http://example.org': only nats:// and tls:// are supported"
    with pytest.raises(AssertionError, match=said):
        Node("--nats", "http://example.org")
