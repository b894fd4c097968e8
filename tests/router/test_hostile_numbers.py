"""Two links that say they're the same gateway."""

import os
import socket
from array import array

import pytest
from reactor.turning import run_until

from encke.ids import GATEWAY_SHIFT
from encke.node import sockets
from encke.reactor.channel import Channel
from encke.reactor.loop import Reactor
from encke.router.process import RouterProcess
from encke.scoreboard import ROUTER, Scoreboard
from encke.settings import Settings
from encke.wire.link import Deliver, Frame, Hello, LoggedIn, Login, Ready, Send, Synced
from encke.wire.message import SEND, Messages

HANDLE = 7 << GATEWAY_SHIFT | 3


class Gateway:
    """A link to the router at `path`, of gateway 7."""

    def __init__(self, reactor: Reactor, path: str) -> None:
        self.frames: list[Frame] = []
        self.open = True
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(path)
        self.channel = Channel(reactor, connection, self.frames.extend, self._closed)
        self.say(Hello(7), Synced())

    def say(self, *frames: Frame) -> None:
        for frame in frames:
            self.channel.send(frame)
        self.channel.flush()

    def got(self, kind: type) -> bool:
        return any(isinstance(frame, kind) for frame in self.frames)

    def _closed(self) -> None:
        self.open = False


def test_a_number_in_use_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """The second link is closed, and its users aren't; the first one's stay, and get messages.
    Once that is gone, the number is free."""
    reactor, board = Reactor(), Scoreboard()
    path = f"\0encke-test-{os.urandom(8).hex()}"
    with sockets.router(path) as listener:
        router = RouterProcess(Settings(), reactor, listener, board, board.row(ROUTER), [])
        first = Gateway(reactor, path)
        first.say(Login(array("Q", [HANDLE]), [b"x"]))
        run_until(reactor, lambda: first.got(LoggedIn))
        for _ in range(3):
            second = Gateway(reactor, path)
            second.say(Login(array("Q", [HANDLE + 1]), [b"y"]))
            run_until(reactor, lambda: not second.open)  # noqa: B023
            assert second.frames == []
        assert capfd.readouterr().err.count("event=number-in-use gateway=7") == 1
        first.say(Send(1, Messages([b"x"], [b"hello"]), SEND))
        run_until(reactor, lambda: first.got(Deliver))
        assert first.open
        assert router.interest() == [b"x"]
        first.channel.close()
        run_until(reactor, lambda: router.interest() == [])
        third = Gateway(reactor, path)
        run_until(reactor, lambda: third.got(Ready))
        third.channel.close()
        run_until(reactor, lambda: True)
        router.close()
