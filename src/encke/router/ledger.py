"""The ledger: which batch waits for which acknowledgement. Frames in, frames out.

Between the hub (who gets it) and the sockets (`process`), where gateways are processes of their
own. It knows which gateways are linked, whether the map is complete yet, and which batches are
under way.

A SEND of gateway A becomes one DELIVER for each gateway concerned; when all of them
have acknowledged theirs (or died), A gets the RESULT::

    A --SEND 7--> router --DELIVER 1--> B --ACK 1--.
                       `--DELIVER 2--> C --ACK 2--+--> RESULT 7 --> A

In a cluster every message is handed on to the other nodes too, and theirs come in: `others`.

Invariants:
- A RESULT counts only what a living gateway acknowledged: a dead gateway's share
  is taken off.
- A new router is not ready before every gateway that lived when it started has
  logged its users in again (or died): before that, a count of 0 would be a lie.
- Every Result comes in the end, whatever a gateway does: what it hasn't acknowledged in time is
  answered as such, and a gateway that acknowledges nothing holds up no other.
- In a cluster a connection is told that it's logged in once the other nodes reach it.
- Whatever calls the hub lets its events out (`let_out`), before anything else comes in.

Pure.
"""

from array import array
from collections.abc import Callable, Collection, Sequence
from math import ceil

from ..hub.delivery import Delivery, Sent
from ..hub.hub import Hub
from ..hub.limits import BEHIND
from ..wire.link import (
    Ack,
    Alive,
    Deliver,
    Frame,
    LoggedIn,
    Login,
    LoginRefused,
    Logout,
    Ready,
    Result,
    Send,
    Synced,
)
from ..wire.message import NOTHING, Messages, Order, Verb
from .others import Others

TICK = 0.1
"""Seconds between ticks. Time is counted in them, not read from a clock: while this process is
stopped, or busy, nobody else is late."""

ALIVE = 1.0
"""Seconds between two words that this router lives."""

_NO_HANDLES = array("Q")


class Batch(Sent, kw_only=True):
    """A SEND under way: what its RESULT will say, and to whom."""

    origin: int
    """The gateway that sent it."""
    number: int


