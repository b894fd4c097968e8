"""The router's mind: frames from gateways in, frames for gateways out.

Between the map (who is where) and the sockets (`process`). It knows which gateways
are linked, whether the map is complete yet, and which batches are under way.

A SEND of gateway A becomes one DELIVER for each gateway concerned; when all of them
have acknowledged theirs (or died), A gets the RESULT::

    A --SEND 7--> router --DELIVER 1--> B --ACK 1--.
                       `--DELIVER 2--> C --ACK 2--+--> RESULT 7 --> A

A publication is first expanded to its subscribers (`publications`): the owner takes `lookup`s,
has the friends' store answer them, and brings the answers (`found`). In a cluster every message
is handed on to the other nodes too (`Peers`), and theirs come in (`remote`).

Invariants:
- A RESULT counts only what a living gateway acknowledged: a dead gateway's share
  is taken off.
- A new router is not ready before every gateway that lived when it started has
  logged its users in again (or died): before that, a count of 0 would be a lie.
- What is under way is bounded: Sends by the gateways' windows, and what they expand to
  by MAX_UNDER_WAY. A message for very many connections is expanded in slices, by
  turns with the messages of other gateways.
- Of publications for very many one page is under way at a time, and one gateway's part of it: see
  `pace`.
- The Sends of one gateway are expanded in their order; of publications see `publications`. Nothing
  overtakes the part of a page that still waits for its gateway's turn, if it's the same sender's.
- In a cluster Sends wait, in their order, while the other nodes are congested; nothing else does.
- In a cluster a connection is told that it's logged in once the other nodes reach it.

Pure. May import: wire.link, router.map, router.pace, router.publications.
"""

import math
from array import array
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import Protocol

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
from ..wire.message import Status, Verb
from .map import Batch, RouterMap
from .pace import Pace
from .publications import Found, Publication, Publications

SLICE = 8_192
"""Handles after which a Deliver is cut: some 50 ms of writes for a gateway."""

MAX_UNDER_WAY = 16 * SLICE
"""Handles in Delivers under way, from which on nothing more is expanded: 1 MiB of them."""

PUBLISHED_UNDER_WAY = 1_024
"""Handles in Delivers of publications under way, from which on no more are looked up: some 8 ms
of writes."""

FEW = 64
"""Handles of a large publication's page below which it goes out at once, as any other does:
nobody's messages wait for so few, and who has some hundred subscribers doesn't hold his sender's
others up."""

PEERS = 0
"""Stands for the other nodes where else is the gateway that a message came from."""


class Peers(Protocol):
    """The other nodes of the cluster."""

    def forward(self, verb: Verb, ids: list[bytes], messages: list[bytes]) -> bytes | None:
        """Hand `messages[k]` for `ids[k]` on to them. None: all were; else a Status each, OK or
        UNFORWARDED."""

    def ask(self, verb: Verb, id: bytes, message: bytes, ticket: int) -> bool:
        """Hand one on, and ask how many of their connections get it: `Dispatcher.answered` is
        called later, with the ticket. False: it couldn't be handed on."""

    @property
    def congested(self) -> bool:
        """Whether nothing should be handed on for a while."""

    def logged_in(self, gateway: int, handles: "array[int]") -> None:
        """These have logged in: `Dispatcher.reachable` is called once the others reach them."""


class _Sent(msgspec.Struct, eq=False):
    """A Send under way: what its Result will say, and what is still open of it."""

    gateway: int
    batch: int
    counts: "array[int]"
    statuses: bytearray = msgspec.field(default_factory=bytearray)
    """By message; empty: all are OK."""
    open: int = 0
    """Delivers, lookups and questions that haven't come back."""
    next: int = 0
    """The message with which its expansion goes on."""
    expanded: bool = False
    size: int = 0
    """Its bytes, if it's of another node."""


class _Delivery(msgspec.Struct):
    """A Deliver under way: message k of it is message `indexes[k]` of `sents[k]`."""

    sents: list[_Sent]
    indexes: Sequence[int]
    counts: "array[int]"
    published: int = 0
    """Handles in it, if it's of publications."""
    large: int = 0
    """Those of publications that have several pages."""

    def each(self) -> Iterator[tuple[_Sent, int, int]]:
        """By message: whose it is, which it is of those, to how many handles it goes."""
        return zip(self.sents, self.indexes, self.counts, strict=True)


class _Prepared(msgspec.Struct):
    """A Deliver for a gateway, and what is to be known of it."""

    gateway: int
    frame: Deliver
    delivery: _Delivery


