"""Load balancers before the nodes of a cluster, configured as docs/cluster.md says."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from proxies import proxy, shown

from bench.servers.nats import NatsServer
from bench.servers.nginx import HAProxy, Nginx
from bench.servers.processes import free_ports

from .node import Address, Node
from .raw import Raw, ask, post, request

Nodes = tuple[Node, Node]
Balancer = Callable[[Nodes, int], Nginx | HAProxy]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Two nodes that know each other; their streams get nothing but messages."""
    (tmp_path / "nats").mkdir()
    with (
        NatsServer(tmp_path / "nats") as nats,
        Node("--nats", nats.url, "--heartbeat", "0") as one,
        Node("--nats", nats.url, "--heartbeat", "0") as two,
    ):
        for node in (one, two):
            node.until(lambda now: now.nodes == 1, "they know each other")
        yield one, two


def behind_nginx(nodes: Nodes, port: int) -> Nginx | HAProxy:
    one, two = ("{}:{}".format(*node.address) for node in nodes)
    changes = {
        "192.0.2.11:8000": one,
        "192.0.2.12:8000": two,
        "443 ssl": f"127.0.0.1:{port}",
    }
    return proxy(Nginx, shown("cluster.md", "nginx", changes), port)


def behind_haproxy(nodes: Nodes, port: int) -> Nginx | HAProxy:
    one, two = nodes
    changes = {
        "192.0.2.11:8000 check port 8001": "{}:{} check port {}".format(
            *one.address, one.control[1]
        ),
        "192.0.2.12:8000 check port 8001": "{}:{} check port {}".format(
            *two.address, two.control[1]
        ),
        "bind :80": f"bind 127.0.0.1:{port}",
    }
    return proxy(HAProxy, shown("cluster.md", "haproxy", changes), port)


@pytest.mark.parametrize("balancer", [behind_nginx, behind_haproxy], ids=["nginx", "haproxy"])
def test_streams_through_a_load_balancer(nodes: Nodes, balancer: Balancer) -> None:
    """Streams are spread over the nodes, messages pass at once, and when a node is taken out of
    service its streams end as they should, and come back on the other. While there's none at all,
    who accepts an event stream is told when to come back."""
    one, two = nodes
    (port,) = free_ports(1)
    users = [f"user-{number}" for number in range(6)]
    with balancer(nodes, port), ExitStack() as open:
        door = ("127.0.0.1", port)
        streams = {it: open.enter_context(listen(door, it)) for it in users}
        for node in nodes:
            node.until(lambda now: now.streams == 3, "it has half of them")
        here = set()
        for user, listener in streams.items():
            if ask(one.address, post(f"/send/{user}", user.encode())).json()["delivered"]:
                here.add(user)
            assert chunk(listener) == f"data: {user}\n\n".encode()
        assert len(here) == 3
        two.stop()
        for user in set(users) - here:
            assert chunk(streams[user]) == b""
            open.enter_context(listen(door, user))
        one.until(lambda now: now.streams == 6, "all are here")
        one.stop()
        answer = ask(door, request("GET", "/events/1", "Accept: text/event-stream"))
        assert answer.status == 200
        assert answer.body.startswith(b"retry: 3000\n")
        assert ask(door, request("GET", "/events/1")).status == 503


def listen(door: Address, user: str) -> Raw:
    """An open stream of events through a proxy."""
    connection = Raw(door)
    connection.send(request("GET", f"/events/{user}"))
    assert connection.head().status == 200
    assert chunk(connection).startswith(b"retry: ")
    return connection


def chunk(connection: Raw) -> bytes:
    """The next chunk's data, empty if it's the last one; proxies write sizes as they like."""
    data = connection.read(int(connection.line(), 16))
    assert connection.read(2) == b"\r\n"
    return data
