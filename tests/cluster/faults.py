"""What may go wrong between nodes, as functions of a `Scene`: each does it, and undoes it.

How long something is away is drawn from the run's dice, as is who it befalls.
"""

import threading
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from system.node import until

from bench.servers.nats import NatsServer

from .checker import ClusterChecker
from .fleet import NODES, Fleet, Shape, choose

STORM = 150
"""Clients that log in while NATS is away."""

SILENCE = 2.0
"""Seconds after which a node takes a NATS server that says nothing for dead."""


class Scene(NamedTuple):
    """What a fault befalls."""

    fleet: Fleet
    checker: ClusterChecker
    dice: Random

    def server(self) -> NatsServer:
        """A NATS server at which nodes are."""
        return self.fleet.servers[self.dice.choice(self.fleet.places())]

    def last(self, seconds: float) -> None:
        """Let it last so long, while the load goes on."""
        began = time.monotonic()
        until(lambda: time.monotonic() - began > seconds, "time passes", seconds + 1)


class Fault(NamedTuple):
    """A kind of fault; `cause` says what it did."""

    name: str
    cause: Callable[[Scene], str]
    shapes: Sequence[Shape] = tuple(Shape)
    needs_cables: bool = False


def kill_nats(scene: Scene) -> str:
    """kill -9 of a NATS server; it comes back."""
    server, seconds = scene.server(), scene.dice.uniform(0.1, 1.5)
    server.end()
    scene.last(seconds)
    server.start()
    return f"for {seconds:.1f} s"


def restart_nats(scene: Scene) -> str:
    """All NATS servers are ended in order and started again, one after the other, under load."""
    for server in scene.fleet.servers:
        server.leave()
        server.start()
    return ""


def stop_nats(scene: Scene) -> str:
    """A NATS server hangs (SIGSTOP): mostly for less than what nodes take for its death."""
    long = scene.dice.random() < 0.25
    seconds = scene.dice.uniform(*(SILENCE + 0.5, SILENCE + 3) if long else (0.1, 1.5))
    with scene.server().stopped():
        scene.last(seconds)
    return f"for {seconds:.1f} s"


def cut(scene: Scene) -> str:
    """Nothing passes between two NATS servers at which nodes are."""
    seconds = scene.dice.uniform(0.2, 4.0)
    first, second = sorted(scene.dice.sample(sorted(set(scene.fleet.places())), 2))
    with scene.fleet.cables[first, second].pulled():
        scene.last(seconds)
    return f"between {first} and {second}, for {seconds:.1f} s"


def kill_router(scene: Scene) -> str:
    """kill -9 of a node's router."""
    return _kill(scene, "router")


def kill_gateway(scene: Scene) -> str:
    """kill -9 of a gateway, with its streams."""
    return _kill(scene, "gateway")


def _kill(scene: Scene, kind: str) -> str:
    names = {it: scene.fleet.processes(it, kind) for it in range(NODES)}
    index = scene.dice.choice([it for it in names if names[it]])
    name = scene.dice.choice(names[index])
    scene.fleet.kill(index, name)
    return f"{name} of node {index}"


def kill_node(scene: Scene) -> str:
    """kill -9 of all processes of a node; another one takes its place."""
    index = choose(scene.dice)
    scene.fleet.replace(index)
    return f"node {index}"


def storm(scene: Scene) -> str:
    """Very many log in while a NATS server restarts."""
    server, seconds = scene.server(), scene.dice.uniform(0, 1)
    server.end()
    users = [f"storm{scene.dice.random()}.{number}" for number in range(STORM)]
    openers = [
        threading.Thread(target=scene.checker.open_at, args=(index, users[index::NODES]))
        for index in range(NODES)
    ]
    for opener in openers:
        opener.start()
    scene.last(seconds)
    server.start()
    for opener in openers:
        opener.join()
    waiting = [it for it in scene.checker.crowd.streams if not it.opened_at]
    assert not waiting, f"{len(waiting)} of {STORM} never got their head"
    return f"{STORM} logins, NATS away for {seconds:.1f} s"


FAULTS = [
    Fault("kill NATS", kill_nats),
    Fault("kill router", kill_router),
    Fault("stop NATS", stop_nats),
    Fault("cut NATS", cut, [Shape.THREE], needs_cables=True),
    Fault("kill node", kill_node),
    Fault("restart NATS", restart_nats),
    Fault("kill gateway", kill_gateway),
    Fault("login storm", storm),
]
"""In the order of the seeds, so that so many runs in a row see all of them."""
