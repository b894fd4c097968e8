"""The router in the gateway's own process: for a node with one gateway.

May import: port, reactor, router.map.
"""

from collections import deque
from collections.abc import Sequence

from ..reactor.loop import Reactor
from ..router.map import RouterMap
from .port import Client, Sender, Target

DELIVERIES_A_TURN = 16_384
"""Connections written to for messages, a turn: some 100 ms of writes. What more there is
waits for the next turns, and no sender is read from meanwhile."""


class LocalRouter:
    """A port.Router around a map of its own: most answers come at once."""

    available = True

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._map = RouterMap()
        self._budget = DELIVERIES_A_TURN
        self._waiting: deque[tuple[Sender, list[bytes], list[bytes]]] = deque()
        self.full = False
        self.client: Client

    @property
    def users(self) -> int:
        return len(self._map)

    def login(self, handle: int, id: bytes) -> None:
        self._map.login(id, handle)
        self.client.logged_in((handle,))

    def logout(self, handle: int) -> None:
        self._map.logout(handle)

    def send(self, sender: Sender, ids: list[bytes], messages: list[bytes]) -> None:
        if self.full:
            self._waiting.append((sender, ids, messages))
        else:
            self._deliver(sender, ids, messages)

    def flush(self) -> None:
        self._budget = DELIVERIES_A_TURN
        if not self.full:
            return
        self._reactor.again(0)
        waiting, self._waiting = self._waiting, deque()
        self.full = False
        while waiting and not self.full:
            self._deliver(*waiting.popleft())
        self._waiting += waiting
        if not self.full:
            self.client.resume()

    def tick(self) -> None:
        pass

    def _deliver(self, sender: Sender, ids: list[bytes], messages: list[bytes]) -> None:
        """Deliver as much as the turn has room for; the rest waits."""
        targets = list(map(self._map.find, ids))
        end = len(targets)
        if end > self._budget or tuple in map(type, targets):
            end = self._room(targets)
            if end < len(targets):
                self.full = True
                self._waiting.append((sender, ids[end:], messages[end:]))
                messages, targets = messages[:end], targets[:end]
        delivered, _ = self.client.deliver(messages, targets)
        sender.settled(end, delivered)

    def _room(self, targets: Sequence[Target]) -> int:
        """How many of `targets` the turn has room for: at least one; uses the room up."""
        for index, target in enumerate(targets):
            if self._budget <= 0 and index:
                return index
            self._budget -= len(target) if isinstance(target, tuple) else 1
        return len(targets)
