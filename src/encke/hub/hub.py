"""Who gets it: messages in; deliveries, one for each gateway concerned, out.

The hub has the map (who is where), the publications that wait for their subscribers, and the pace
of those for very many. It never waits, and knows nothing of frames or links; what time it is says a
clock that it's given. Whoever owns it (the router's ledger, or the near router of a node with one
gateway) calls it, and then takes what came of that from `deliveries` and `concluded`::

    send, publish ----.                          .--> deliveries --> written --> settle --.
                      |                          |                                        |
                      +--> by turns of origins --+--> concluded: nothing is open any more |
                      |                          |        ^                               |
    lookup --> found -'                          '--------+-------------------------------'

An *origin* is whoever has turns of its own: a gateway (its number, or a name if it's the only one),
or all other nodes together.

Invariants:
- What one origin sends is expanded in its order, by turns with the others', in slices: one
  message for very many connections holds up nobody for long. Of publications see `publications`.
- What isn't written yet is bounded (`limits`): messages beyond it wait here, publications in their
  lanes. That the messages themselves are few enough is up to the gateways' windows.
- Of publications for very many one page is under way at a time, and one gateway's part of it: see
  `pace`. Nothing overtakes the part of a page that still waits for its gateway's turn, if it's of
  the same lane.
- A gateway that is `behind` holds up nobody: what it has in hand counts for none of these bounds.
  What it hasn't written in time is given up, and so is all that is for it until it has.
- A Sent is concluded once, when all of it was expanded, written, looked up and answered.
- A plain message enters neither map nor publications (`find` is a dict's), and of the pace it only
  sets when somebody was `heard`.

Pure.
"""

import math
from array import array
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Sequence

from ..ids import GATEWAY_SHIFT
from ..wire.message import Messages, Status
from .delivery import Behind, Delivery, Sent
from .limits import BEHIND_MOST, FEW, PUBLISHED_UNDER_WAY, SLICE, UNDER_WAY
from .map import RouterMap
from .pace import Pace
from .publications import Publication, Publications, Recipients, cut

_Groups = dict[int, tuple[list[int], list[int]]]
"""By gateway: places of messages, ascending, and the handle that each goes to."""


