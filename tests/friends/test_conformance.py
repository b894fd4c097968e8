"""What every store and every directory does: the same tests for all of them."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encke.friends.directory import Directory, Lookup
from encke.friends.store import Page, Pair, Store
from encke.reactor.loop import Reactor

from .conftest import Place

IDS = st.sampled_from(
    [b"0", b"1", b"2", b"07", b"7", b"10", b"9" * 18, b"9" * 19, b"a", b"~", b"-", b"NULL", b"null"]
) | st.just(b"x" * 128)
PAIRS = st.lists(st.tuples(IDS, IDS), max_size=12)


def every_page(store: Store, publisher: bytes, limit: int) -> list[bytes]:
    """All subscribers, page by page."""
    ids: list[bytes] = []
    after = None
    while True:
        page = store.subscribers(publisher, after, limit)
        assert len(page.ids) <= limit
        ids += page.ids
        if not page.more:
            return ids
        after = page.ids[-1]


def asked(reactor: Reactor, directory: Directory, lookups: list[Lookup]) -> list[Page] | None:
    """The directory's answer, which may take turns of the loop."""
    answers: list[list[Page] | None] = []

    def done(pages: list[Page] | None) -> None:
        answers.append(pages)
        reactor.stop()

    directory.ask(lookups, done)
    began = time.monotonic()
    while not answers:
        assert time.monotonic() < began + 15, "no answer"
        turns(reactor)
    (answer,) = answers
    return answer


def turns(reactor: Reactor) -> None:
    """Let the loop turn for a tenth of a second, or until somebody stops it."""
    reactor._stopped = False
    reactor.every(0.1, reactor.stop)
    reactor.run()


def test_add_and_remove(place: Place) -> None:
    """Both say how many there were; twice is the same as once; both directions are there."""
    store = place.store()
    assert store.add([(b"ben", b"ada"), (b"cid", b"ada"), (b"ben", b"eve")]) == 3
    assert store.add([(b"ben", b"ada"), (b"dan", b"ada")]) == 1
    assert store.add([]) == 0
    assert store.subscribers(b"ada") == Page([b"ben", b"cid", b"dan"], more=False)
    assert store.subscriptions(b"ben") == Page([b"ada", b"eve"], more=False)
    assert (store.count_subscribers(b"ada"), store.count_subscriptions(b"ben")) == (3, 2)
    assert store.remove([(b"ben", b"ada"), (b"ben", b"nobody")]) == 1
    assert store.subscribers(b"ada") == Page([b"cid", b"dan"], more=False)
    assert store.subscriptions(b"ben") == Page([b"eve"], more=False)
    assert sorted(store.pairs()) == [(b"ben", b"eve"), (b"cid", b"ada"), (b"dan", b"ada")]


def test_degrees(place: Place) -> None:
    """How many publishers have so many subscribers, and the same for subscribers."""
    store = place.store()
    assert store.degrees() == ({}, {})
    store.add([(b"1", b"p"), (b"2", b"p"), (b"1", b"q"), (b"x", b"r")])
    assert store.degrees() == ({2: 1, 1: 2}, {2: 1, 1: 2})


def test_it_is_kept(place: Place) -> None:
    """What was added is there when the store is opened again, also beside another."""
    place.store().add([(b"ben", b"ada")])
    assert place.store().subscribers(b"ada").ids == [b"ben"]


def test_opening_many_at_once(place: Place) -> None:
    """The schema is made once, whoever comes first."""
    stores = [place.store() for _ in range(3)]
    assert stores[0].add([(b"ben", b"ada")]) == 1
    assert [store.count_subscribers(b"ada") for store in stores] == [1, 1, 1]


def test_a_page_twice_in_one_call(place: Place) -> None:
    """The same pair twice in one call counts once."""
    assert place.store().add([(b"ben", b"ada"), (b"ben", b"ada")]) == 1


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(added=PAIRS, removed=PAIRS, limit=st.integers(1, 5))
def test_like_a_set(place: Place, added: list[Pair], removed: list[Pair], limit: int) -> None:
    """A store is a set of pairs: ids of all kinds stay distinct, pages are complete."""
    try:
        like_a_set(place, added, removed, limit)
    finally:
        place.close()


