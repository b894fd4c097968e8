"""A hub and its ledger, as tests talk to them: a frame in, all frames out."""

from array import array
from collections.abc import Callable, Collection, Sequence
from functools import partial

from encke.hub.hub import Hub
from encke.router.ledger import Ledger
from encke.router.others import OtherNodes, Others
from encke.wire.link import Frame, Hello, Send
from encke.wire.message import Messages, Order, Status, Verb

Outgoing = list[tuple[int, Frame]]
"""Frames that were sent, each with the gateway that it's for."""


def send(
    batch: int,
    ids: list[bytes],
    messages: list[bytes],
    verb: Verb = Verb.SEND,
    *,
    wait: bool = False,
    lanes: Sequence[int] = (),
) -> Send:
    """A SEND of messages[k] for ids[k]."""
    return Send(batch, Messages(ids, messages), Order(verb, wait), array("I", lanes))


class Books:
    """What a router knows: whatever it is told, it returns what that leads to."""

    def __init__(
        self,
        expected: Collection[int] = (),
        peers: OtherNodes | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        most: int = 0,
    ) -> None:
        self.hub = Hub(clock)
        self.map = self.hub.map
        self._others = None if peers is None else Others(self.hub, peers)
        if peers is not None:
            self.map.changes = {}
        self.ledger = Ledger(self.hub, expected, self._others, ack_timeout=5.0, most=most)
        self._outgoing: Outgoing = []

    def _out(self) -> Outgoing:
        assert not self.hub.deliveries
        assert not self.hub.concluded
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def _send(self, gateway: int, frame: Frame) -> None:
        self._outgoing.append((gateway, frame))

    @property
    def under_way(self) -> int:
        """What is kept of messages: nothing of it shows outside."""
        return sum(map(len, self.ledger._deliveries.values()))

    @property
    def linked_gateways(self) -> Collection[int]:
        return self.ledger._deliveries.keys() | self.ledger._links.keys()

    def linked(self, frame: Hello) -> None:
        self.ledger.linked(frame.gateway, partial(self._send, frame.gateway))

    def gone(self, gateway: int) -> Outgoing:
        self.ledger.gone(gateway)
        return self._out()

    def received(self, gateway: int, frame: Frame) -> Outgoing:
        self.ledger.received(gateway, [frame])
        return self._out()

    def tick(self) -> Outgoing:
        self.ledger.tick()
        return self._out()

    # the friends' store's

    def found(self, pages: Sequence[tuple[Sequence[bytes], bool]]) -> Outgoing:
        self.hub.found(pages)
        self.ledger.let_out()
        return self._out()

    def unknown(self, status: Status) -> Outgoing:
        self.hub.unknown(status)
        self.ledger.let_out()
        return self._out()

    @property
    def others(self) -> Others:
        assert self._others is not None
        return self._others

    def reachable(self, gateway: int, handles: "array[int]") -> Outgoing:
        self.ledger.reachable(gateway, handles)
        return self._out()

    def remote(
        self, verb: Verb, ids: list[bytes], messages: list[bytes], ticket: int = 0
    ) -> Outgoing:
        self.ledger.remote(Order(verb), Messages(ids, messages), ticket)
        return self._out()

    def answered(self, ticket: int, count: int | None) -> Outgoing:
        self.ledger.answered(ticket, count)
        return self._out()

    def release(self) -> Outgoing:
        self.ledger.forward_held()
        return self._out()
