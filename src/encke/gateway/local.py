"""The router in the gateway's own process: for a node with one gateway.

May import: port, router.map.
"""

from ..router.map import RouterMap
from .port import Client, Sender


class LocalRouter:
    """A port.Router around a map of its own: every answer comes at once."""

    available = True
    full = False

    def __init__(self) -> None:
        self._map = RouterMap()
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
        delivered, _ = self.client.deliver(messages, list(map(self._map.find, ids)))
        sender.settled(len(ids), delivered)

    def flush(self) -> None:
        pass

    def tick(self) -> None:
        pass
