"""A gateway as a process of its own."""

import signal
import socket
from collections.abc import Callable

from ..reactor.loop import GONE, IN, Reactor
from ..scoreboard import Row
from ..settings import Settings
from .connections import ticks
from .far import FarRouter
from .gateway import Gateway
from .near import NearRouter


def run(
    settings: Settings,
    *,
    number: int,
    listener: socket.socket,
    capacity: int,
    full: Callable[[], bool],
    row: Row,
    lifeline: int,
    router_path: str,
) -> None:
    """Serve `listener` until SIGTERM or SIGQUIT (at once), or until `lifeline` says that the
    supervisor died.

    `capacity` is how many connections it may hold, `full` says whether no gateway of the node has
    room; `number` is this gateway's, in its handles; `router_path` the router's socket, or
    empty if the router is to be near: in this process.
    """
    reactor = Reactor()
    router: FarRouter | NearRouter
    if router_path:
        patience = ticks(settings.ack_timeout)
        router = FarRouter(reactor, router_path, number, settings.window, patience)
    else:
        router = NearRouter(reactor, settings)
    gateway = Gateway(
        settings,
        reactor,
        router,
        number=number,
        listener=listener,
        capacity=capacity,
        full=full,
        row=row,
    )
    router.holder = gateway
    reactor.on_signal(signal.SIGTERM, gateway.drain)
    reactor.on_signal(signal.SIGQUIT, gateway.drain_at_once)
    reactor.add(lifeline, IN | GONE, lambda _events: reactor.stop())
    router.tick()
    reactor.run()
