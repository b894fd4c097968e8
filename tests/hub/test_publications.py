"""Publications: each to all of its subscribers once, a lane's in their order."""

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from encke.hub.limits import FIRST_PAGE, LOOKUP, QUANTUM
from encke.hub.publications import Publication, Publications

PAGE = 100
"""Subscribers of a large one's next page."""

FRIENDS = {
    b"alone": [],
    b"few": [b"1", b"2"],
    b"self": [b"1", b"self", b"z"],
    b"many": [b"%03d" % number for number in range(40)],
}
"""By publisher, the subscribers in the store's order."""

Pages = list[tuple[list[bytes], bool]]


def answer(wanted: list[tuple[bytes, bytes | None, int]], size: int = 1000) -> Pages:
    """What a store with pages of at most `size` answers."""
    pages: Pages = []
    for publisher, after, limit in wanted:
        left = [id for id in FRIENDS[publisher] if after is None or id > after]
        page = left[: min(limit, size)]
        pages.append((page, len(page) < len(left)))
    return pages


def add(publications: Publications[str], *publishers: bytes, lane: int = 0) -> None:
    publications.add(
        Publication(f"{lane}", index, publisher, b"m", lane)
        for index, publisher in enumerate(publishers)
    )


def test_a_publication_goes_to_publisher_and_subscribers() -> None:
    """The publisher first, then who is subscribed to them; the publisher not twice."""
    publications: Publications[str] = Publications()
    assert not publications.wait(large=True)
    add(publications, b"alone", b"few", b"self")
    assert publications.wait(large=True)
    wanted = publications.lookup(PAGE)
    assert wanted == [(id, None, FIRST_PAGE) for id in (b"alone", b"few", b"self")]
    assert not publications.wait(large=True)  # nothing more while it's being looked up
    found = publications.found(answer(wanted))
    assert [list(it.ids) for it in found] == [
        [b"alone"], [b"few", b"1", b"2"], [b"self", b"1", b"z"],
    ]  # fmt: skip
    assert all(it.last for it in found)
    assert not publications.wait(large=True)


def test_a_large_one_holds_its_own_lane_only() -> None:
    """What a sender publishes after a large one waits for its last page; others don't."""
    publications: Publications[str] = Publications()
    add(publications, b"many", b"few", lane=1)
    add(publications, b"alone", lane=2)
    wanted = publications.lookup(PAGE)
    found = publications.found(answer(wanted, size=30))
    assert [(it.publication.publisher, it.last) for it in found] == [
        (b"many", False), (b"alone", True),
    ]  # fmt: skip
    add(publications, b"self", lane=3)
    wanted = publications.lookup(PAGE)
    assert wanted == [(b"many", b"029", PAGE), (b"self", None, FIRST_PAGE)]
    assert [it.last for it in publications.found(answer(wanted))] == [True, True]
    assert publications.lookup(PAGE) == [(b"few", None, FIRST_PAGE)]


def test_what_was_not_answered_is_asked_again() -> None:
    """A store may answer only the first of a lookup: the others are in the next one."""
    publications: Publications[str] = Publications()
    add(publications, b"few", b"alone", b"self")
    wanted = publications.lookup(PAGE)
    assert len(publications.found(answer(wanted[:1]))) == 1
    assert publications.lookup(PAGE) == wanted[1:]


def test_a_lookup_is_bounded() -> None:
    """However many wait, one lookup names LOOKUP of them."""
    publications: Publications[str] = Publications()
    add(publications, *[b"alone"] * (LOOKUP + 1))
    assert len(publications.lookup(PAGE)) == LOOKUP


def test_lanes_have_turns() -> None:
    """Who publishes little needn't wait for all that another lane has sent before."""
    publications: Publications[str] = Publications()
    add(publications, *[b"alone"] * 10 * LOOKUP, lane=1)
    add(publications, b"few", b"self", lane=2)
    wanted = publications.lookup(PAGE)
    assert len(wanted) == LOOKUP
    assert [publisher for publisher, _, _ in wanted[: QUANTUM + 3]] == (
        [b"alone"] * QUANTUM + [b"few", b"self", b"alone"]
    )


