"""What needs no node, or shows them all: encke send and publish --nats, encke nodes, /state."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec
import pytest
import trustme
from cluster.nats_py import NatsPy

import encke as encke_client
from bench.servers.nats import NatsServer
from encke.client import Sent
from encke.control.state import ClusterState

from .node import Node, until
from .raw import ask, post, stream

USERS = 'authorization { users: [ { user: "node", password: "p@ss/1" } ] }'


def encke(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    ran = subprocess.run(
        [sys.executable, "-m", "encke", *arguments], input=stdin, capture_output=True, timeout=30
    )
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="module")
def nodes(server: NatsServer) -> Iterator[tuple[Node, Node]]:
    """Two nodes that know each other."""
    with (
        Node("--nats", server.url, "--node-name", "web-1") as one,
        Node("--nats", server.url, "--node-name", "web-2", "--gateways", "1") as two,
    ):
        for node in (one, two):
            node.until(lambda now: now.nodes == 1, "they know each other")
            node.until(
                lambda now: now.cluster is not None and len(now.cluster.nodes) == 2, "so say both"
            )
        yield one, two


def url(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"


def test_sending_without_a_node(nodes: tuple[Node, Node], server: NatsServer) -> None:
    """encke send --nats: every connection on every node gets it, and is counted."""
    one, two = nodes
    with stream(one.address, "a.b") as first, stream(two.address, "a.b") as second:
        code, out, err = encke("send", "a.b", "Grüße", "--nats", server.url)
        assert (code, out, err) == (0, "delivered to 2 connections\n", "")
        for listener in (first, second):
            assert listener.chunk() == "Recvd msg #1: 'Grüße'\n".encode()
        code, out, _ = encke("send", "a.b", "-", "--nats", server.url, stdin=b"from stdin\n")
        assert (code, first.chunk()) == (0, b"Recvd msg #2: 'from stdin'\n")
    code, out, _ = encke("send", "nobody", "hi", "--nats", server.url)
    assert (code, out) == (0, "delivered to 0 connections: nobody is not connected\n")


def test_sending_to_a_node(nodes: tuple[Node, Node]) -> None:
    """encke send counts the connections of all nodes, and so does the client if it's told to."""
    one, two = nodes
    with stream(two.address, "77"), encke_client.connect(url(one.address)) as client:
        code, out, err = encke("send", "77", "hi", "--to", url(one.address))
        assert (code, out, err) == (0, "delivered to 1 connection\n", "")
        assert client.send("77", "hi") == 0
        assert client.send("77", "hi", wait="cluster") == 1
        assert client.send_many([("77", "hi"), ("78", "hi")]) == Sent(2, 0, forwarded=2)
        assert client.send_many([("77", "hi"), ("78", "hi")], wait="cluster") == Sent(2, 1)


def test_publishing_without_a_node(nodes: tuple[Node, Node], server: NatsServer) -> None:
    """encke publish --nats: where nodes have no common store, they say that they can't."""
    code, _, err = encke("publish", "456", "hi", "--nats", server.url)
    assert code == 1
    assert err == "encke: This node can't say who is subscribed now.\n"


def test_no_node_is_there(server: NatsServer, tmp_path: Path) -> None:
    """Where no node is, or no NATS, or the id is none, it's said at once, with an exit code."""
    with NatsServer(tmp_path) as empty:
        code, _, err = encke("send", "1", "hi", "--nats", empty.url)
        assert (code, "No node" in err) == (69, True)
        code, out, _ = encke("nodes", "--nats", empty.url)
        assert (code, out) == (1, "No node is there.\n")
        code, _, err = encke("send", "1", "-", "--nats", empty.url, stdin=b"x" * 1_100_000)
        assert (code, "max_payload" in err) == (1, True)
        gone = empty.url
    for command in (("send", "1", "hi"), ("nodes",)):
        code, _, err = encke(*command, "--nats", gone)
        assert (code, "Connection refused" in err) == (69, True)
    code, _, err = encke("send", "a/b", "hi", "--nats", server.url)
    assert code == 2
    code, _, err = encke("send", "1", "hi", "--nats", "http://example.org")
    assert (code, "nats://" in err) == (2, True)
    code, _, err = encke("send", "1", "hi", "--nats", server.url, "--nats-prefix", "a b")
    assert (code, "A-Z a-z" in err) == (2, True)


def test_a_node_that_does_not_answer(tmp_path: Path) -> None:
    """A node that's there but doesn't answer is named, and the exit code is no success."""
    with (
        NatsServer(tmp_path) as server,
        Node("--nats", server.url, "--node-name", "well"),
        Node("--nats", server.url, "--node-name", "stuck", "--gateways", "1") as stuck,
        stream(stuck.address, "1"),
        stuck.only_gateway(-1),
    ):
        code, _, err = encke("send", "1", "hi", "--nats", server.url)
        assert code == 69
        assert "stuck didn't answer" in err
        assert "well" not in err