class Ledger:
    """See the module's head."""

    def __init__(
        self,
        hub: Hub,
        expected: Collection[int] = (),
        others: Others | None = None,
        *,
        ack_timeout: float,
        most: int = 0,
    ) -> None:
        """`expected`: the gateways that must log in again before the map is complete. What isn't
        acknowledged within `ack_timeout` seconds is given up. An id may have `most` connections;
        0: any number."""
        self._hub = hub
        self._others = others
        self._missing = set(expected)
        self._links: dict[int, Callable[[Frame], None]] = {}  # gateway -> sends it a frame
        self._synced: set[int] = set()  # have logged in all who were there before the link
        self._waiting: set[int] = set()  # and haven't been told Ready yet
        self._deliveries: dict[int, dict[int, Delivery]] = {}  # gateway -> batch -> delivery
        self._next_batch = 0
        self._most = most
        self._now = 0  # in ticks
        self._patience = ceil(ack_timeout / TICK)
        self._heard: set[int] = set()  # have acknowledged something since the last tick

    @property
    def ready(self) -> bool:
        """Whether the map is complete."""
        return not self._missing

    @property
    def missing(self) -> Collection[int]:
        """The gateways whose logins are still awaited."""
        return self._missing

    def linked(self, gateway: int, send: Callable[[Frame], None]) -> None:
        """A gateway said Hello; `send` takes what is for it."""
        self._links[gateway] = send
        self._deliveries[gateway] = {}

    def gone(self, gateway: int) -> None:
        """The link of `gateway` broke, or the gateway died before it was linked."""
        self._links.pop(gateway, None)
        self._missing.discard(gateway)
        self._waiting.discard(gateway)
        self._heard.discard(gateway)
        self._synced.discard(gateway)
        if self._others is not None:
            self._others.gone(gateway)
        self._hub.gone(gateway)
        for delivery in self._deliveries.pop(gateway, {}).values():
            self._hub.lost(delivery)
        self.let_out()
        self._make_ready()

    def received(self, gateway: int, frames: Sequence[Frame]) -> None:
        """What came from `gateway`."""
        hub = self._hub
        for frame in frames:
            if isinstance(frame, Send):
                messages = frame.messages
                counts = array("I", bytes(4 * len(messages.data)))
                sent = Batch(counts, origin=gateway, number=frame.batch)
                if self._others is not None:
                    self._others.send(sent, frame)
                elif frame.order.verb is Verb.SEND:
                    hub.send(sent, messages)
                else:
                    hub.publish(sent, messages, [(gateway, lane) for lane in frame.lanes])
            elif isinstance(frame, Ack):
                self._heard.add(gateway)
                delivery = self._deliveries[gateway].pop(frame.batch, None)
                if delivery is not None:
                    hub.settle(delivery, frame.missed)
            else:
                self._control(gateway, frame)
        if hub.deliveries or hub.concluded:
            self.let_out()

    def let_out(self) -> None:
        """Send what came of what the hub was told: DELIVERs and RESULTs."""
        hub, links = self._hub, self._links
        for delivery in hub.deliveries:
            number = self._next_batch = (self._next_batch + 1) & 0xFFFFFFFF
            delivery.at = self._now
            self._deliveries[delivery.gateway][number] = delivery
            links[delivery.gateway](
                Deliver(number, delivery.messages, delivery.counts, delivery.handles)
            )
            # the frame has them: what waits for its ACK needn't keep them too
            delivery.messages, delivery.handles = NOTHING, _NO_HANDLES
        hub.deliveries.clear()
        for sent in hub.concluded:
            if isinstance(sent, Batch):
                link = links.get(sent.origin)
                if link is not None:
                    link(Result(sent.number, sent.counts, bytes(sent.statuses)))
            elif self._others is not None:
                self._others.conclude(sent)
        hub.concluded.clear()

    def tick(self) -> None:
        """Call it every TICK."""
        self._now += 1
        for gateway, in_hand in self._deliveries.items():
            self._look_at(gateway, in_hand)
        self._heard.clear()
        if not self._now % round(ALIVE / TICK):
            for link in self._links.values():
                link(Alive())
        self.let_out()

    def _look_at(self, gateway: int, in_hand: dict[int, Delivery]) -> None:
        """Whether a gateway is behind with what it has in hand; and what of that is late."""
        hub = self._hub
        oldest = next(iter(in_hand.values()), None)
        age = 0 if oldest is None else self._now - oldest.at
        late = age > self._patience
        if gateway in hub.behind:
            if gateway in self._heard and not late:
                hub.caught_up(gateway, in_hand.values())
        elif late or (age > BEHIND / TICK and gateway not in self._heard):
            hub.fell_behind(gateway, in_hand.values())
        if late:
            for delivery in in_hand.values():
                if self._now - delivery.at <= self._patience:
                    break
                if not delivery.late:
                    hub.late(delivery)

    def _control(self, gateway: int, frame: Frame) -> None:
        """All frames that aren't about messages."""
        match frame:
            case Login(handles, ids):
                handles = self._log_in(gateway, ids, handles)
                if self._others is None:
                    self.reachable(gateway, handles)
                else:
                    self._others.peers.logged_in(gateway, handles)
            case Logout(handles):
                for handle in handles:
                    self._hub.map.logout(handle)
            case Synced():
                self._missing.discard(gateway)
                self._synced.add(gateway)
                self._waiting.add(gateway)
                self._make_ready()
            case _:
                pass  # a frame that only a router sends

    def _log_in(self, gateway: int, ids: list[bytes], handles: "array[int]") -> "array[int]":
        """Returns those that are; who was a stream before the link was made always is."""
        most = self._most if gateway in self._synced else 0
        refused = set(self._hub.map.login_many(ids, handles, most))
        if not refused:
            return handles
        self._links[gateway](LoginRefused(array("Q", refused)))
        return array("Q", [handle for handle in handles if handle not in refused])

    def _make_ready(self) -> None:
        if not self._missing:
            waiting, self._waiting = self._waiting, set()
            for gateway in sorted(waiting):
                self._links[gateway](Ready())

    # the other nodes

    def reachable(self, gateway: int, handles: "array[int]") -> None:
        """These connections get what is sent to them from now on, on whichever node."""
        if gateway in self._links:
            self._links[gateway](LoggedIn(handles))

    def remote(self, order: Order, messages: Messages, ticket: int = 0) -> None:
        """Messages of another node; see Others.received."""
        assert self._others is not None
        self._others.received(order, messages, ticket)
        self.let_out()

    def answered(self, ticket: int, count: int | None) -> None:
        """What other nodes say of a message of ours; see Others.answered."""
        assert self._others is not None
        self._others.answered(ticket, count)
        self.let_out()

    def forward_held(self) -> None:
        """Go on with what had to wait for other nodes."""
        assert self._others is not None
        self._others.forward_held()
        self.let_out()
