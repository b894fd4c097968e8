"""What every store and every directory does, for each of them."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from encke.friends.directory import MAX_ROWS, Directory, Lookup
from encke.friends.store import Page, Pair, Store
from encke.reactor.loop import Reactor

from .asking import ask, asked
from .conftest import Place

ALIKE = [
    b"7", b"07", b"007", b"0", b"00", b"-7", b"7.0", b"7e0", b"1_0", b"10", b"9", b"a", b"A",
    b"~", b"...", b"@", b":", b"a.b", b"1" * 18, b"9" * 18, b"9" * 19, b"1" * 19, b"0" * 128,
    b"9" * 128, b"a" * 127, b"a" * 128, b"NULL", b"null", b"true", b"inf", b"nan", b"0x10",
]  # fmt: skip
"""Ids that a database might take for one another, or for something else."""

ids = st.sampled_from(ALIKE) | st.from_regex(rb"[A-Za-z0-9\-_.~@:]{1,128}", fullmatch=True)
few = st.sampled_from([b"1", b"2", b"10", b"01", b"a", b"B"])


def subscribers(store: Store, publisher: bytes, limit: int = 1000) -> list[bytes]:
    return _all(store.subscribers, publisher, limit)


def subscriptions(store: Store, subscriber: bytes, limit: int = 1000) -> list[bytes]:
    return _all(store.subscriptions, subscriber, limit)


def _all(pages: Callable[[bytes, bytes | None, int], Page], id: bytes, limit: int) -> list[bytes]:
    found: list[bytes] = []
    page = Page([], more=True)
    while page.more:
        page = pages(id, found[-1] if found else None, limit)
        assert len(page.ids) == limit or not page.more
        found += page.ids
    return found


def test_both_directions(store: Store) -> None:
    """Who subscribed to a user, and to whom they subscribed, are two lists, each with its count."""
    assert store.add([(b"ann", b"bob"), (b"cid", b"bob"), (b"bob", b"ann")]) == 3
    assert subscribers(store, b"bob") == [b"ann", b"cid"]
    assert subscriptions(store, b"bob") == [b"ann"]
    assert store.count_subscribers(b"bob") == 2
    assert store.count_subscriptions(b"bob") == 1
    assert store.subscribers(b"cid") == Page([], more=False)
    assert store.count_subscribers(b"cid") == 0


def test_twice_is_once(store: Store) -> None:
    """A pair that is there isn't added, one that isn't isn't removed; the counts say so."""
    assert store.add([(b"1", b"2"), (b"1", b"2"), (b"3", b"2")]) == 2
    assert store.add([(b"1", b"2"), (b"4", b"2")]) == 1
    assert store.remove([(b"1", b"2"), (b"1", b"2"), (b"9", b"2")]) == 1
    assert store.remove([(b"1", b"2")]) == 0
    assert subscribers(store, b"2") == [b"3", b"4"]
    assert store.add([]) == store.remove([]) == store.load([]) == 0


def test_ids_stay_apart(store: Store, directory: Directory, reactor: Reactor) -> None:
    """Each id is itself, as a subscriber and as a publisher, however like another it looks."""
    assert store.add([(one, other) for one in ALIKE for other in ALIKE]) == len(ALIKE) ** 2
    for id in ALIKE:
        assert sorted(subscribers(store, id, limit=7)) == sorted(ALIKE)
        assert sorted(subscriptions(store, id, limit=5)) == sorted(ALIKE)
        assert sorted(asked(reactor, directory, id, limit=3)) == sorted(ALIKE)
    assert store.remove([(b"7", b"07")]) == 1
    assert set(ALIKE) - set(subscribers(store, b"07")) == {b"7"}


