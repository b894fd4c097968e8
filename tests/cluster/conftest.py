"""A NATS server for tests that leave it as it was, and members that are closed at the end."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from encke.reactor.loop import Reactor

from .member import OPTIONS, Join, Member
from .nats_server import NatsServer


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
