"""Places for friends: what the tests of every store and every directory run on."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from bench.servers.postgres import Postgres, missing
from encke.friends.directories import open_directory
from encke.friends.directory import Directory
from encke.friends.opening import open_store
from encke.friends.store import Store
from encke.reactor.loop import Reactor

KINDS = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.skipif(bool(missing()), reason=str(missing()))),
]


class Place:
    """Where friends are kept, nobody's at first; opens as many stores on it as wanted."""

    def __init__(self, friends: str, data: str) -> None:
        self.friends = friends
        self.data = data
        self._close: list[Callable[[], None]] = []

    def store(self) -> Store:
        store = open_store(self.friends, self.data)
        self._close.append(store.close)
        return store

    def directory(self, reactor: Reactor) -> Directory:
        directory = open_directory(reactor, self.friends, self.data)
        self._close.append(directory.close)
        return directory

    def close(self) -> None:
        """Close them all."""
        while self._close:
            self._close.pop()()


@pytest.fixture(params=KINDS)
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Place]]:
    """Makes empty places, one at a time: the next one may be where the last one was."""
    places: list[Place] = []
    numbers = count()

    def make() -> Place:
        while places:
            places.pop().close()
        made = Place("sqlite", str(tmp_path / f"data{next(numbers)}"))
        if request.param == "postgres":
            server: Postgres = request.getfixturevalue("postgres")
            server.empty()
            made.friends = server.url
        places.append(made)
        return made

    yield make
    while places:
        places.pop().close()


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    """An empty place."""
    return new_place()


@pytest.fixture
def store(place: Place) -> Store:
    """The store at `place`."""
    return place.store()


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def directory(place: Place, reactor: Reactor) -> Directory:
    """A directory over `place`."""
    return place.directory(reactor)