def test_a_lane_that_was_not_answered_is_next() -> None:
    """However little of a lookup is answered, each lane has its turn."""
    publications: Publications[str] = Publications()
    for lane in (1, 2, 3):
        add(publications, *[b"alone"] * 10 * LOOKUP, lane=lane)
    answered = []
    for _ in range(6):
        wanted = publications.lookup(PAGE)
        answered += [it.publication.lane for it in publications.found(answer(wanted[:1]))]
    assert answered == [1, 2, 3, 1, 2, 3]


def test_what_is_held_is_not_touched() -> None:
    """A lane is held and released as a whole, however many wait in it."""
    publications: Publications[str] = Publications()
    add(publications, b"many", *[b"alone"] * 1000)
    publications.found(answer(publications.lookup(PAGE)[:1], size=10))
    (waiting,) = publications._held.values()
    assert len(waiting) == 1000
    assert publications.lookup(0) == []
    publications.found(answer(publications.lookup(PAGE)))
    assert publications._lanes.popitem()[1] is waiting


def test_failed() -> None:
    """What can't be looked up is given up, and holds nothing any more."""
    publications: Publications[str] = Publications()
    add(publications, b"many", b"few")
    publications.found(answer(publications.lookup(PAGE), size=10))
    publications.lookup(PAGE)
    assert [it.publisher for it in publications.failed()] == [b"many"]
    assert publications.lookup(PAGE) == [(b"few", None, FIRST_PAGE)]


def test_drop() -> None:
    """Nothing is looked up for an origin that has ended; others in the same lane go on."""
    publications: Publications[str] = Publications()
    add(publications, b"many", b"few", lane=1)
    publications.add([Publication("other", 0, b"alone", b"m", 1)])
    publications.found(answer(publications.lookup(PAGE), size=10))
    publications.drop(lambda origin: origin == "1")
    assert publications.lookup(PAGE) == [(b"alone", None, FIRST_PAGE)]


class PublicationsMachine(RuleBasedStateMachine):
    """Publications of a few lanes are added, and answered in pieces of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.publications: Publications[int] = Publications()
        self.added: dict[int, list[tuple[int, bytes]]] = defaultdict(list)  # lane -> what's open
        self.got: dict[int, list[bytes]] = defaultdict(list)
        self.number = 0

    @rule(lane=st.integers(0, 2), publishers=st.lists(st.sampled_from(sorted(FRIENDS)), max_size=4))
    def add(self, lane: int, publishers: list[bytes]) -> None:
        """A sender publishes."""
        batch = []
        for publisher in publishers:
            self.number += 1
            self.added[lane].append((self.number, publisher))
            batch.append(Publication(self.number, 0, publisher, b"m", lane))
        self.publications.add(batch)

    @precondition(lambda self: self.publications.wait(large=True))
    @rule(size=st.integers(1, 50), part=st.integers(1, 10))
    def look_up(self, size: int, part: int) -> None:
        """The store answers some of a lookup, in pages of any size."""
        wanted = self.publications.lookup(PAGE)
        assert wanted
        for found in self.publications.found(answer(wanted, size)[:part]):
            number, lane = found.publication.sent, found.publication.lane
            assert isinstance(lane, int)
            assert self.added[lane][0][0] == number, "out of order"
            self.got[number] += found.ids
            if found.last:
                _, publisher = self.added[lane].pop(0)
                others = [id for id in FRIENDS[publisher] if id != publisher]
                assert self.got.pop(number) == [publisher, *others]

    @precondition(lambda self: self.publications.wait(large=True))
    @rule()
    def fail(self) -> None:
        """The store is away."""
        self.publications.lookup(PAGE)
        given_up = {it.sent for it in self.publications.failed()}
        for lane in self.added:
            self.added[lane] = [it for it in self.added[lane] if it[0] not in given_up]
        for number in given_up:
            self.got.pop(number, None)

    def teardown(self) -> None:
        """All comes out in the end."""
        while self.publications.wait(large=True):
            self.look_up(50, 1000)
        assert not any(self.added.values())
        assert not self.publications._held
        assert not self.publications._lanes


PublicationsMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None
)
TestPublications = PublicationsMachine.TestCase