class Hub:
    """See the module's head."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        under_way: int = UNDER_WAY,
        publishing: Callable[[], None] = lambda: None,
    ) -> None:
        """`clock` says the time in seconds. From `under_way` handles on that aren't written,
        nothing more is expanded. `publishing` is called with each publication: `wants_lookup` is
        to be looked at from then on, every turn as long as the hub is `busy_publishing`."""
        self.map = RouterMap()
        self.deliveries: deque[Delivery] = deque()
        """To be written, in this order, and then settled; whoever writes them takes them out."""
        self.concluded: list[Sent] = []
        """Done with; whoever tells their senders takes them out."""
        self.behind: dict[int, Behind] = {}
        """The gateways that are, see `fell_behind`."""
        self.pace = Pace(clock)
        self._clock = clock
        self._find = self.map.find
        self._most = under_way
        self._publishing = publishing
        self._waiting: dict[Hashable, deque[tuple[Sent, Messages]]] = {}  # by origin, none empty
        self._under_way = 0  # handles in deliveries that aren't settled
        self._published = 0  # those of publications
        self._large = 0  # those of publications that have several pages
        self._publications: Publications[Sent] = Publications()
        self._turns: deque[Delivery] = deque()  # what is next of these
        self._lanes: set[Hashable] = set()  # whose they are

    @property
    def waits(self) -> bool:
        """Whether messages wait to be expanded."""
        return bool(self._waiting)

    @property
    def busy_publishing(self) -> bool:
        """Whether there are publications whose last page hasn't been looked up."""
        return bool(self._publications)

    # commands

    def gone(self, gateway: int) -> None:
        """A gateway has died: its users are logged out, and nothing that it sent is expanded any
        more. What was on its way to it is `lost`."""
        self._waiting.pop(gateway, None)
        self._publications.drop(lambda sent: sent.origin == gateway)
        self.behind.pop(gateway, None)
        self.map.logout_gateway(gateway)
        turns = self._turns
        self._turns = deque(it for it in turns if it.gateway != gateway)
        for delivery in turns:
            if delivery.gateway == gateway:
                self._uncount(delivery)
                self._close(delivery.sents)

    def send(self, sent: Sent, messages: Messages) -> None:
        """Each message goes to its user."""
        self.pace.heard = self._clock()
        waiting = self._waiting
        if waiting or self._under_way >= self._most or self._slice(sent, messages):
            waiting.setdefault(sent.origin, deque()).append((sent, messages))
            self._expand()

    def publish(self, sent: Sent, messages: Messages, lanes: Iterable[Hashable]) -> None:
        """Each goes to everyone subscribed to its user, and to them; an empty id is nobody's.
        Those of one lane keep their order."""
        self.pace.heard = self._clock()
        sent.expanded = True
        publications = [
            Publication(sent, index, id, message, lane)
            for index, (id, message, lane) in enumerate(
                zip(messages.to, messages.data, lanes, strict=True)
            )
            if id
        ]
        sent.open += len(publications)
        self._publications.add(publications)
        self._conclude(sent)
        self._publishing()

    def settle(self, delivery: Delivery, missed: Iterable[int] = ()) -> None:
        """A delivery was written, but for `missed`: index, count, index, ..."""
        if not delivery.counted:
            self._settle_behind(delivery)
            if delivery.late:
                return
        each = iter(missed)
        for index, count in zip(each, each, strict=True):
            owner = delivery.owners[index] if delivery.owners else delivery.sents[0]
            owner.counts[delivery.indexes[index]] -= count
        if delivery.counted:
            self._under_way -= delivery.size
            if delivery.published:
                self._published -= delivery.published
            if delivery.large:
                self._large -= delivery.large
                self._give_turns()
        for sent in delivery.sents:  # what _close does, without a call
            sent.open -= 1
            if sent.expanded and not sent.open:
                self.concluded.append(sent)
        if self._waiting:
            self._expand()

    def lost(self, delivery: Delivery) -> None:
        """Its gateway died with a delivery in hand: nobody can say who got it."""
        if not delivery.late:
            self._uncount(delivery)
        self.settle(delivery)

    def fell_behind(self, gateway: int, in_hand: Iterable[Delivery]) -> None:
        """A gateway doesn't settle what it has in hand: nobody waits for it from now on."""
        behind = self.behind[gateway] = Behind(0)
        for delivery in in_hand:
            self._count(delivery, -1)
            delivery.counted = False
            behind.handles += delivery.size
        self._give_turns()
        self._expand()

    def caught_up(self, gateway: int, in_hand: Iterable[Delivery]) -> None:
        """It does again, and has settled all that was late."""
        del self.behind[gateway]
        for delivery in in_hand:
            self._count(delivery, 1)
            delivery.counted = True

    def late(self, delivery: Delivery) -> None:
        """A gateway that is behind has had a delivery in hand for too long: it's given up."""
        self._give_up(delivery)
        delivery.late = True
        self.behind[delivery.gateway].late += 1

    def closed(self, sent: Sent) -> None:
        """Something that somebody else had opened of it is done with."""
        self._close((sent,))

    # the friends' store's questions

    @property
    def wants_lookup(self) -> bool:
        """Whether `lookup` is to be called now."""
        return self._published < PUBLISHED_UNDER_WAY and self._publications.wait(
            large=not self.pace.rest
        )

    @property
    def rest(self) -> float:
        """Seconds until `wants_lookup` may be true without anything coming in; 0: never."""
        rest = self.pace.rest
        return rest if self._publications.large and rest < math.inf else 0.0

    def lookup(self) -> list[tuple[bytes, bytes | None, int]]:
        """What the friends' store is to be asked; see Publications.lookup."""
        if self.pace.rest or not self._publications.large:
            return self._publications.lookup(0)
        self.pace.begin()
        return self._publications.lookup(self.pace.rows)

    def found(self, pages: Sequence[tuple[Sequence[bytes], bool]]) -> None:
        """The friends' store has answered the lookup; see Publications.found."""
        found = self._publications.found(pages)
        small = [it for it in found if not it.large]
        large = [it for it in found if it.large]
        if self._turns and {it.publication.lane for it in small} & self._lanes:
            self._give_turns(math.inf)  # or they'd overtake it
        for some in cut(small):
            for delivery in self._spread(some):
                self._let_out(delivery)
        if large:
            self._page(large)
        self._give_turns()
        for it in found:
            it.publication.sent.open -= it.last
        for sent in dict.fromkeys(it.publication.sent for it in found):
            self._conclude(sent)

    def unknown(self, status: Status) -> None:
        """The friends' store couldn't answer the lookup: its publications fail with `status`."""
        for publication in self._publications.failed():
            sent = publication.sent
            if not sent.statuses:
                sent.statuses = bytearray(len(sent.counts))
            sent.statuses[publication.index] = status
            self._close((sent,))
        self._give_turns()

    # expanding

    def _expand(self) -> None:
        """Expand what waits, by turns of origins, while not too much is under way."""
        waiting = self._waiting
        while waiting and self._under_way < self._most:
            origin, queue = next(iter(waiting.items()))
            del waiting[origin]  # to the end of the line, if there's more
            if not self._slice(*queue[0]):
                queue.popleft()
            if queue:
                waiting[origin] = queue

    def _slice(self, sent: Sent, messages: Messages) -> bool:
        """Deliver the next messages, until more than SLICE handles are named; whether there are
        more messages."""
        groups: _Groups = {}
        data, counts, start, room = messages.data, sent.counts, sent.next, SLICE
        end = len(data)
        several = False
        ids = messages.to[start:] if start else messages.to
        for index, found in enumerate(map(self._find, ids), start):
            if isinstance(found, int):  # the usual case, without a loop
                group = groups.get(found >> GATEWAY_SHIFT)
                if group is None:
                    group = groups[found >> GATEWAY_SHIFT] = ([], [])
                group[0].append(index)
                group[1].append(found)
                counts[index] += 1
                room -= 1
            elif found is None:
                continue
            else:
                several = True
                for handle in found:
                    group = groups.setdefault(handle >> GATEWAY_SHIFT, ([], []))
                    group[0].append(index)
                    group[1].append(handle)
                counts[index] += len(found)
                room -= len(found)
            if room < 0:
                end = index + 1
                break
        sent.next = end
        for gateway, (places, handles) in groups.items():
            size = len(handles)
            if several:
                places, each = _counted(places)  # noqa: PLW2901
            else:
                each = array("I", [1]) * size
            some = data if len(places) == len(data) else list(map(data.__getitem__, places))
            sent.open += 1
            self._under_way += size
            let_out = self._let_out_behind if gateway in self.behind else self.deliveries.append
            let_out(
                Delivery(
                    gateway, Messages([], some), each, array("Q", handles), size, (sent,), places
                )
            )
        if end < len(data):
            return True
        sent.expanded = True
        if not sent.open:
            self.concluded.append(sent)
        return False

    def _spread(self, found: Sequence[Recipients[Sent]]) -> list[Delivery]:
        """What was found, for each gateway concerned; it's open of its Sents from now on."""
        groups: _Groups = {}
        for index, it in enumerate(found):
            for target in map(self._find, it.ids):
                if target is None:
                    continue
                for handle in (target,) if isinstance(target, int) else target:
                    group = groups.get(handle >> GATEWAY_SHIFT)
                    if group is None:
                        group = groups[handle >> GATEWAY_SHIFT] = ([], [])
                    group[0].append(index)
                    group[1].append(handle)
        large = bool(found) and found[0].large
        deliveries = []
        for gateway, (places, handles) in groups.items():
            places, counts = _counted(places)  # noqa: PLW2901
            some = [found[place].publication for place in places]
            owners, indexes = [it.sent for it in some], [it.index for it in some]
            for owner, index, count in zip(owners, indexes, counts, strict=True):
                owner.counts[index] += count
            sents = tuple(dict.fromkeys(owners))
            for sent in sents:
                sent.open += 1
            messages = Messages([], [it.message for it in some], [it.publisher for it in some])
            size = len(handles)
            deliveries.append(
                Delivery(
                    gateway,
                    messages,
                    counts,
                    array("Q", handles),
                    size,
                    sents,
                    indexes,
                    owners,
                    published=size,
                    large=size if large else 0,
                )
            )
        return deliveries

    # large publications

    def _page(self, found: Sequence[Recipients[Sent]]) -> None:
        """Pages of large ones: a gateway at a time, unless it's for few."""
        turns = self._spread(found)
        handles = sum(it.size for it in turns)
        self.pace.found(sum(len(it.ids) for it in found), handles)
        if self._turns or self._large or handles >= FEW:
            self._lanes |= {it.publication.lane for it in found}
            self._turns += turns
        else:
            self.pace.forget()
            for delivery in turns:
                delivery.large = 0
                self._let_out(delivery)

    def _give_turns(self, most: float = 1) -> None:
        """Let the next gateways deliver of large publications, until `most` handles are under way;
        once all have, it's the next page's turn."""
        while self._turns and self._large < most:
            self._let_out(self._turns.popleft())
        if not self._turns:
            self._lanes.clear()
        if not self._large:
            self.pace.end()

    # what is open

    def _let_out(self, delivery: Delivery) -> None:
        """Of a publication."""
        self._count(delivery, 1)
        if delivery.gateway in self.behind:
            self._let_out_behind(delivery)
        else:
            self.deliveries.append(delivery)

    def _let_out_behind(self, delivery: Delivery) -> None:
        """To a gateway that is behind, unless it's hopeless; it counts no more."""
        self._count(delivery, -1)
        behind = self.behind[delivery.gateway]
        if behind.late or behind.handles >= BEHIND_MOST:
            self._give_up(delivery)
        else:
            delivery.counted = False
            behind.handles += delivery.size
            self.deliveries.append(delivery)

    def _settle_behind(self, delivery: Delivery) -> None:
        behind = self.behind.get(delivery.gateway)
        if behind is not None:  # else it's gone
            behind.handles -= delivery.size
            behind.late -= delivery.late

    def _give_up(self, delivery: Delivery) -> None:
        """Its messages count as not delivered, although nobody knows."""
        self._uncount(delivery)
        owners = delivery.owners or delivery.sents * len(delivery.counts)
        for owner, index in zip(owners, delivery.indexes, strict=True):
            if not owner.statuses:
                owner.statuses = bytearray(len(owner.counts))
            owner.statuses[index] = Status.UNACKNOWLEDGED
        self._close(delivery.sents)

    def _count(self, delivery: Delivery, sign: int) -> None:
        """Count it as under way, or no more (-1)."""
        self._under_way += sign * delivery.size
        self._published += sign * delivery.published
        self._large += sign * delivery.large

    def _uncount(self, delivery: Delivery) -> None:
        """Its messages' counts are without it."""
        owners = delivery.owners or delivery.sents * len(delivery.counts)
        for owner, index, count in zip(owners, delivery.indexes, delivery.counts, strict=True):
            owner.counts[index] -= count

    def _close(self, sents: Iterable[Sent]) -> None:
        for sent in sents:
            sent.open -= 1
            self._conclude(sent)

    def _conclude(self, sent: Sent) -> None:
        if sent.expanded and not sent.open:
            self.concluded.append(sent)


def _counted(places: list[int]) -> tuple[list[int], "array[int]"]:
    """Places that ascend, each once, and how often each was there."""
    counts = Counter(places)
    return list(counts), array("I", counts.values())
