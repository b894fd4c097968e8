"""kill -9 of who writes: what was acknowledged is there, and nothing is half done."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from encke.friends.store import Pair, Store
from encke.reactor.loop import Reactor

from .asking import asked
from .conftest import Place
from .killed import LOADED, numbered

TESTS = str(Path(__file__).parent.parent)


@contextmanager
def writing(place: Place, what: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that does `what`, and is killed at the end."""
    path = os.pathsep.join([TESTS, *sys.path])
    with subprocess.Popen(
        [sys.executable, "-m", "friends.killed", place.friends, place.data, what],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def both_directions(store: Store, pairs: set[Pair]) -> None:
    """Both directions have `pairs`, and nothing else."""
    assert set(store.pairs()) == pairs
    degrees = store.degrees()
    for direction in degrees:
        assert sum(degree * users for degree, users in direction.items()) == len(pairs)
    for subscriber, publisher in random.Random(1).sample(sorted(pairs), min(50, len(pairs))):
        assert publisher in store.subscriptions(subscriber).ids
        assert subscriber in store.subscribers(publisher).ids


def test_killed_while_adding(place: Place, reactor: Reactor) -> None:
    """Whatever `add` returned for is in the store; at most the one that was under way, too."""
    place.store().close()
    with writing(place, "add") as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(100)]
        process.kill()
        acknowledged += [int(line) for line in process.stdout]
    due = set(numbered(range(len(acknowledged))))
    store = place.store()
    there = set(store.pairs())
    assert due <= there
    assert there - due <= set(numbered(range(len(acknowledged) + 1)))
    both_directions(store, there)
    assert store.add([(b"new", b"p0")]) == 1
    assert b"new" in asked(reactor, place.directory(reactor), b"p0")


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("lines", [1, 3])
def test_killed_while_loading(place: Place, reactor: Reactor, there: bool, lines: int) -> None:
    """A load is all or nothing (of a slice); the next one takes it up from the beginning."""
    before = {(b"old", b"p0"), (b"old", b"older")} if there else set()
    place.store().add(sorted(before))
    with writing(place, "load") as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]  # at the third it merges
        process.kill()
        said += list(process.stdout)
    store = place.store()
    everything = set(numbered(range(LOADED)))
    pairs = set(store.pairs())
    assert pairs in (before, before | everything)
    if "loaded\n" in said:
        assert pairs > before
    both_directions(store, pairs)
    assert store.load(numbered(range(LOADED))) == len(everything | before) - len(pairs)
    both_directions(store, everything | before)
    due = sorted(s for s, p in everything | before if p == b"p0")
    assert sorted(asked(reactor, place.directory(reactor), b"p0")) == due
