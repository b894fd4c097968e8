"""Both kinds of stores, empty."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import MISSING, Postgres

from encke.friends.directory import Directory, open_directory
from encke.friends.opening import open_store
from encke.friends.store import Store
from encke.reactor.loop import Reactor

KINDS = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.skipif(bool(MISSING), reason=MISSING)),
]


class Place:
    """Where subscriptions are kept, empty at first; opens as many stores on it as wanted."""

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
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    friends = "sqlite"
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        server.empty()
        friends = server.url
    place = Place(friends, str(tmp_path))
    yield place
    place.close()
