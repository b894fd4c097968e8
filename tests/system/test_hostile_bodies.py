"""Senders who stop before the end of their bodies, on very many connections."""

import select
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from .node import Address, Node, memory, until
from .ordinary import Ordinary
from .raw import Raw, ask, post

MIB = 1024 * 1024
TOTAL = 8 * MIB
CROWD = 150
LONG = b"x" * MIB
TIMES = 30
"""How many times as long as before others may wait for an answer."""


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A server that keeps 8 MiB of unfinished bodies in each gateway."""
    with Node("--gateways", str(request.param), "--bodies-total", str(TOTAL)) as node:
        yield node


class Crowd:
    """Senders, each of all but the last byte of a message of 1 MiB."""

    def __init__(self, address: Address) -> None:
        self._poller = select.epoll()
        self._senders: dict[int, tuple[Raw, bytes]] = {}
        for _ in range(CROWD):
            sender = Raw(address)
            sender.socket.setblocking(False)
            data = post("/send/nobody", LONG)[:-1]
            self._senders[sender.socket.fileno()] = sender, data
            self._poller.register(sender.socket, select.EPOLLOUT | select.EPOLLIN)
        self.refused = 0
        """How many were told to try again later."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._poller.close()
        for sender, _left in self._senders.values():
            sender.close()

    def _work(self) -> None:
        while not self._over.is_set():
            for fd, events in self._poller.poll(0.1):
                sender, left = self._senders[fd]
                if events & ~select.EPOLLOUT:
                    self.refused += b"HTTP/1.1 503 " in sender.socket.recv(4096)
                    left = b""
                elif left:
                    left = left[sender.socket.send(left) :]
                self._senders[fd] = sender, left
                if not left:
                    self._poller.modify(fd, 0 if events & ~select.EPOLLOUT else select.EPOLLIN)


def test_a_crowd_that_stops_before_the_end(node: Node) -> None:
    """What is kept of all of them is bounded; others don't wait, neither with short messages nor
    with long ones."""
    gateways = [it.pid for it in node.gateways()]
    with Ordinary([Raw(node.address) for _ in range(10)]) as ordinary:
        before, grown = ordinary.wait(answers=200), sum(map(memory, gateways))
        with Crowd(node.address) as crowd:
            during = ordinary.wait(answers=100)
            stay = len(gateways) * TOTAL // MIB
            until(lambda: CROWD - crowd.refused <= stay, "most are told to try again later")
            assert node.state().body_bytes <= TOTAL * len(gateways)
            assert sum(map(memory, gateways)) - grown < 2.5 * TOTAL * len(gateways)
            assert ask(node.address, post("/send/nobody", LONG)).json() == {"delivered": 0}
        assert during < TIMES * before
    node.until(lambda state: state.body_bytes == 0, "nothing of them is kept")


def test_a_crowd_doesnt_stay() -> None:
    """Who sends a byte now and then is told that it's too slow, in time."""
    with Node("--gateways", "1", "--body-timeout", "2", "--body-rate", "1000") as node:
        over = threading.Event()
        senders = [Raw(node.address) for _ in range(20)]
        for sender in senders:
            sender.send(post("/send/nobody", LONG)[: MIB // 2])

        def dribble() -> None:
            while not over.wait(0.2):
                for sender in senders:
                    sender.socket.send(b"x")

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            for sender in senders:
                assert sender.head().status == 408
        finally:
            over.set()
            thread.join()
        for sender in senders:
            sender.close()
        node.until(lambda state: state.body_bytes == 0, "nothing of them is kept")
