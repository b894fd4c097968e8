"""Publications that wait for their subscribers, in the order in which they go out.

The hub puts publications in here; `lookup` says what the friends' store is to be asked, and
`found` makes of its answers whom to deliver to. A publication for very many is looked up page by
page::

    add --> lanes, by turns --> lookup: the first pages of many --> found --> delivered
              ^      |                                                |
              |    held, behind     and the next page of a      <--- more: it's large
              `--- a large one      large one

Invariants:
- Publications of one lane (a sender) go out in the order in which they were added: those
  behind a large one are held until its last page is out. Other lanes go on meanwhile.
- Lanes have turns of QUANTUM publications: who publishes little waits for others' next few, not
  for all that they have sent. To hold a lane, or release it, takes no longer if very many wait.
- One lookup is under way at a time; it names at most LOOKUP first pages and one further page.
- What waits is bounded by whoever adds: by the gateways' windows.

Pure.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

from .limits import FIRST_PAGE, LARGE, LOOKUP, PUBLISHED_BYTES, QUANTUM

S = TypeVar("S")
"""What its adder knows a publication by."""


class Publication(msgspec.Struct, Generic[S]):
    """A message of `publisher` to everyone subscribed to them, and to themselves."""

    sent: S
    """Whoever added it knows it by `sent` and `index`."""
    index: int
    publisher: bytes
    message: bytes
    lane: Hashable
    after: bytes | None = None
    """The last subscriber that was looked up; None: none was."""


_Queue = deque[Publication[S]]


class Recipients(msgspec.Struct, Generic[S]):
    """A page of a publication: whom it goes to; `last`: there's no other page."""

    publication: Publication[S]
    ids: Sequence[bytes]
    last: bool

    @property
    def large(self) -> bool:
        """Whether it isn't the only page."""
        return not self.last or self.publication.after is not None


class Publications(Generic[S]):
    """See the module's head."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, _Queue[S]] = OrderedDict()  # by turns; none empty
        self._held: dict[Hashable, _Queue[S]] = {}  # the same, of lanes behind a large one
        self._large: _Queue[S] = deque()  # have further pages, by turns
        self._asked: list[Publication[S]] = []

    def __bool__(self) -> bool:
        """Whether there are any, be they looked up just now."""
        return bool(self._lanes or self._large or self._asked or self._held)

    @property
    def large(self) -> bool:
        """Whether a large one waits for its next page."""
        return bool(self._large)

    def wait(self, *, large: bool) -> bool:
        """Whether there's something to look up; with `large` also a large one's next page."""
        return not self._asked and bool(self._lanes or (large and self._large))

    def add(self, publications: Iterable[Publication[S]]) -> None:
        """Put them behind all others of their lanes."""
        for publication in publications:
            self._lane(publication.lane).append(publication)

    def lookup(self, page: int) -> list[tuple[bytes, bytes | None, int]]:
        """What to look up next: (publisher, the subscriber to begin after, how many) each; with
        `page`, so many further subscribers of a large one.

        Call it only if something waits (`wait`), and answer it with `found` or `failed`.
        """
        asked, lanes = self._asked, self._lanes
        if page and self._large:
            asked.append(self._large.popleft())
        while lanes and len(asked) < LOOKUP:
            lane, waiting = lanes.popitem(last=False)
            for _ in range(min(QUANTUM, len(waiting), LOOKUP - len(asked))):
                asked.append(waiting.popleft())
            if waiting:
                lanes[lane] = waiting
        return [
            (each.publisher, each.after, FIRST_PAGE if each.after is None else page)
            for each in asked
        ]

    def found(self, pages: Sequence[tuple[Sequence[bytes], bool]]) -> list[Recipients[S]]:
        """The answers to the first `len(pages)` of the lookup: (subscribers, whether there are
        more) each. The others will be in the next lookup."""
        asked, self._asked = self._asked, []
        answered: list[Recipients[S]] = []
        again: list[Publication[S]] = []
        for publication, (subscribers, more) in zip(asked, pages, strict=False):
            if publication.lane in self._held and publication.after is None:
                again.append(publication)  # one before it turned out large
            else:
                answered.append(self._answered(publication, subscribers, more))
        self._ask_again(again + asked[len(pages) :])
        for lane in {it.publication.lane for it in answered} & self._lanes.keys():
            self._lanes.move_to_end(lane)  # it has had its turn, also if others haven't
        return answered

    def failed(self) -> list[Publication[S]]:
        """The lookup couldn't be answered; returns its publications, which are given up, and
        with a large one nothing behind it."""
        asked, self._asked = self._asked, []
        for publication in asked:
            if publication.after is not None:
                self._release(publication.lane)
        return asked

    def drop(self, ended: Callable[[S], bool]) -> None:
        """Forget those, not being looked up, of which `ended` says so of what they are known by."""
        for queues in (self._lanes, self._held):
            for waiting in queues.values():
                staying = [it for it in waiting if not ended(it.sent)]
                waiting.clear()
                waiting.extend(staying)
        for lane in [lane for lane, waiting in self._lanes.items() if not waiting]:
            del self._lanes[lane]
        for publication in [it for it in self._large if ended(it.sent)]:
            self._large.remove(publication)
            self._release(publication.lane)

    def _answered(
        self, publication: Publication[S], subscribers: Sequence[bytes], more: bool
    ) -> Recipients[S]:
        ids, publisher = subscribers, publication.publisher
        if publisher in ids:
            ids = [id for id in ids if id != publisher]
        first = publication.after is None
        if first:
            ids = [publisher, *ids]
        if more:
            publication.after = subscribers[-1]
            self._large.append(publication)
            if first:
                self._held[publication.lane] = self._lanes.pop(publication.lane, deque())
        elif not first:
            self._release(publication.lane)
        return Recipients(publication, ids, not more)

    def _ask_again(self, unanswered: list[Publication[S]]) -> None:
        """Put these back to where they were: before all others."""
        for publication in reversed(unanswered):
            lane = publication.lane
            if publication.after is not None:
                self._large.appendleft(publication)
                continue
            self._lane(lane).appendleft(publication)
            if lane in self._lanes:
                self._lanes.move_to_end(lane, last=False)

    def _release(self, lane: Hashable) -> None:
        """The large one of `lane` is out: those behind it are next."""
        waiting = self._held.pop(lane)
        if waiting:
            self._lanes[lane] = waiting
            self._lanes.move_to_end(lane, last=False)

    def _lane(self, lane: Hashable) -> "_Queue[S]":
        """What waits in `lane`, to which something is about to be added."""
        waiting = self._held.get(lane)
        if waiting is None:
            waiting = self._lanes.get(lane)
        if waiting is None:
            waiting = self._lanes[lane] = deque()
        return waiting


def cut(found: Sequence[Recipients[S]]) -> Iterator[Sequence[Recipients[S]]]:
    """Pages of publications, in pieces of about PUBLISHED_BYTES; of a LARGE one a piece of its
    own."""
    start = size = 0
    for index, it in enumerate(found):
        message = len(it.publication.message)
        if message >= LARGE and start < index:
            yield found[start:index]
            start, size = index, 0
        size += message
        if message >= LARGE or size >= PUBLISHED_BYTES:
            yield found[start : index + 1]
            start, size = index + 1, 0
    if start < len(found):
        yield found[start:]
