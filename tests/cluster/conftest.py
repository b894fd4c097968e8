"""A NATS server for tests that leave it as it was, and what is joined to it, closed at the end."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from bench.servers.nats import NatsServer
from encke.reactor.loop import Reactor

from .member import OPTIONS, Join, Member
from .nats_py import NatsPy
from .router import Joined, Router


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server for all tests of a module, which must leave it running."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def join(reactor: Reactor) -> Iterator[Join]:
    """Makes members, each with a link of its own."""
    members: list[Member] = []

    def make(
        url: str, *subjects: bytes, ready: bool = True, start: bool = True, **changes: object
    ) -> Member:
        member = Member(reactor, replace(OPTIONS, servers=url, **changes), *subjects, start=start)
        members.append(member)
        if ready and start:
            member.until_ready()
        return member

    yield make
    for member in members:
        member.link.close()


@pytest.fixture
def peer(shared: NatsServer) -> Iterator[NatsPy]:
    """The usual client, at the shared server."""
    with NatsPy(shared.url) as peer:
        yield peer


@pytest.fixture
def node(reactor: Reactor) -> Iterator[Joined]:
    """Makes nodes."""
    made: list[Router] = []

    def make(
        url: str,
        *ids: bytes,
        ready: bool = True,
        name: str = "test",
        timeout: float = 5.0,
        patience: float = 5.0,
    ) -> Router:
        options = replace(OPTIONS, servers=url, name=name)
        router = Router(reactor, options, *ids, timeout=timeout, patience=patience)
        made.append(router)
        if ready:
            router.until_ready()
        return router

    yield make
    for router in made:
        router.peers.close()
