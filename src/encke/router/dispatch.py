"""The router's mind: frames from gateways in, frames for gateways out.

Between the map (who is where) and the sockets (`process`). It knows which gateways
are linked, whether the map is complete yet, and which batches are under way.

A SEND of gateway A becomes one DELIVER for each gateway concerned; when all of them
have acknowledged theirs (or died), A gets the RESULT::

    A --SEND 7--> router --DELIVER 1--> B --ACK 1--.
                       `--DELIVER 2--> C --ACK 2--+--> RESULT 7 --> A

Invariants:
- A RESULT counts only what a living gateway acknowledged: a dead gateway's share
  is taken off.
- A new router is not ready before every gateway that lived when it started has
  logged its users in again (or died): before that, a count of 0 would be a lie.
- What is under way is bounded: Sends by the gateways' windows, and what they expand to
  by MAX_UNDER_WAY. A message for very many connections is expanded in slices, by
  turns with the messages of other gateways.
- The Sends of one gateway are expanded in their order.

Pure. May import: wire.link, router.map.
"""

from array import array
from collections import deque
from collections.abc import Collection

import msgspec

from ..wire.link import (
    Ack,
    Deliver,
    Frame,
    Hello,
    LoggedIn,
    Login,
    Logout,
    Ready,
    Result,
    Send,
    Synced,
)
from .map import RouterMap

SLICE = 8_192
"""Handles after which a Deliver is cut: some 50 ms of writes for a gateway."""

MAX_UNDER_WAY = 16 * SLICE
"""Handles in Delivers under way, from which on nothing more is expanded: 1 MiB of them."""


class _Sent(msgspec.Struct):
    """A Send under way: what its Result will say, and how many Delivers are open."""

    gateway: int
    batch: int
    counts: "array[int]"
    open: int = 0
    next: int = 0
    """The message with which its expansion goes on."""
    expanded: bool = False


class _Delivery(msgspec.Struct):
    """A Deliver under way: message k of it is message `indexes[k]` of `sent`."""

    sent: _Sent
    indexes: "array[int]"
    counts: "array[int]"


Outgoing = list[tuple[int, Frame]]
"""Frames to send, each with the gateway that it's for."""


class Dispatcher:
    """Frames in, frames out; see the module's head."""

    def __init__(self, expected: Collection[int] = ()) -> None:
        """`expected`: the gateways that must log in again before the map is complete."""
        self.map = RouterMap()
        self.messages = 0
        self._missing = set(expected)
        self._linked: set[int] = set()
        self._waiting: set[int] = set()  # synced, but not told Ready yet
        self._deliveries: dict[int, dict[int, _Delivery]] = {}  # gateway -> batch -> delivery
        self._next_batch = 0
        self._sends: dict[int, deque[tuple[_Sent, Send]]] = {}  # gateway -> not yet expanded
        self._under_way = 0  # handles in Delivers that aren't acknowledged

    @property
    def ready(self) -> bool:
        """Whether the map is complete."""
        return not self._missing

    @property
    def missing(self) -> Collection[int]:
        """The gateways whose logins are still awaited."""
        return self._missing

    def linked(self, frame: Hello) -> None:
        """A gateway said Hello."""
        self._linked.add(frame.gateway)
        self._deliveries[frame.gateway] = {}

    def gone(self, gateway: int) -> Outgoing:
        """The link of `gateway` broke, or the gateway died before it was linked."""
        self._linked.discard(gateway)
        self._missing.discard(gateway)
        self._waiting.discard(gateway)
        self._sends.pop(gateway, None)  # nobody waits for their Results any more
        self.map.logout_gateway(gateway)
        outgoing: Outgoing = []
        for delivery in self._deliveries.pop(gateway, {}).values():
            for index, count in zip(delivery.indexes, delivery.counts, strict=True):
                delivery.sent.counts[index] -= count
            self._settle(delivery, outgoing)
        return outgoing + self._expand() + self._make_ready()

    def received(self, gateway: int, frame: Frame) -> Outgoing:
        """What `frame`, which came from `gateway`, leads to."""
        match frame:
            case Send():
                return self._send(gateway, frame)
            case Ack():
                return self._acknowledge(gateway, frame)
            case Login(handles, ids):
                self.map.login_many(ids, handles)
                return [(gateway, LoggedIn(handles))]
            case Logout(handles):
                for handle in handles:
                    self.map.logout(handle)
                return []
            case Synced():
                self._missing.discard(gateway)
                self._waiting.add(gateway)
                return self._make_ready()
            case _:
                return []  # a frame that only a router sends

    def _make_ready(self) -> Outgoing:
        if self._missing:
            return []
        waiting, self._waiting = self._waiting, set()
        return [(gateway, Ready()) for gateway in sorted(waiting)]

    def _send(self, gateway: int, frame: Send) -> Outgoing:
        self.messages += len(frame.messages)
        sent = _Sent(gateway, frame.batch, array("I", bytes(4 * len(frame.messages))))
        self._sends.setdefault(gateway, deque()).append((sent, frame))
        return self._expand()

    def _expand(self) -> Outgoing:
        """Expand Sends, by turns of their gateways, while not too much is under way."""
        outgoing: Outgoing = []
        while self._sends and self._under_way < MAX_UNDER_WAY:
            gateway, waiting = next(iter(self._sends.items()))
            sent, frame = waiting[0]
            batches, sent.next = self.map.send_some(frame.ids, frame.messages, sent.next, SLICE)
            for target, batch in batches.items():
                number = self._next_batch = (self._next_batch + 1) & 0xFFFFFFFF
                self._deliveries[target][number] = _Delivery(sent, batch.indexes, batch.counts)
                for index, count in zip(batch.indexes, batch.counts, strict=True):
                    sent.counts[index] += count
                sent.open += 1
                self._under_way += len(batch.handles)
                frame_out = Deliver(number, batch.counts, batch.handles, batch.messages)
                outgoing.append((target, frame_out))
            del self._sends[gateway]  # to the end of the line, if there's more
            if sent.next == len(frame.messages):
                waiting.popleft()
                sent.expanded = True
                self._conclude(sent, outgoing)
            if waiting:
                self._sends[gateway] = waiting
        return outgoing

    def _acknowledge(self, gateway: int, frame: Ack) -> Outgoing:
        delivery = self._deliveries[gateway].pop(frame.batch, None)
        if delivery is None:
            return []
        missed = iter(frame.missed)
        for index, count in zip(missed, missed, strict=True):
            delivery.sent.counts[delivery.indexes[index]] -= count
        outgoing: Outgoing = []
        self._settle(delivery, outgoing)
        return outgoing + self._expand()

    def _settle(self, delivery: _Delivery, outgoing: Outgoing) -> None:
        """A Deliver is done with, one way or the other."""
        self._under_way -= sum(delivery.counts)
        delivery.sent.open -= 1
        self._conclude(delivery.sent, outgoing)

    def _conclude(self, sent: _Sent, outgoing: Outgoing) -> None:
        if sent.expanded and not sent.open and sent.gateway in self._linked:
            outgoing.append((sent.gateway, Result(sent.batch, sent.counts)))