def like_a_set(place: Place, added: list[Pair], removed: list[Pair], limit: int) -> None:
    store = place.store()
    store.remove(list(store.pairs()))
    assert store.add(added) == len(set(added))
    assert store.remove(removed) == len(set(added) & set(removed))
    left = set(added) - set(removed)
    assert sorted(store.pairs()) == sorted(left)
    for publisher in {publisher for _, publisher in added}:
        subscribers = sorted(it for it, other in left if other == publisher)
        assert sorted(every_page(store, publisher, limit)) == subscribers
        assert store.count_subscribers(publisher) == len(subscribers)
    reactor = Reactor()
    directory = place.directory(reactor)
    publishers = sorted({publisher for _, publisher in added})
    if not publishers:
        return
    pages = asked(reactor, directory, [Lookup(it, None, 100) for it in publishers])
    assert pages is not None
    for publisher, page in zip(publishers, pages, strict=True):
        assert page.ids == every_page(store, publisher, 100)


def test_a_directory_pages(place: Place) -> None:
    """Page after page each subscriber comes once; a change is seen by the next question."""
    store = place.store()
    everyone = [b"%d" % number for number in range(500)] + [b"u%d" % it for it in range(500)]
    store.add([(it, b"star") for it in everyone])
    reactor = Reactor()
    directory = place.directory(reactor)
    after: bytes | None = None
    seen: list[bytes] = []
    for _ in range(10):
        pages = asked(reactor, directory, [Lookup(b"star", after, 128), Lookup(b"none", None, 9)])
        assert pages is not None
        seen += pages[0].ids
        assert pages[1:] in ([], [Page([], more=False)])
        if not pages[0].more:
            break
        after = seen[-1]
    assert sorted(seen) == sorted(everyone)
    store.remove([(b"0", b"star")])
    pages = asked(reactor, directory, [Lookup(b"star", None, 1)])
    assert pages == [Page([b"1"], more=True)]


def test_an_answer_is_bounded(place: Place) -> None:
    """Of a large question only the first part is answered, one lookup at least."""
    store = place.store()
    store.add([(b"%d" % number, b"%d" % star) for star in range(20) for number in range(2000)])
    reactor = Reactor()
    pages = asked(
        reactor, place.directory(reactor), [Lookup(b"%d" % star, None, 2000) for star in range(20)]
    )
    assert pages is not None
    assert 1 <= len(pages) < 20
    assert all(len(page.ids) == 2000 and not page.more for page in pages)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_edge_of_a_page(place: Place, limit: int) -> None:
    """`more` is true exactly if there is another one."""
    store = place.store()
    store.add([(b"1", b"p"), (b"2", b"p")])
    assert store.subscribers(b"p", None, limit).more == (limit < 2)
    assert store.subscribers(b"p", b"2", limit) == Page([], more=False)


def test_load(place: Place) -> None:
    """Loading is adding, only faster: into an empty store and into one that has some; again
    does no harm; progress tells how many were taken, and how many are safe."""
    store = place.store()
    pairs = [(b"%d" % (number % 700), b"p%d" % (number % 11)) for number in range(5000)]
    told: list[tuple[int, int]] = []
    assert store.load(pairs, lambda taken, safe: told.append((taken, safe))) == len(set(pairs))
    assert told[-1] == (5000, 5000)
    assert sorted(store.pairs()) == sorted(set(pairs))
    assert store.load(iter(pairs)) == 0
    assert store.load([*pairs, (b"new", b"p1"), (b"new", b"p1")]) == 1
    assert store.load([]) == 0
    assert store.subscriptions(b"new").ids == [b"p1"]
    assert b"new" in store.subscribers(b"p1", None, 1000).ids


def test_a_load_whose_source_fails(place: Place) -> None:
    """What the source raises comes through, and the store is as good as before."""
    store = place.store()
    store.add([(b"ben", b"ada")])

    def source() -> Iterator[Pair]:
        yield b"cid", b"ada"
        raise ValueError("line 2")

    with pytest.raises(ValueError, match="line 2"):
        store.load(source())
    assert store.add([(b"dan", b"ada")]) == 1
    assert {b"ben", b"dan"} <= set(store.subscribers(b"ada").ids)
