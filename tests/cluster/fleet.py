"""A fleet: nodes joined through NATS servers, which several runs of the checker share.

Of three servers each runs in a network namespace of its own where that can be made, with a
cable to each of the others that can be pulled; elsewhere on loopback, without cables.
"""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from enum import Enum
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Self

from system.node import Node, until
from system.raw import ask, post

from bench.servers.nats import NatsServer, nats_cluster

from . import network
from .network import Cable, Space

NODES = 3

CLUSTER_TIMEOUT = 2.0
"""--cluster-timeout of the nodes: a run has a few seconds."""

_CLUSTER = """
    cluster {{ name: test, listen: "0.0.0.0:6222", pool_size: -1,
               ping_interval: "1s", routes: {routes} }}"""


class Shape(Enum):
    """Which NATS servers there are."""

    ONE = "one server"
    THREE = "three servers"


class Fleet:
    """NATS servers and nodes. Node k is told of server k only, and learns of the others there."""

    def __init__(self, directory: Path, shape: Shape, *, apart: bool) -> None:
        """With `apart` three servers are in namespaces of their own."""
        self.shape = shape
        self.servers: list[NatsServer] = []
        self.cables: dict[tuple[int, int], Cable] = {}
        """By the numbers of two servers."""
        self.nodes: list[Node] = []
        self._stack = ExitStack()
        try:
            if shape is Shape.ONE:
                self.servers.append(self._stack.enter_context(NatsServer(directory)))
            elif apart:
                self._start_apart(directory)
            else:
                self.servers += self._stack.enter_context(nats_cluster(NODES, directory))
            until(self._joined, "the servers are joined")
            with ThreadPoolExecutor(NODES) as threads:
                started = [threads.submit(self._start, index) for index in range(NODES)]
            self.nodes = [it.result() for it in started if it.exception() is None]
            for it in started:
                it.result()  # raises what one of them couldn't do
            until(self._settled, "all nodes know each other")
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # servers

    def _start_apart(self, directory: Path) -> None:
        spaces = [self._stack.enter_context(Space()) for _ in range(NODES)]
        for number, pair in enumerate(combinations(range(NODES), 2)):
            first, second = (spaces[index] for index in pair)
            self.cables[pair] = Cable(first, second, f"10.0.{number}")
        networks = [f"198.18.{os.getpid() * 4 % 256 + number}" for number in range(NODES)]
        for number, space in enumerate(spaces):
            Cable(None, space, networks[number])  # by which nodes and monitoring reach it
            routes = [
                f"nats-route://10.0.{index}.1:6222"
                for index, (_, second) in enumerate(self.cables)
                if second == number
            ]
            server = NatsServer(
                _made(directory / f"server-{number}"),
                _CLUSTER.format(routes=routes),
                host=f"{networks[number]}.2",
                through=space.through,
            )
            self.servers.append(self._stack.enter_context(server))

    def _joined(self) -> bool:
        return all(server.is_joined_to(len(self.servers) - 1) for server in self.servers)

    def until_joined(self) -> None:
        """Wait until each server knows all others."""
        until(self._joined, "the servers are joined again", 30)

    def places(self) -> list[int]:
        """Number of the server that each node is at; -1: none."""
        clients = [server.clients() if server.runs else [] for server in self.servers]
        return [
            next((at for at, names in enumerate(clients) if _name(index) in names), -1)
            for index in range(NODES)
        ]

    def spread(self) -> None:
        """See that not all nodes are at one server, when there are several."""
        until(lambda: -1 not in self.places(), "all nodes are at a server")
        while self.shape is Shape.THREE and len(set(self.places())) < 2:
            server = self.servers[self.places()[0]]
            server.end()
            until(lambda: -1 not in self.places(), "they went elsewhere")
            server.start()
            self.until_joined()

    # nodes

    def _start(self, index: int) -> Node:
        url = self.servers[index % len(self.servers)].url
        return Node(
            *("--nats", url, "--node-name", _name(index)),
            *("--cluster-timeout", str(CLUSTER_TIMEOUT)),
            *("--gateways", "1" if index == 0 else "2"),
        )

    def replace(self, index: int) -> None:
        """Kill all processes of a node, and start a new one in its place."""
        node = self.nodes[index]
        for pid in (node.pid, *node.pids()):
            with suppress(ProcessLookupError):  # the others end when the first one has
                os.kill(pid, signal.SIGKILL)
        node.kill()
        assert not node.crashes(), node.crashes()
        self.nodes[index] = self._start(index)

    def kill(self, index: int, name: str) -> None:
        """Kill one process of a node, and wait until it's replaced."""
        node = self.nodes[index]
        pid = node.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        until(lambda: node.replaced(name, pid), f"{name} is replaced")

    def processes(self, index: int, kind: str) -> list[str]:
        """The names of a node's processes that begin with `kind`."""
        return [it.name for it in self.nodes[index].state().processes if it.name.startswith(kind)]

    # its end

    def _settled(self) -> bool:
        """Whether all nodes are sure of whom they have to ask."""
        question = post("/send/nobody?wait=cluster", b"0:0:nobody")
        return all(
            node.state().nodes == NODES - 1 and ask(node.address, question).status == 200
            for node in self.nodes
        )

    def check(self) -> None:
        """Fail if a node complained of itself."""
        for node in self.nodes:
            assert not node.crashes(), node.crashes()

    def close(self) -> None:
        """End all; fails if a node has crashed, or leaves a process behind."""
        try:
            for node in self.nodes:
                node.stop()
            self.check()
        finally:
            self.end()

    def end(self) -> None:
        """Leave nothing running, whatever happened."""
        for node in self.nodes:
            node.kill()
        self._stack.close()


class Fleets:
    """One fleet of each shape, made when it's needed, and anew after something went wrong."""

    def __init__(self, directory: Path) -> None:
        self.reason = network.missing()
        """Why servers can't be apart; empty if they are."""
        self._directory = directory
        self._fleets: dict[Shape, Fleet] = {}
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with ExitStack() as stack:
            for fleet in self._fleets.values():
                stack.callback(fleet.close if kind is None else fleet.end)

    def get(self, shape: Shape) -> Fleet:
        """The fleet of this shape; not all of its nodes are at the same one of several servers."""
        if shape not in self._fleets:
            self._made += 1
            place = _made(self._directory / str(self._made))
            self._fleets[shape] = Fleet(place, shape, apart=not self.reason)
        self._fleets[shape].spread()
        return self._fleets[shape]

    def discard(self, shape: Shape) -> None:
        """Let the next run have another one."""
        if shape in self._fleets:
            self._fleets.pop(shape).end()


def choose(dice: Random, index: int | None = None) -> int:
    """A node, or another than `index`."""
    return dice.choice([it for it in range(NODES) if it != index])


def _name(index: int) -> str:
    return f"node-{index}"


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
