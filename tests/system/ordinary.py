"""Ordinary senders: each sends a short message, waits for the answer, and sends the next."""

import select
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from typing import Self

from .node import PATIENCE, Node
from .raw import Raw, post


class Ordinary:
    """Senders of messages to nobody, a connection each; `headers` are of each request."""

    def __init__(self, connections: list[Raw], *headers: str) -> None:
        self._senders = connections
        self._headers = headers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self._senders:
            sender.leave()

    def send(self, enough: Callable[[list[float]], bool], seconds: float = PATIENCE) -> list[float]:
        """Send until what they have waited for their answers, in seconds, is enough; each of them
        has an answer then. Fails if that takes too long."""
        waits: list[float] = []
        poller, since = select.epoll(), dict.fromkeys(range(len(self._senders)), 0.0)
        with poller:
            for index, sender in enumerate(self._senders):
                poller.register(sender.socket, select.EPOLLIN)
                self._ask(index, since)
            indexes = {it.socket.fileno(): index for index, it in enumerate(self._senders)}
            give_up = time.monotonic() + seconds
            while since:
                assert time.monotonic() < give_up, f"{len(waits)} answers in {seconds} s"
                for fd, _ in poller.poll(0.1):
                    index = indexes[fd]
                    answer = self._senders[index].answer()
                    assert answer.json() == {"delivered": 0}, answer
                    waits.append(time.monotonic() - since.pop(index))
                    if not enough(waits):
                        self._ask(index, since)
        return waits

    def wait(self, answers: int) -> float:
        """What they wait for an answer, in seconds: the median of so many answers."""
        return median(self.send(lambda waits: len(waits) >= answers))

    def _ask(self, index: int, since: dict[int, float]) -> None:
        since[index] = time.monotonic()
        self._senders[index].send(post(f"/send/nobody{index}", b"x" * 50, *self._headers))


def connect(node: Node, count: int) -> list[Raw]:
    """So many connections, all of one gateway: it has answered each of them."""
    alone = len(node.gateways()) == 1
    with nullcontext() if alone else node.only_gateway(0):
        connections = [Raw(node.address) for _ in range(count)]
        for connection in connections:
            connection.send(post("/send/nobody", b""))
            assert connection.answer().status == 200
    return connections
