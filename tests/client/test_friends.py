"""Friends by the client, with a real server's control port."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from peer import NOBODY, run
from system.node import Node

import encke
from encke.client import Client, Connection, Loaded
from encke.errors import BadMessage, BadUserId, Refused, Unreachable

KEY = {"ENCKE_API_KEY": "secret"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A server that keeps friends."""
    data: Path = tmp_path_factory.mktemp("friends")
    with Node("--gateways", "1", "--data", str(data), environment=KEY) as served:
        yield served


@pytest.fixture
def client(node: Node) -> Iterator[Connection]:
    with encke.connect(node.url, "secret", control=node.control_url) as client:
        yield client


def test_add_and_remove(client: Connection) -> None:
    """Each says whether it changed something, and a publication goes by it at once."""
    friends = client.friends
    with client.listen("ann") as stream:
        assert friends.add("ann", "ben")
        assert not friends.add("ann", "ben")
        assert list(friends.list("ann")) == ["ben"]
        assert list(friends.subscribers("ben")) == ["ann"]
        assert client.publish("ben", "Hello") == 1
        message = next(stream)
        assert (message, message.publisher) == ("Hello", "ben")
        assert friends.remove("ann", "ben")
        assert not friends.remove("ann", "ben")
        assert client.publish("ben", "Hello") == 0
    assert list(friends.list("ann")) == []


def test_load_and_pages(client: Connection) -> None:
    """Many in one request; lists of any length are read page by page."""
    fans = sorted(f"fan{n}" for n in range(2345))
    assert client.friends.load((fan, "star") for fan in fans) == Loaded(2345, 2345)
    assert client.friends.load([(fans[0], "star")]) == Loaded(1, 0)
    assert sorted(client.friends.subscribers("star")) == fans
    assert client.friends.count("subscribers", "star") == 2345
    assert client.friends.count("subscriptions", "star") == 0


def test_a_wrong_pair(client: Connection) -> None:
    """It's named, and those before it are kept; what are no pairs isn't sent."""
    with pytest.raises(Refused, match="not allowed") as caught:
        client.friends.load([("w1", "w2"), ("w 3", "w4"), ("w5", "w6")])
    assert (caught.value.line, caught.value.accepted) == (2, 1)
    assert list(client.friends.list("w1")) == ["w2"]
    assert list(client.friends.list("w5")) == []
    with pytest.raises(BadMessage):
        client.friends.load(5)  # type: ignore[arg-type]
    with pytest.raises(BadUserId):
        client.friends.list("a b")
    with pytest.raises(BadUserId):
        client.friends.add("a", "b c")


def test_the_same_with_await(node: Node) -> None:
    """What awaits has all of it."""

    async def live() -> AsyncIterator[tuple[str, str]]:
        for n in range(1500):
            yield f"l{n}", "live"
            await asyncio.sleep(0)

    async def main() -> None:
        async with Client(node.url, "secret", control=node.control_url) as client:
            friends = client.friends
            assert await friends.add("a1", "b1")
            assert not await friends.add("a1", "b1")
            assert [id async for id in friends.list("a1")] == ["b1"]
            assert await friends.remove("a1", "b1")
            assert not await friends.remove("a1", "b1")
            assert await friends.load(live()) == Loaded(1500, 1500)
            assert len([id async for id in friends.subscribers("live")]) == 1500
            assert await friends.count("subscribers", "live") == 1500
            with pytest.raises(BadUserId):
                friends.list("a b")
            with pytest.raises(BadMessage):
                await friends.load(5)  # type: ignore[arg-type]

    run(main())


def test_what_goes_wrong(node: Node) -> None:
    """Without the key it's refused; a wrong address isn't taken for "there was none"."""
    with encke.connect(node.url, control=node.control_url) as client:
        with pytest.raises(Refused) as caught:
            client.friends.add("1", "2")
        assert caught.value.status == 401
    with encke.connect(node.url, "secret", control=node.url) as client, pytest.raises(Refused):
        client.friends.remove("1", "2")
    with encke.connect(node.url, control=NOBODY) as client, pytest.raises(Unreachable):
        client.friends.remove("1", "2")
