"""The near end of the port: the router is a hub in the gateway's own process, on a node with one
gateway.

Most messages are delivered, and their senders told, before `send` returns. What a turn has no room
for, and all that is published, goes through the hub as it does far away; each of its deliveries is
settled as soon as it was queued, or at the turn's end, once written, if it's a page of a large
publication: its pace goes by how long that takes. What is too large to be written in a turn is
settled once it is (`slices`).

Invariant: messages of a sender stay in order: as long as any wait, those that come go behind them.
"""

import time
from array import array
from functools import partial
from itertools import chain

from ..friends.lookups import Lookups
from ..hub.delivery import Delivery, Sent
from ..hub.hub import Hub
from ..hub.limits import NEAR_A_TURN
from ..hub.map import Handles
from ..reactor.loop import Reactor
from ..scoreboard import Field
from ..settings import Settings, friends_store
from ..wire.message import SEND, Messages, Order, Verb
from .port import Holder, Sender, targets, tell

_ONE_EACH = frozenset((int, type(None)))
"""Types of what is found where nobody has several connections."""

HERE = "this gateway"
"""The origin of all that the hub is given."""


class _Sent(Sent, kw_only=True):
    """What a sender sent together, as far as it has to wait."""

    sender: Sender
    size: int
    """Bytes that it counts for, of those under way."""


class NearRouter:
    """A port.Router around a hub of its own."""

    available = True

    def __init__(self, reactor: Reactor, settings: Settings) -> None:
        self._reactor = reactor
        self._hub = Hub(time.monotonic, under_way=NEAR_A_TURN)
        self._map = self._hub.map
        self._find = self._map.find
        self._room = NEAR_A_TURN  # handles that this turn may still write to, where it's asked
        self._heard = False
        self._busy = False  # the hub has something
        self._queued = False  # it has messages that wait
        self._written: list[tuple[Delivery, dict[int, int]]] = []  # this turn, missed; not settled
        self.counts: dict[int, int] = dict.fromkeys(
            (Field.SUBSCRIBERS_READ, Field.LOOKUPS_FAILED), 0
        )
        self._lookups = Lookups(
            reactor,
            friends_store(settings),
            settings.data,
            self._hub,
            self.counts,
            self._let_out,
        )
        self._most = settings.connections_per_user
        self._window = settings.window
        self.under_way = 0  # of what the hub was given
        self.full = False
        self.holder: Holder

    @property
    def users(self) -> int:
        return len(self._map)

    def login(self, handle: int, id: bytes) -> None:
        if self._map.login(id, handle, self._most):
            self.holder.logged_in((handle,))
        else:
            self.holder.refused((handle,))

    def logout(self, handle: int) -> None:
        self._map.logout(handle)

    def send(self, sender: Sender, messages: Messages, order: Order = SEND) -> None:
        if order.verb is Verb.SEND and not self._queued:
            self._heard = True
            found = list(map(self._find, messages.to))
            count = len(found)
            few = count <= self._room and _ONE_EACH.issuperset(map(type, found))
            if few or self._has_room(found):
                delivered, missed, late = self.holder.deliver(messages, found)
                if late is None:
                    sender.settled(count, delivered)
                else:
                    size = messages.size
                    self.under_way += size
                    self.full |= self.under_way >= self._window
                    late.wait(delivered, missed, partial(self._sent_late, sender, count, size))
                return
        self._give(sender, messages, order)

    def flush(self) -> None:
        self._room = NEAR_A_TURN
        hub = self._hub
        if self._heard:
            self._heard = False
            hub.pace.heard = time.monotonic()
        if not self._busy:
            return
        written, self._written = self._written, []
        for delivery, missed in written:
            hub.settle(delivery, chain.from_iterable(missed.items()))
        self._let_out()
        if hub.busy_publishing:
            self._lookups.pump()
        if self._written or self._queued:
            self._reactor.again(0)
        elif rest := hub.rest:
            self._reactor.again(rest)
        self._busy = bool(self._written or self._queued or hub.busy_publishing)
        if self.full and not self._queued and self.under_way < self._window:
            self.full = False
            self.holder.resume()

    def tick(self) -> None:
        pass

    def _has_room(self, found: list[Handles | None]) -> bool:
        """Whether the turn has room for all of them; if so, it's used up."""
        handles = sum(1 if it is None or isinstance(it, int) else len(it) for it in found)
        if handles > self._room:
            return False
        self._room -= handles
        return True

    def _sent_late(
        self, sender: Sender, count: int, size: int, delivered: int, _missed: dict[int, int]
    ) -> None:
        """What was delivered at once, but for large messages, is written now."""
        self.under_way -= size
        self._busy = True  # there may be room
        sender.settled(count, delivered)

    def _written_late(self, delivery: Delivery, _delivered: int, missed: dict[int, int]) -> None:
        """The same of what the hub has let out."""
        self._hub.settle(delivery, chain.from_iterable(missed.items()))
        self._busy = True
        self._let_out()

    def _give(self, sender: Sender, messages: Messages, order: Order) -> None:
        """Leave it to the hub."""
        count, size = len(messages), messages.size
        counts = array("I", bytes(4 * count))
        sent = _Sent(HERE, counts, sender=sender, size=size)
        self.under_way += size
        self._busy = True
        if order.verb is Verb.PUBLISH:
            self._hub.publish(sent, messages, [sender.lane] * count)
        else:
            self._hub.send(sent, messages)
        self._let_out()
        self.full |= self._queued or self.under_way >= self._window
        self._reactor.again(0)

    def _let_out(self) -> None:
        """Deliver what the hub says, as far as the turn has room, and tell whose is done with."""
        hub = self._hub
        deliveries = hub.deliveries
        while deliveries and self._room > 0:
            delivery = deliveries.popleft()
            self._room -= delivery.size
            to = targets(delivery.counts, delivery.handles)
            delivered, missed, late = self.holder.deliver(delivery.messages, to)
            if late is not None:
                late.wait(delivered, missed, partial(self._written_late, delivery))
            elif delivery.large:
                self._written.append((delivery, missed))
            else:
                hub.settle(delivery, chain.from_iterable(missed.items()))
        self._queued = bool(deliveries) or hub.waits
        concluded, hub.concluded = hub.concluded, []
        for sent in concluded:
            assert isinstance(sent, _Sent)
            self.under_way -= sent.size
            if sent.statuses:
                tell(sent.sender, sent.counts, sent.statuses, 0)
            else:
                sent.sender.settled(len(sent.counts), sum(sent.counts))
