"""Nodes and a NATS server with addresses of their own, each in a network namespace."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from system.node import Node, until

from bench.servers.nats import NatsServer

from . import network
from .network import Space, bridge

NETWORK = "10.0.0"

KEY = "namespaces"


@pytest.fixture
def spaces() -> Iterator[list[Space]]:
    """Three, joined by a switch in the first one; their addresses end with 1, 2 and 3."""
    if reason := network.missing():
        pytest.skip(reason)
    with ExitStack() as stack:
        spaces = [stack.enter_context(Space()) for _ in range(3)]
        bridge(spaces[0], spaces[1:], NETWORK)
        yield spaces


def encke(space: Space, *arguments: str) -> list[str]:
    return [*space.through, sys.executable, "-m", "encke", *arguments]


def test_across_machines(spaces: list[Space], tmp_path: Path) -> None:
    """Two nodes that know nothing but the address of a NATS server: what is sent to one of them,
    over the network, comes to who listens at the other one."""
    hub, *places = spaces
    with ExitStack() as stack:
        nats = NatsServer(tmp_path, host=f"{NETWORK}.1", through=hub.through)
        stack.enter_context(nats)
        urls = []
        for number, space in enumerate(places, 2):
            node = Node(
                *("--nats", nats.url, "--node-name", f"node-{number}"),
                listen=f"{NETWORK}.{number}:0",
                environment={"ENCKE_API_KEY": KEY},
                through=space.through,
            )
            stack.enter_context(node)
            assert node.address[0] == f"{NETWORK}.{number}"
            urls.append("http://{}:{}".format(*node.address))
        log = tmp_path / "stream"
        with log.open("wb") as output:
            listener = subprocess.Popen(  # from the other one's machine
                [*places[1].through, "curl", "--silent", "--no-buffer", f"{urls[0]}/test/123"],
                stdout=output,
            )
        stack.callback(listener.wait)
        stack.callback(listener.kill)
        send = encke(places[0], "send", "123", "Hello World", "--to", urls[1])
        sent: list[bool] = []

        def arrived() -> bool:
            done = subprocess.run(send, check=True, env={"ENCKE_API_KEY": KEY}, timeout=20)
            sent.append(done.returncode == 0)
            return b"'Hello World'" in log.read_bytes()

        until(arrived, "a message comes")
        until(lambda: log.read_bytes().count(b"Hello") in range(1, len(sent) + 1), "they come")
