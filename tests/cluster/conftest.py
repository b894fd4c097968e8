"""A NATS server for tests that leave it as it was, and what is joined to it, closed at the end."""

from collections.abc import Iterator

import pytest

from bench.servers.nats import NatsServer
from encke.reactor.loop import Reactor

from .member import Join
from .nats_py import NatsPy
from .router import Joined


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
    """Makes members."""
    join = Join(reactor)
    yield join
    for member in join.members:
        member.link.close()


@pytest.fixture
def peer(shared: NatsServer) -> Iterator[NatsPy]:
    """The usual client, at the shared server."""
    with NatsPy(shared.url) as peer:
        yield peer


@pytest.fixture
def node(reactor: Reactor) -> Iterator[Joined]:
    """Makes nodes."""
    node = Joined(reactor)
    yield node
    for router in node.routers:
        router.peers.close()
