"""Many messages in one request: what they are made of, and a server that can't go on."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from peer import Loopback, Peer, answer, run
from system.node import Node

import encke
from encke.client import Client, Message, Sent
from encke.errors import BadMessage, Refused, Unavailable


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a running server."""
    with Node("--gateways", "1") as served:
        yield served.url


class Half(Loopback):
    """Answers 503 after the first block, reads no more, and keeps the connection."""

    BUSY = answer("503 Busy", b'{"detail": "Go.", "accepted": 3, "delivered": 2}', "Retry-After: 4")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}\n")
        writer.write(self.BUSY)
        await writer.drain()
        await asyncio.sleep(3600)


def test_bytes_are_text(server: str) -> None:
    """Bytes among many arrive as what they say in UTF-8, and a message that came can be sent on."""
    messages: list[tuple[str, str | bytes]] = [
        ("b", "Grüße".encode()),
        ("b", Message("from", "1")),
        ("b", b"\0"),
    ]
    expected = ["Grüße", "from", "\0"]

    async def main() -> None:
        async with Client(server) as client, client.listen("b") as stream:
            assert await client.send_many(messages) == Sent(3, 3)
            assert [await anext(stream) for _ in expected] == expected

    run(main())
    with encke.connect(server) as client, client.listen("b") as stream:
        assert client.send_many(messages) == Sent(3, 3)
        assert [next(stream) for _ in expected] == expected


BAD: list[tuple[object, str]] = [
    (("b", b"\xff"), "UTF-8"),
    (("b", "\ud800"), "UTF-8"),
    (("b", 5), "int"),
    ((5, "b"), r"str\(5\)"),
    (("b",), "pairs"),
    ("bb", "pairs"),
]


@pytest.mark.parametrize(("bad", "words"), BAD)
def test_what_is_no_message_is_named(server: str, bad: object, words: str) -> None:
    """It ends the request as a wrong id does: with its number, and what became of the others."""
    messages = [("b", "1"), ("b", "2"), bad, ("b", "3")]

    async def main() -> None:
        async with Client(server) as client, client.listen("b") as stream:
            with pytest.raises(Refused, match=words) as caught:
                await client.send_many(messages)  # type: ignore[arg-type]
            assert (caught.value.line, caught.value.accepted, caught.value.delivered) == (3, 2, 2)
            assert [await anext(stream), await anext(stream)] == ["1", "2"]

    run(main())
    with encke.connect(server) as client:
        with pytest.raises(Refused, match=words) as caught:
            client.send_many(messages)  # type: ignore[arg-type]
        assert (caught.value.status, caught.value.line, caught.value.accepted) == (400, 3, 2)


def test_what_are_no_messages() -> None:
    """Neither is sent."""

    async def live() -> AsyncIterator[tuple[str, str]]:
        yield "1", "x"

    with Peer() as peer, encke.connect(peer.url) as client:
        with pytest.raises(BadMessage, match="int"):
            client.send_many(5)  # type: ignore[arg-type]
        with pytest.raises(BadMessage, match="aio"):
            client.send_many(live())  # type: ignore[arg-type]
        with pytest.raises(BadMessage, match="int"):
            run(client.aio.send_many(5))  # type: ignore[arg-type]


def test_unavailable_says_what_was_taken() -> None:
    """So who goes on behind those doubles none."""
    with Half() as peer, encke.connect(peer.url) as client:
        with pytest.raises(Unavailable) as caught:
            client.send_many(("1", str(n)) for n in range(100_000))
        told = caught.value
        assert (told.accepted, told.delivered, told.retry_after) == (3, 2, 4.0)
        with pytest.raises(Unavailable) as again:
            run(client.aio.send_many([("1", "x")] * 100_000))
        assert (again.value.accepted, again.value.delivered) == (3, 2)


def test_a_live_source_stops_with_the_server() -> None:
    """Once the server has answered, nothing more is taken from a source that would go on."""

    async def live() -> AsyncIterator[tuple[str, str]]:
        while True:
            yield "1", "x"
            await asyncio.sleep(0.01)

    def plain() -> Iterator[tuple[str, str]]:
        for _ in range(10_000):
            yield "1", "x" * 10_000

    with Half() as peer, encke.connect(peer.url) as client:
        with pytest.raises(Unavailable):
            run(client.aio.send_many(live()))
        with pytest.raises(Unavailable):
            client.send_many(plain())


def test_a_router_that_dies_costs_no_counts() -> None:
    """With a real server: what was taken before its router was killed is said."""

    async def main(node: Node) -> None:
        async with Client(node.url) as client, client.listen("1") as stream:

            async def live() -> AsyncIterator[tuple[str, str]]:
                while True:
                    for n in range(20):
                        yield "1", str(n)
                        assert await anext(stream) == str(n)
                    os.kill(node.pid_of("router"), signal.SIGKILL)
                    while True:
                        yield "1", "x"
                        await asyncio.sleep(0.001)

            with pytest.raises(Unavailable) as caught:
                await client.send_many(live())
            assert caught.value.accepted >= 19

    with Node("--gateways", "2") as node:
        run(main(node))