def test_nodes(nodes: tuple[Node, Node], server: NatsServer) -> None:
    """encke nodes shows each, with what it holds; from a node's control port, and from NATS."""
    one, two = nodes
    with stream(one.address, "both"), stream(two.address, "both"), stream(two.address, "2"):
        for node in nodes:
            node.until(
                lambda now: now.cluster is not None and now.cluster.connections == 3, "all is known"
            )
        for where in (("--control", url(one.control)), ("--nats", server.url)):
            code, out, err = encke("nodes", *where)
            assert (code, err) == (0, "")
            lines = [line.split() for line in out.splitlines()]
            by_name = {line[1 + (line[1] == "*")]: line for line in lines}
            assert by_name["web-1"][-4:-2] == ["1", "1"]
            assert by_name["web-2"][-4:-2] == ["2", "2"]
            assert lines[-1][-4:-2] == ["3", "3"]
            rates = [line[-2:] for line in (by_name["web-1"], by_name["web-2"], lines[-1])]
            assert all(rate.isdecimal() for rate in chain(*rates))  # of whatever went before
            assert (out.count("*") == 1) == (where[0] == "--control")
            code, out, _ = encke("nodes", *where, "--json")
            state = msgspec.json.decode(out, type=ClusterState)
            assert (state.users_sum, state.connections) == (3, 3)
            assert [node.name for node in state.nodes] == ["web-1", "web-2"]


def test_rates(nodes: tuple[Node, Node]) -> None:
    """What nodes take and deliver a second is told."""
    one, two = nodes

    def taken() -> float:
        assert ask(one.address, post("/send/nobody", b"x")).status == 200
        cluster = two.state().cluster
        assert cluster is not None
        return next(node.messages_rate for node in cluster.nodes if node.name == "web-1")

    until(lambda: taken() > 0, "there is a rate")


def test_a_node_that_is_alone() -> None:
    """It has no cluster, and encke nodes says so."""
    with Node("--gateways", "1") as node:
        assert node.state().cluster is None
        code, out, _ = encke("nodes", "--control", url(node.control))
        assert (code, out) == (1, "This node is alone: it was started without --nats.\n")
    code, _, err = encke("nodes", "--control", url(node.control))
    assert (code, "No control port answers" in err) == (69, True)


def test_the_control_port_hears_of_nodes_again(tmp_path: Path) -> None:
    """NATS restarted: /state shows the nodes again; while it's away, none."""
    with NatsServer(tmp_path) as server, Node("--nats", server.url) as node:

        def known() -> int:
            cluster = node.state().cluster
            assert cluster is not None
            return len(cluster.nodes)

        until(lambda: known() == 1, "it hears of itself")
        server.end()
        until(lambda: known() == 0, "nobody is heard")
        server.start()
        until(lambda: known() == 1, "it hears of itself again")


def test_the_state_does_not_wait_for_the_router(tmp_path: Path) -> None:
    """While the router hangs /state answers, and soon shows no nodes; then it does again."""
    with NatsServer(tmp_path) as server, Node("--nats", server.url) as node:
        node.until(lambda now: bool(now.cluster and now.cluster.nodes), "it hears of itself")
        router = node.pid_of("router")
        os.kill(router, signal.SIGSTOP)
        try:
            node.until(lambda now: now.cluster is not None and not now.cluster.nodes, "none is")
        finally:
            os.kill(router, signal.SIGCONT)
        node.until(lambda now: bool(now.cluster and now.cluster.nodes), "it hears of itself again")
        os.kill(router, signal.SIGKILL)
        node.until(lambda now: bool(now.cluster and now.cluster.nodes), "the new one says so too")


def test_tls_and_a_password(tmp_path: Path) -> None:
    """Nodes and commands speak TLS to NATS, and log in."""
    authority = trustme.CA()
    ca, certificate = str(tmp_path / "ca.pem"), str(tmp_path / "nats.pem")
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{certificate}" }}'
    with NatsServer(tmp_path, f"{USERS}\n{tls}") as server:
        where = ("--nats", f"tls://node:p%40ss%2F1@{server.address}", "--nats-ca", ca)
        with Node(*where, "--node-name", "safe") as node, stream(node.address, "1") as listener:
            code, out, err = encke("send", "1", "hi", *where)
            assert (code, out, err) == (0, "delivered to 1 connection\n", "")
            assert listener.chunk() == b"Recvd msg #1: 'hi'\n"
            until(lambda: node.state().cluster is not None, "the control process is joined too")
            node.until(lambda now: bool(now.cluster and now.cluster.nodes), "it hears of itself")
            code, _, err = encke("send", "1", "hi", "--nats", f"tls://{server.address}", *where[2:])
            assert (code, "Authorization" in err) == (69, True), err
            code, _, err = encke("send", "1", "hi", *where[:2])
            assert (code, "certificate verify failed" in err) == (69, True), err


def test_the_documented_permissions(tmp_path: Path) -> None:
    """With the permissions that docs/cluster.md shows, nodes join and answer, and a sender may
    send, but not listen."""
    text = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text("utf-8")
    config = "authorization {" + text.partition("\nauthorization {")[2].partition("```")[0]
    config = config.replace("$NODE_PASSWORD", "n0de").replace("$SENDER_PASSWORD", "s3nder")
    with NatsServer(tmp_path, config) as server:
        node_url, sender_url = (
            server.url.replace("//", f"//{login}@") for login in ("node:n0de", "sender:s3nder")
        )
        with Node("--nats", node_url) as node, stream(node.address, "1") as listener:
            code, out, err = encke("send", "1", "hi", "--nats", sender_url)
            assert (code, out, err) == (0, "delivered to 1 connection\n", "")
            assert listener.chunk() == b"Recvd msg #1: 'hi'\n"
            code, _, _ = encke("nodes", "--nats", sender_url)
            assert code == 0
            assert not [line for line in node.log if "nats-error" in line]
        with NatsPy(sender_url) as sender:
            complaints: list[str] = []

            async def complain(error: Exception) -> None:
                complaints.append(str(error))

            async def listen() -> None:
                sender.client._error_cb = complain
                await sender.client.subscribe("encke.user.1")
                await sender.client.flush()

            sender.do(listen())
            until(lambda: bool(complaints), "it's refused")
            assert "permissions violation" in complaints[0]
