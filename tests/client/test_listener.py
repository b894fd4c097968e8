"""Listening with the Python client, to the real server, and to peers that break off."""

import asyncio
import pickle
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer import STREAM, Peer, answer, chunk, run
from system.node import Node

from encke.client import Client
from encke.client.feed import FIRST_RETRY, LONGEST_RETRY, backoff
from encke.errors import FrameError, Interrupted, Refused


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a running server."""
    with Node("--gateways", "1") as served:
        yield served.url


def test_open_means_reachable(server: str) -> None:
    """Inside the block a message reaches the listener, after it no longer."""

    async def main() -> None:
        async with Client(server) as client:
            opened = []
            async with client.listen("here", on_open=lambda: opened.append(1)):
                assert opened == [1]
                assert await client.send("here", "x") == 1
            while await client.send("here", "x"):  # noqa: ASYNC110 (until it has seen it leave)
                await asyncio.sleep(0)

    run(main())


def test_plain_iteration_opens_the_stream(server: str) -> None:
    """`async for` alone suffices; `on_open` tells when the user is reachable."""

    async def main() -> None:
        async with Client(server) as client:
            opened = asyncio.Event()

            async def collect() -> list[str]:
                messages: list[str] = []
                async for message in client.listen("plain", on_open=opened.set):
                    messages.append(message)
                    if message == "last":
                        break
                return messages

            collecting = asyncio.create_task(collect())
            await opened.wait()
            await client.send_many([("plain", "first"), ("plain", "last")])
            assert await collecting == ["first", "last"]

    run(main())


def test_a_cancelled_wait_loses_nothing(server: str) -> None:
    """A wait for a message may time out, again and again, and the message still comes."""

    async def main() -> None:
        async with Client(server) as client, client.listen("patient") as stream:
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await anext(stream)
            assert await client.send("patient", "x") == 1
            assert await anext(stream) == "x"

    run(main())


def test_closing_ends_the_iteration(server: str) -> None:
    """A listener that waits ends quietly when it, or its client, is closed elsewhere."""

    async def main() -> None:
        async with Client(server) as client:
            opened = asyncio.Event()

            async def collect() -> list[str]:
                return [m async for m in client.listen("closing", on_open=opened.set)]

            collecting = asyncio.create_task(collect())
            await opened.wait()
            await client.aclose()
            assert await collecting == []

    run(main())


def test_a_lost_stream_is_opened_anew() -> None:
    """Through broken streams, 503 and silence the listener comes back, with the last id."""
    events = [b"retry: 10\n\n", b"id: 7\ndata: one\n\n", b"data: cut"]
    first = STREAM + b"".join(chunk(event) for event in events)  # breaks off
    busy = answer("503 Service Unavailable", b"", "Retry-After: 0")
    second = STREAM + chunk(b"data: two\n\n") + b"0\r\n\r\n"  # is ended
    full = answer(
        "200 OK", b": full\nretry: 9\n", "Content-Type: text/event-stream", "Retry-After: 0"
    )  # as a 503: an EventSource wouldn't come back after that
    log: list[str] = []

    async def main() -> None:
        async with Peer(first, busy, full, b"", second, answer("404 Gone")) as peer:
            async with Client(peer.url) as client:
                stream = client.listen(
                    "1",
                    on_open=lambda: log.append("open"),
                    on_lost=lambda error, delay: log.append(type(error).__name__),
                )
                assert [await anext(stream), await anext(stream)] == ["one", "two"]
                with pytest.raises(Refused):  # which won't get better
                    await anext(stream)
                with pytest.raises(StopAsyncIteration):
                    await anext(stream)
            assert b"Last-Event-ID" not in peer.requests[0]
            assert all(b"\r\nLast-Event-ID: 7\r\n" in request for request in peer.requests[1:])

    run(main())
    assert log == [
        "open",
        "Interrupted",
        "Unavailable",
        "Unavailable",
        "Interrupted",
        "open",
        "Interrupted",
    ]


def test_without_reconnection_the_end_is_the_end() -> None:
    """With `reconnect=False` an ended stream ends the iteration, a broken one raises."""

    async def main() -> None:
        broken = STREAM + chunk(b"data: a\n\n")
        async with Peer(broken + b"0\r\n\r\n", broken) as peer, Client(peer.url) as client:
            assert [m async for m in client.listen("1", reconnect=False)] == ["a"]
            messages = []
            with pytest.raises(Interrupted):
                async for message in client.listen("1", reconnect=False):
                    messages.append(message)  # noqa: PERF401 (what came before it raised)
            assert messages == ["a"]
            assert len(peer.requests) == 2

    run(main())


def test_no_content_ends_the_listener() -> None:
    """204 tells an EventSource to stay away: the iteration ends, without an error."""

    async def main() -> None:
        gone = b"HTTP/1.1 204 No Content\r\n\r\n"
        async with Peer(gone, gone) as peer, Client(peer.url) as client:
            assert [m async for m in client.listen("1")] == []
            async with client.listen("1") as stream:
                assert [m async for m in stream] == []
            assert len(peer.requests) == 2

    run(main())


def test_a_slow_program_gets_everything() -> None:
    """A program that falls far behind its stream still gets every message, in order."""

    async def main() -> None:
        expected = [str(number) for number in range(50_000)]
        events = b"".join(chunk(b"data: %b\n\n" % text.encode()) for text in expected)
        async with Peer(STREAM + events + b"0\r\n\r\n") as peer, Client(peer.url) as client:
            messages = []
            async for message in client.listen("1", reconnect=False):
                messages.append(message)
                await asyncio.sleep(0)
            assert messages == expected

    run(main())


def test_only_messages_are_handed_out() -> None:
    """Events of another type, as a server may add them later, are left out."""

    async def main() -> None:
        events = chunk(b"event: gap\ndata: x\n\n:\n\ndata: y\n\n") + b"0\r\n\r\n"
        async with Peer(STREAM + events) as peer, Client(peer.url) as client:
            assert [m async for m in client.listen("1", reconnect=False)] == ["y"]

    run(main())


def test_a_friends_message_says_whose_it_is() -> None:
    """What a friend published has an id as `publisher`, what was sent has None; both are `str`."""
    friend = 'event: friend\ndata: {"from":"456","data":"Grüße\\n☄","since":1}\n\n'.encode()

    async def main() -> None:
        events = chunk(b"data: sent\n\n" + friend) + b"0\r\n\r\n"
        async with Peer(STREAM + events) as peer, Client(peer.url) as client:
            messages = [m async for m in client.listen("1", reconnect=False)]
        assert messages == ["sent", "Grüße\n☄"]
        assert [message.publisher for message in messages] == [None, "456"]
        copy = pickle.loads(pickle.dumps(messages[1]))
        assert (copy, copy.publisher) == (messages[1], "456")

    run(main())


@pytest.mark.parametrize("data", [b"Hello", b"{}", b'{"from": 1, "data": "x"}'])
def test_a_friends_message_that_is_none(data: bytes) -> None:
    """A server whose events of friends aren't as documented is no Encke."""

    async def main() -> None:
        events = chunk(b"event: friend\ndata: %b\n\n" % data)
        async with Peer(STREAM + events) as peer, Client(peer.url) as client:
            with pytest.raises(FrameError, match="no Encke"):
                await anext(client.listen("1"))

    run(main())


@given(st.none() | st.floats(0, 86_400), st.integers(0, 10_000), st.floats(0, 1))
def test_the_pause_grows_and_is_bounded(retry: float | None, failures: int, chance: float) -> None:
    """The pause keeps between half of what the server asks for and 30 s, or its own."""
    pause = backoff(retry, failures, chance)
    asked = FIRST_RETRY if retry is None else retry
    assert 0 < pause <= max(asked, LONGEST_RETRY)
    assert pause >= asked / 2
    assert pause <= backoff(retry, failures + 1, chance)