def test_pages_are_in_one_order(store: Store, directory: Directory, reactor: Reactor) -> None:
    """Pages of every size are in the same order, in store and directory; an id that isn't there
    has its place too."""
    store.add([(id, b"all") for id in ALIKE])
    store.add([(b"all", id) for id in ALIKE])
    order = subscribers(store, b"all")
    assert subscriptions(store, b"all") == order
    for limit in (1, 2, 7, len(ALIKE) - 1, len(ALIKE), len(ALIKE) + 1):
        assert subscribers(store, b"all", limit) == order
        assert subscriptions(store, b"all", limit) == order
        assert asked(reactor, directory, b"all", limit) == order
    for place, id in enumerate(order):
        store.remove([(id, b"all")])
        assert store.subscribers(b"all", after=id).ids == order[place + 1 :]
        store.add([(id, b"all")])


def test_all_pairs_and_degrees(store: Store) -> None:
    """Export has each pair once, more than are read at once, too; degrees are counted."""
    pairs = {(b"%d" % s, b"p%d" % (s % 100)) for s in range(11_000)} | {(b"one", b"1")}
    assert store.load(sorted(pairs)) == len(pairs)
    exported = list(store.pairs())
    assert len(exported) == len(pairs)
    assert set(exported) == pairs
    publishers = [publisher for _, publisher in exported]
    assert publishers == sorted(publishers, key=publishers.index)  # each one's are together
    assert store.degrees() == ({110: 100, 1: 1}, {1: 11_001})


def test_changes_are_in_the_next_answer(place: Place, reactor: Reactor) -> None:
    """A directory names who was added, and not who was removed, from the next question on:
    the first one that the store ever had, too. It creates nothing."""
    directory = place.directory(reactor)
    assert ask(reactor, directory, Lookup(b"p", None, 10)) == [Page([], more=False)]
    store = place.store()
    assert asked(reactor, directory, b"p") == []
    for _ in range(3):
        store.add([(b"s", b"p")])
        assert asked(reactor, directory, b"p") == [b"s"]
        store.remove([(b"s", b"p")])
        assert asked(reactor, directory, b"p") == []
    store.close()
    directory.close()


def test_many_lookups_are_answered_bit_by_bit(
    store: Store, directory: Directory, reactor: Reactor
) -> None:
    """An answer is to the first lookups, in their order, and bounded whatever is asked for."""
    friends = {b"p%d" % p: sorted(b"s%05d" % s for s in range(p * 97)) for p in range(60)}
    store.load((s, p) for p, all in friends.items() for s in all)
    left = [Lookup(p, None, 1_000_000) for p in friends] + [Lookup(b"nobody", None, 1)] * 300
    found: dict[bytes, list[bytes]] = {}
    while left:
        pages = ask(reactor, directory, *left)
        assert pages
        assert len(pages) <= len(left)
        assert sum(len(page.ids) for page in pages[:-1]) < MAX_ROWS
        assert len(pages[-1].ids) <= MAX_ROWS
        rest = []
        for lookup, page in zip(left, pages, strict=False):
            found.setdefault(lookup.publisher, []).extend(page.ids)
            if page.more:
                rest.append(Lookup(lookup.publisher, page.ids[-1], 1_000_000))
        left = rest + left[len(pages) :]
    assert found == friends | {b"nobody": []}


def test_load_is_as_add(store: Store) -> None:
    """A load adds what is new, once, into an empty store and into one that isn't; repeating it
    does no harm. It tells how far it is."""
    told: list[tuple[int, int]] = []
    pairs = [(b"%d" % (k % 700), b"%d" % (k % 900)) for k in range(6_300)] * 2
    assert store.load(iter(pairs), lambda *progress: told.append(progress)) == len(set(pairs))
    assert told[-1] == (len(pairs), len(pairs))
    assert store.load(pairs) == 0
    assert store.load([*pairs[:10], (b"new", b"9"), (b"new", b"9")]) == 1
    assert set(store.pairs()) == {*pairs, (b"new", b"9")}
    assert b"new" in subscribers(store, b"9")
    assert subscriptions(store, b"new") == [b"9"]