Outgoing = list[tuple[int, Frame]]
"""Frames to send, each with the gateway that it's for."""


class Dispatcher:
    """Frames in, frames out; see the module's head."""

    def __init__(
        self,
        expected: Collection[int] = (),
        peers: Peers | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`expected`: the gateways that must log in again before the map is complete; `clock`
        says the time, in seconds."""
        self.map = RouterMap()
        if peers is not None:
            self.map.changes = {}
        self.publications: Publications[_Sent] = Publications()
        self.remote_bytes = 0
        """Bytes of messages of other nodes that are under way."""
        self.concluded: list[tuple[int, int | None]] = []
        """(ticket, connections) of messages of other nodes that are done with; None: it can't be
        said whom they go to. Whoever gives tickets must empty it."""
        self._peers = peers
        self._held: deque[tuple[int, Send]] = deque()  # until the other nodes aren't congested
        self._missing = set(expected)
        self._linked: set[int] = set()
        self._waiting: set[int] = set()  # synced, but not told Ready yet
        self._deliveries: dict[int, dict[int, _Delivery]] = {}  # gateway -> batch -> delivery
        self._next_batch = 0
        self._sends: dict[int, deque[tuple[_Sent, Send]]] = {}  # gateway -> not yet expanded
        self._under_way = 0  # handles in Delivers that aren't acknowledged
        self._published = 0  # those of publications
        self._large = 0  # those of publications that have several pages
        self._turns: deque[_Prepared] = deque()  # what is next of these
        self._lanes: set[Hashable] = set()  # whose they are
        self._pace = Pace(clock)
        self._asked: dict[int, tuple[_Sent, int]] = {}  # ticket -> message of a Send
        self._next_ticket = 0

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
        if any(it == gateway for it, _ in self._held):
            self._held = deque(it for it in self._held if it[0] != gateway)
        self.publications.drop(lambda sent: sent.gateway == gateway)
        self.map.logout_gateway(gateway)
        outgoing: Outgoing = []
        turns, self._turns = self._turns, deque(it for it in self._turns if it.gateway != gateway)
        for it in turns:
            if it.gateway == gateway:
                self._close_all(it.delivery, outgoing)
        for delivery in self._deliveries.pop(gateway, {}).values():
            for sent, index, count in delivery.each():
                sent.counts[index] -= count
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
                if self._peers is None:
                    return self.reachable(gateway, handles)
                self._peers.logged_in(gateway, handles)
                return []
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

    # the other nodes

    def reachable(self, gateway: int, handles: "array[int]") -> Outgoing:
        """These connections get what is sent to them from now on, on whichever node."""
        return [(gateway, LoggedIn(handles))] if gateway in self._linked else []

    def remote(
        self, verb: Verb, ids: list[bytes], messages: list[bytes], ticket: int = 0
    ) -> Outgoing:
        """Messages of another node. With a ticket, `concluded` will say how many got them."""
        sent = _Sent(PEERS, ticket, array("I", bytes(4 * len(messages))))
        sent.size = sum(map(len, messages)) + 64 * len(messages)
        self.remote_bytes += sent.size
        return self._take(sent, Send(ticket, ids, messages, verb))

    def answered(self, ticket: int, count: int | None) -> Outgoing:
        """How many connections of other nodes got a message; None: not all have said it."""
        sent, index = self._asked.pop(ticket)
        if count is None:
            sent.statuses[index] = Status.UNANSWERED
        else:
            sent.counts[index] += count
        outgoing: Outgoing = []
        self._close(sent, outgoing)
        return outgoing

    @property
    def waits(self) -> bool:
        """Whether Sends wait for the other nodes not to be congested; then `release` is due."""
        return bool(self._held)

    def release(self) -> Outgoing:
        """Go on with the Sends that had to wait, if they needn't any longer."""
        outgoing: Outgoing = []
        while self._held and not self._congested:
            outgoing += self._begin(*self._held.popleft())
        return outgoing

    @property
    def _congested(self) -> bool:
        return self._peers is not None and self._peers.congested

    def _send(self, gateway: int, frame: Send) -> Outgoing:
        if self._held or self._congested:
            self._held.append((gateway, frame))
            return []
        return self._begin(gateway, frame)

    def _begin(self, gateway: int, frame: Send) -> Outgoing:
        sent = _Sent(gateway, frame.batch, array("I", bytes(4 * len(frame.messages))))
        if self._peers is not None:
            frame = self._hand_on(self._peers, sent, frame)
        return self._take(sent, frame)

    def _hand_on(self, peers: Peers, sent: _Sent, frame: Send) -> Send:
        """Give the messages to the other nodes; returns what is left to do here."""
        if not frame.wait:
            sent.statuses += peers.forward(frame.verb, frame.ids, frame.messages) or b""
            return frame
        sent.statuses = bytearray(len(frame.messages))
        ids = frame.ids.copy()
        for index, (id, message) in enumerate(zip(frame.ids, frame.messages, strict=True)):
            ticket = self._next_ticket = self._next_ticket + 1
            self._asked[ticket] = sent, index
            sent.open += 1
            if not peers.ask(frame.verb, id, message, ticket):
                del self._asked[ticket]
                sent.open -= 1
                sent.statuses[index] = Status.UNFORWARDED
                ids[index] = b""  # nobody's id: who asks for all nodes doesn't want some
        return msgspec.structs.replace(frame, ids=ids)

    def _take(self, sent: _Sent, frame: Send) -> Outgoing:
        self._pace.heard()
        if frame.verb is Verb.SEND:
            self._sends.setdefault(sent.gateway, deque()).append((sent, frame))
            return self._expand()
        return self._publish(sent, frame)

    # publications

    @property
    def wants_lookup(self) -> bool:
        """Whether `lookup` is to be called now."""
        return self._published < PUBLISHED_UNDER_WAY and self.publications.wait(
            large=not self._pace.rest
        )

    @property
    def rest(self) -> float:
        """Seconds until `wants_lookup` may be true without anything being received; 0: never."""
        rest = self._pace.rest
        return rest if self.publications.large and rest < math.inf else 0.0

    def lookup(self) -> list[tuple[bytes, bytes | None, int]]:
        """What the friends' store is to be asked; see Publications.lookup."""
        if self._pace.rest or not self.publications.large:
            return self.publications.lookup(0)
        self._pace.begin()
        return self.publications.lookup(self._pace.rows)

    def found(self, pages: Sequence[tuple[Sequence[bytes], bool]]) -> Outgoing:
        """The friends' store has answered the lookup; see Publications.found."""
        found = self.publications.found(pages)
        small = [it for it in found if not it.large]
        large = [it for it in found if it.large]
        outgoing: Outgoing = []
        if self._turns and {it.publication.lane for it in small} & self._lanes:
            self._give_turns(outgoing, math.inf)  # or they'd overtake it
        for each in self._spread(small):
            self._deliver(each, outgoing)
        if large:
            turns = list(self._spread(large))
            handles = sum(len(it.frame.handles) for it in turns)
            self._pace.found(sum(len(it.ids) for it in large), handles)
            if self._turns or self._large or handles >= FEW:
                self._lanes |= {it.publication.lane for it in large}
                self._turns += turns
            else:
                self._pace.forget()
                for each in turns:
                    each.delivery.large = 0
                    self._deliver(each, outgoing)
        self._give_turns(outgoing)
        for it in found:
            it.publication.origin.open -= it.last
        for sent in _distinct(it.publication.origin for it in found):
            self._conclude(sent, outgoing)
        return outgoing

    def _spread(self, found: Sequence[Found[_Sent]]) -> Iterator[_Prepared]:
        """What was found, for each gateway concerned."""
        publications = [it.publication for it in found]
        messages = [it.message for it in publications]
        for gateway, batch in self.map.spread((it.ids for it in found), messages).items():
            some = [publications[k] for k in batch.indexes]
            sents, indexes = [it.origin for it in some], [it.index for it in some]
            handles = len(batch.handles)
            large = handles if found[0].large else 0
            delivery = _Delivery(sents, indexes, batch.counts, published=handles, large=large)
            yield self._prepared(gateway, batch, delivery, [it.publisher for it in some])

    def _give_turns(self, outgoing: Outgoing, most: float = 1) -> None:
        """Let the next gateways deliver of large publications, until `most` handles are under way;
        once all have, it's the next page's turn."""
        while self._turns and self._large < most:
            self._deliver(self._turns.popleft(), outgoing)
        if not self._turns:
            self._lanes.clear()
        if not self._large:
            self._pace.end()

    def unknown(self, status: Status) -> Outgoing:
        """The friends' store couldn't answer the lookup: its publications fail with `status`."""
        outgoing: Outgoing = []
        for publication in self.publications.failed():
            sent = publication.origin
            if not sent.statuses:
                sent.statuses = bytearray(len(sent.counts))
            sent.statuses[publication.index] = status
            self._close(sent, outgoing)
        self._give_turns(outgoing)
        return outgoing

    def _publish(self, sent: _Sent, frame: Send) -> Outgoing:
        lanes: Sequence[object] = [(sent.gateway, lane) for lane in frame.lanes]
        if sent.gateway == PEERS:
            lanes = frame.ids  # senders on other nodes aren't known: order is a publisher's
        sent.expanded = True
        self.publications.add(
            Publication(sent, index, id, message, lane)
            for index, (id, message, lane) in enumerate(
                zip(frame.ids, frame.messages, lanes, strict=True)
            )
            if id
        )
        sent.open += sum(map(bool, frame.ids))
        outgoing: Outgoing = []
        self._conclude(sent, outgoing)
        return outgoing

    # deliveries

    def _expand(self) -> Outgoing:
        """Expand Sends, by turns of their gateways, while not too much is under way."""
        outgoing: Outgoing = []
        while self._sends and self._under_way < MAX_UNDER_WAY:
            gateway, waiting = next(iter(self._sends.items()))
            sent, frame = waiting[0]
            batches, sent.next = self.map.send_some(frame.ids, frame.messages, sent.next, SLICE)
            for target, batch in batches.items():
                delivery = _Delivery([sent] * len(batch.messages), batch.indexes, batch.counts)
                self._deliver(self._prepared(target, batch, delivery), outgoing)
            del self._sends[gateway]  # to the end of the line, if there's more
            if sent.next == len(frame.messages):
                waiting.popleft()
                sent.expanded = True
                self._conclude(sent, outgoing)
            if waiting:
                self._sends[gateway] = waiting
        return outgoing

    def _prepared(
        self, gateway: int, batch: Batch, delivery: _Delivery, publishers: Sequence[bytes] = ()
    ) -> _Prepared:
        """A Deliver of `batch`, which is of `delivery`'s Sends; now it's open of them."""
        number = self._next_batch = (self._next_batch + 1) & 0xFFFFFFFF
        for sent in _distinct(delivery.sents):
            sent.open += 1
        frame = Deliver(number, batch.counts, batch.handles, batch.messages, list(publishers))
        return _Prepared(gateway, frame, delivery)

    def _deliver(self, it: _Prepared, outgoing: Outgoing) -> None:
        """Let it go: it's counted until its gateway says otherwise."""
        gateway, frame, delivery = it.gateway, it.frame, it.delivery
        self._deliveries[gateway][frame.batch] = delivery
        for sent, index, count in delivery.each():
            sent.counts[index] += count
        self._under_way += len(frame.handles)
        self._published += delivery.published
        self._large += delivery.large
        outgoing.append((gateway, frame))

    def _acknowledge(self, gateway: int, frame: Ack) -> Outgoing:
        delivery = self._deliveries[gateway].pop(frame.batch, None)
        if delivery is None:
            return []
        missed = iter(frame.missed)
        for index, count in zip(missed, missed, strict=True):
            delivery.sents[index].counts[delivery.indexes[index]] -= count
        outgoing: Outgoing = []
        self._settle(delivery, outgoing)
        return outgoing + self._expand()

    def _settle(self, delivery: _Delivery, outgoing: Outgoing) -> None:
        """A Deliver is done with, one way or the other."""
        self._under_way -= sum(delivery.counts)
        self._published -= delivery.published
        self._large -= delivery.large
        self._give_turns(outgoing)
        self._close_all(delivery, outgoing)

    def _close_all(self, delivery: _Delivery, outgoing: Outgoing) -> None:
        for sent in _distinct(delivery.sents):
            self._close(sent, outgoing)

    def _close(self, sent: _Sent, outgoing: Outgoing) -> None:
        """One of the things that were open of a Send is done with."""
        sent.open -= 1
        self._conclude(sent, outgoing)

    def _conclude(self, sent: _Sent, outgoing: Outgoing) -> None:
        if not sent.expanded or sent.open:
            return
        if sent.gateway == PEERS:
            self.remote_bytes -= sent.size
            if sent.batch:
                count = None if any(sent.statuses) else sum(sent.counts)
                self.concluded.append((sent.batch, count))
        elif sent.gateway in self._linked:
            outgoing.append((sent.gateway, Result(sent.batch, sent.counts, bytes(sent.statuses))))


def _distinct(sents: Iterable[_Sent]) -> Iterable[_Sent]:
    return dict.fromkeys(sents)
