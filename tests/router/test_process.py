"""The router's process, as far as it isn't the ledger: who asks, and is no gateway."""

import os
import socket

from reactor.turning import run_until

from encke.node import sockets
from encke.reactor.channel import Channel
from encke.reactor.loop import Reactor
from encke.router.process import RouterProcess
from encke.scoreboard import ROUTER, Scoreboard
from encke.settings import Settings
from encke.wire.link import AskNodes, Frame, SeenNodes


def test_who_asks_for_nodes_is_no_gateway() -> None:
    """The answer comes, also outside a cluster; the link isn't a gateway's, nor is its end."""
    reactor = Reactor()
    board = Scoreboard()
    path = f"\0encke-test-{os.urandom(8).hex()}"
    with sockets.router(path) as listener:
        router = RouterProcess(Settings(), reactor, listener, board, board.row(ROUTER), [])
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        asking.connect(path)
        frames: list[Frame] = []
        channel = Channel(reactor, asking, frames.extend, lambda: None)
        channel.send(AskNodes())
        channel.flush()
        run_until(reactor, lambda: bool(frames))
        (answer,) = frames
        assert isinstance(answer, SeenNodes)
        assert answer.heartbeats == []
        assert router._links == {}
        assert router._ledger.ready
        channel.close()
        run_until(reactor, lambda: True)
        router.close()