def test_a_load_whose_source_fails_leaves_whole_slices(store: Store) -> None:
    """What the source raises comes through; the store can be used, and the load begun anew."""
    store.add([(b"before", b"p")])

    def source() -> Iterable[Pair]:
        yield from ((b"%d" % k, b"p") for k in range(1000))
        raise ValueError("line 1001")

    with pytest.raises(ValueError, match="line 1001"):
        store.load(source())
    assert subscribers(store, b"p") == [b"before"]
    assert store.load([(b"1", b"p")]) == 1
    assert store.add([(b"2", b"p")]) == 1


def test_two_stores_at_the_same_time(place: Place) -> None:
    """Processes that write at the same time, from the first moment on, lose nothing."""
    counts: list[int] = []

    def write(writer: int) -> None:
        store = place.store()
        added = sum(store.add([(b"%d-%d" % (writer, k), b"p")]) for k in range(30))
        added += store.load([(b"%d" % k, b"p") for k in range(2000)])
        counts.append(added)
        store.close()

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sum(counts) == 4 * 30 + 2000
    store = place.store()
    assert store.count_subscribers(b"p") == 4 * 30 + 2000
    store.close()


@settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # starts from what it finds
)
@given(pairs=st.lists(st.tuples(ids, ids), max_size=20), limit=st.integers(1, 5))
def test_any_ids(
    store: Store, directory: Directory, reactor: Reactor, pairs: list[Pair], limit: int
) -> None:
    """Whatever ids are added come back, one by one and all together, and can be removed."""
    assert store.add(pairs) == len(set(pairs))
    assert sorted(store.pairs()) == sorted(set(pairs))
    for _, publisher in pairs:
        due = sorted(s for s, p in set(pairs) if p == publisher)
        assert sorted(subscribers(store, publisher, limit)) == due
        assert sorted(asked(reactor, directory, publisher, limit)) == due
    assert store.remove(pairs) == len(set(pairs))
    assert store.load(pairs) == len(set(pairs))
    assert store.remove(pairs) == len(set(pairs))


class Friends(RuleBasedStateMachine):
    """A store and a directory against a set of pairs."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.store = place.store()
        self.reactor = Reactor()
        self.directory = place.directory(self.reactor)
        self.pairs: set[Pair] = set()

    @rule(pairs=st.lists(st.tuples(few, few), max_size=4))
    def add(self, pairs: list[Pair]) -> None:
        assert self.store.add(pairs) == len(set(pairs) - self.pairs)
        self.pairs |= set(pairs)

    @rule(pairs=st.lists(st.tuples(few, few), max_size=4))
    def remove(self, pairs: list[Pair]) -> None:
        assert self.store.remove(pairs) == len(set(pairs) & self.pairs)
        self.pairs -= set(pairs)

    @rule(pairs=st.lists(st.tuples(few, few), max_size=20))
    def load(self, pairs: list[Pair]) -> None:
        assert self.store.load(pairs) == len(set(pairs) - self.pairs)
        self.pairs |= set(pairs)

    @rule(id=few, limit=st.integers(1, 4))
    def look(self, id: bytes, limit: int) -> None:
        due = sorted(s for s, p in self.pairs if p == id)
        assert sorted(subscribers(self.store, id, limit)) == due
        assert sorted(asked(self.reactor, self.directory, id, limit)) == due
        assert self.store.count_subscribers(id) == len(due)
        due = sorted(p for s, p in self.pairs if s == id)
        assert sorted(subscriptions(self.store, id, limit)) == due
        assert self.store.count_subscriptions(id) == len(due)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.place.store()

    @invariant()
    def is_the_same(self) -> None:
        assert set(self.store.pairs()) == self.pairs
        degrees = Counter(Counter(p for _, p in self.pairs).values())
        assert self.store.degrees()[0] == degrees

    def teardown(self) -> None:
        self.store.close()
        self.directory.close()


def test_against_a_set(new_place: Callable[[], Place]) -> None:
    """Whatever is done, in whatever order, a store is as a set of pairs would be."""

    class Here(Friends):
        def __init__(self) -> None:
            super().__init__(new_place())

    run_state_machine_as_test(
        Here, settings=settings(deadline=None, max_examples=25, stateful_step_count=20)
    )
