"""The router in the gateway's own process: for a node with one gateway.

May import: port, friends, reactor, router.map, router.publications, scoreboard,
settings, wire.link.
"""

from array import array
from collections import deque
from collections.abc import Sequence

import msgspec

from ..friends.lookups import Lookups
from ..reactor.loop import Reactor
from ..router.map import RouterMap
from ..router.publications import Publication, Publications
from ..scoreboard import Field
from ..settings import Settings, friends_store
from ..wire.message import OVERHEAD, SEND, Messages, Order, Status, Verb
from .port import Client, Sender, Target

DELIVERIES_A_TURN = 16_384
"""Connections written to for messages, a turn: some 100 ms of writes. What more there is
waits for the next turns, and no sender is read from meanwhile."""

PAGE = 256
"""Subscribers of each further page of a large publication: 2 ms of writes if all are here."""


class _Published(msgspec.Struct):
    """Publications that a sender sent together, and how many connections got each so far."""

    sender: Sender
    delivered: "array[int]"


class LocalRouter:
    """A port.Router around a map of its own: most answers come at once."""

    available = True

    def __init__(self, reactor: Reactor, settings: Settings) -> None:
        self._reactor = reactor
        self._map = RouterMap()
        self._budget = DELIVERIES_A_TURN
        self._waiting: deque[tuple[Sender, Messages]] = deque()
        self._publications: Publications[_Published] = Publications()
        self.counts: dict[int, int] = dict.fromkeys(
            (Field.SUBSCRIBERS_READ, Field.LOOKUPS_FAILED), 0
        )
        self._lookups = Lookups(reactor, friends_store(settings), settings.data, self, self.counts)
        self._window = settings.window
        self._publishing = 0  # bytes of publications that aren't done with
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

    def send(self, sender: Sender, messages: Messages, order: Order = SEND) -> None:
        if order.verb is Verb.PUBLISH:
            self._publish(sender, messages)
        elif self.full:
            self._waiting.append((sender, messages))
        else:
            self._deliver(sender, messages)

    def flush(self) -> None:
        self._budget = DELIVERIES_A_TURN
        self._lookups.pump()
        if not self.full:
            return
        waiting, self._waiting = self._waiting, deque()
        self.full = False
        while waiting and not self.full:
            self._deliver(*waiting.popleft())
        self._waiting += waiting
        if self._waiting:
            self._reactor.again(0)
        self.full |= self._publishing >= self._window
        if not self.full:
            self.client.resume()

    def tick(self) -> None:
        pass

    def _deliver(self, sender: Sender, messages: Messages) -> None:
        """Deliver as much as the turn has room for; the rest waits."""
        targets = list(map(self._map.find, messages.to))
        end = len(targets)
        if end > self._budget or tuple in map(type, targets):
            end = self._room(targets)
            if end < len(targets):
                self.full = True
                ids, data = messages.to, messages.data
                self._waiting.append((sender, Messages(ids[end:], data[end:])))
                messages, targets = Messages(ids[:end], data[:end]), targets[:end]
        delivered, _ = self.client.deliver(messages, targets)
        sender.settled(end, delivered)

    def _room(self, targets: Sequence[Target]) -> int:
        """How many of `targets` the turn has room for: at least one; uses the room up."""
        for index, target in enumerate(targets):
            if self._budget <= 0 and index:
                return index
            self._budget -= len(target) if isinstance(target, tuple) else 1
        return len(targets)

    # publications

    def _publish(self, sender: Sender, messages: Messages) -> None:
        ids = messages.to
        published, lane = _Published(sender, array("I", bytes(4 * len(ids)))), sender.lane
        self._publications.add(
            Publication(published, index, id, message, lane)
            for index, (id, message) in enumerate(zip(ids, messages.data, strict=True))
        )
        self._publishing += messages.size
        self.full |= self._publishing >= self._window
        self._reactor.again(0)

    @property
    def wants_lookup(self) -> bool:
        """See friends.lookups.Owner; as the three below."""
        return self._publications.wait(large=True)

    def lookup(self) -> list[tuple[bytes, bytes | None, int]]:
        return self._publications.lookup(PAGE)

    def found(self, pages: Sequence[tuple[Sequence[bytes], bool]]) -> None:
        find = self._map.find
        for found in self._publications.found(pages):
            publication = found.publication
            published, index = publication.origin, publication.index
            handles: list[int] = []
            for target in map(find, found.ids):
                if isinstance(target, int):
                    handles.append(target)
                elif target is not None:
                    handles.extend(target)
            delivered, _ = self.client.deliver(
                Messages([], [publication.message], [publication.publisher]), (handles,)
            )
            published.delivered[index] += delivered
            if found.last:
                self._publishing -= _size(publication.message)
                published.sender.settled(1, published.delivered[index])

    def unknown(self, status: Status) -> None:
        for publication in self._publications.failed():
            self._publishing -= _size(publication.message)
            publication.origin.sender.failed(1, status)


def _size(message: bytes) -> int:
    """What a publication takes of the window; an empty one counts too, or nothing would."""
    return len(message) + OVERHEAD
