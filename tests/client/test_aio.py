"""The Python client, against the real server, and against peers that misbehave."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from peer import NOBODY, STREAM, Peer, last, run
from system.node import Node

import encke
from encke.client import Client, Sent
from encke.client.loop_wire import Filling
from encke.client.posts import WRITE_SIZE, Lines
from encke.errors import (
    BadSettings,
    BadUserId,
    EnckeError,
    Interrupted,
    Refused,
    SendError,
    Unavailable,
    Unreachable,
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a running server."""
    with Node("--gateways", "1") as served:
        yield served.url


# sending


def test_send_says_how_many_got_it(server: str) -> None:
    """`send` returns the number of connections, and the message arrives as it was."""

    async def main() -> None:
        async with Client(server) as client:
            assert await client.send("nobody", "x") == 0
            async with client.listen("two") as one, client.listen("two") as other:
                for message in ("Hello World", "Grüße ☄", "two\nlines", "", " x ", "data: y"):
                    assert await client.send("two", message) == 2
                    assert [await anext(one), await anext(other)] == [message, message]
                assert await client.send("two", "Grüße".encode()) == 2
                assert await anext(one) == "Grüße"

    run(main())


@pytest.mark.parametrize("id", ["1", "a-b_c.d~e@f:g", "...", ".x", "x" * 128])
def test_every_user_id_is_reached(server: str, id: str) -> None:
    """Each allowed id arrives as itself, also one that begins like a place in a path."""

    async def main() -> None:
        async with Client(server) as client, client.listen(id) as stream:
            assert await client.send(id, "for " + id) == 1
            assert await anext(stream) == "for " + id

    run(main())


@pytest.mark.parametrize("id", ["", "a b", "a/b", "ü", "x" * 129, "%2e", ".", ".."])
def test_a_wrong_id_is_refused_before_anything_is_sent(id: str) -> None:
    """`send` and `listen` raise BadUserId where there isn't even a server."""

    async def main() -> None:
        async with Client(NOBODY) as client:
            with pytest.raises(BadUserId):
                await client.send(id, "x")
            with pytest.raises(BadUserId):
                client.listen(id)

    run(main())


def test_many_arrive_in_order(server: str) -> None:
    """`send_many` delivers each message once, in order, and counts them."""
    messages = [("many", f"message {i} " + "x" * (i % 300)) for i in range(5000)]

    async def main() -> None:
        async with Client(server) as client, client.listen("many") as stream:
            sending = asyncio.create_task(client.send_many(messages))
            assert [await anext(stream) for _ in messages] == [data for _, data in messages]
            assert await sending == Sent(accepted=5000, delivered=5000)
            assert await client.send_many([]) == Sent(accepted=0, delivered=0)

    run(main())


def test_a_live_source_is_sent_at_once(server: str) -> None:
    """What an asynchronous source gives arrives before the source has ended."""

    async def main() -> None:
        async with Client(server) as client, client.listen("live") as stream:

            async def source() -> AsyncIterator[tuple[str, str]]:
                for i in range(3):
                    yield "live", f"question {i}"
                    assert await anext(stream) == f"question {i}"

            assert await client.send_many(source()) == Sent(accepted=3, delivered=3)

    run(main())


def test_a_bad_line_is_named_and_the_ones_before_it_stay(server: str) -> None:
    """Refused carries the line's number and what became of those before it."""

    async def main() -> None:
        async with Client(server) as client, client.listen("good") as stream:
            messages = [("good", "1"), ("nobody", "2"), ("bad id", "3"), ("good", "4")]
            with pytest.raises(Refused) as caught:
                await client.send_many(messages)
            refused = caught.value
            assert (refused.status, refused.line) == (400, 3)
            assert (refused.accepted, refused.delivered) == (2, 1)
            assert await client.send("good", "5") == 1
            assert [await anext(stream), await anext(stream)] == ["1", "5"]

    run(main())


def test_what_the_source_raises_comes_through(server: str) -> None:
    """An error of the caller's own messages is not hidden, and the client goes on."""

    def source() -> Iterator[tuple[str, str]]:
        yield "1", "x"
        raise LookupError("no more")

    async def main() -> None:
        async with Client(server) as client:
            with pytest.raises(LookupError, match="no more"):
                await client.send_many(source())
            assert await client.send("1", "x") == 0

    run(main())


def test_many_are_never_all_in_memory() -> None:
    """Of an endless source no more is taken than two blocks ahead of the network."""
    taken = 0

    def endless() -> Iterator[tuple[str, str]]:
        nonlocal taken
        while True:
            taken += 1
            yield "1", "x" * 1000

    async def main() -> None:
        lines, news = Lines(), asyncio.Event()
        filling = Filling(endless(), lines, news)
        for number in range(1, 20):
            await news.wait()
            for _ in range(10):
                await asyncio.sleep(0)  # let it take whatever it wants
            assert WRITE_SIZE <= len(lines.take()) < WRITE_SIZE + 2000
            assert taken <= number * (WRITE_SIZE // 1000 + 1)
            news.clear()
            filling.room.set()
        await filling.stop()

    run(main())


# publishing


def test_publishing_is_sending_elsewhere() -> None:
    """`publish` and `publish_many` post to /publish, with the key, and return what came of it."""

    async def main() -> None:
        one = last("200 OK", b'{"delivered": 16}')
        many = last("200 OK", b'{"accepted": 2, "delivered": 31}')
        async with Peer(one, many) as peer, Client(peer.url, "secret") as client:
            assert await client.publish("a@b", "Hello friends") == 16
            assert await client.publish_many([("1", "x"), ("2", "y")]) == Sent(2, 31)
            single, bulk = peer.requests
            assert single.startswith(b"POST /publish/a@b HTTP/1.1\r\n")
            assert bulk.startswith(b"POST /publish HTTP/1.1\r\n")
            for request in peer.requests:
                assert b"\r\nAuthorization: Bearer secret\r\n" in request
            assert b"\r\nContent-Type: application/x-ndjson\r\n" in bulk
            with pytest.raises(BadUserId):
                await client.publish("a b", "x")

    run(main())


# failures


def test_no_server_is_unreachable() -> None:
    """Without a server every verb raises Unreachable, which says what to do."""

    async def main() -> None:
        async with Client(NOBODY) as client:
            for attempt in (
                client.send("1", "x"),
                client.publish("1", "x"),
                client.send_many([("1", "x")]),
                client.publish_many([("1", "x")]),
            ):
                with pytest.raises(Unreachable, match=r"Connection refused.*encke serve"):
                    await attempt
            with pytest.raises(Unreachable, match="Connection refused"):
                await anext(client.listen("1"))
            with pytest.raises(Unreachable):
                async with client.listen("1"):
                    pytest.fail("not reachable")

    run(main())


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://localhost", "http://", "http://a:b"])
def test_a_wrong_address_is_told_at_once(url: str) -> None:
    """BadSettings names what was given, and the form that is wanted."""
    with pytest.raises(BadSettings, match="http://HOST:PORT"):
        Client(url)


FAILURES: list[tuple[bytes, type[EnckeError], str]] = [
    (b"", Interrupted, "broke off"),
    (b"HTTP/1.1 200 OK\r\nContent-Len", Interrupted, "broke off"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Interrupted, "broke off"),
    (b"220 smtp.example.org ESMTP\r\n", Interrupted, "broke off"),
    (last("200 OK", b"<html>"), Interrupted, "no Encke"),
    (last("200 OK", b'{"delivered": "many"}'), Interrupted, "no Encke"),
    (last("404 Not Found", b"<html>"), Refused, "is it Encke"),
    (last("413 Content Too Large", b'{"detail": "Send less."}'), Refused, "Send less"),
    (last("401 Unauthorized", b'{"title": "Who are you?"}'), Refused, "Who are you"),
    (last("301 Moved", b"", "Location: http://b/"), Refused, "http://b/; use that"),
    (last("502 Bad Gateway", b"\xff"), Unavailable, "Bad Gateway"),
    (last("501 Not Implemented"), Refused, "Not Implemented"),
]


@pytest.mark.parametrize(("raw", "kind", "words"), FAILURES)
def test_every_failure_is_one_of_ours(raw: bytes, kind: type[EnckeError], words: str) -> None:
    """Whatever a peer answers, the error is of Encke's tree and says what to do."""

    async def main() -> None:
        async with Peer(raw, raw, raw) as peer, Client(peer.url) as client:
            for attempt in (client.send("1", "x"), client.send_many([("1", "x")])):
                with pytest.raises(kind, match=words) as caught:
                    await attempt
                assert type(caught.value) is kind
            with pytest.raises(SendError):
                await anext(client.listen("1"))

    run(main())


def test_unavailable_says_when_to_come_back() -> None:
    """A 503 is Unavailable, with the server's Retry-After in seconds."""

    async def main() -> None:
        busy = last("503 Service Unavailable", b'{"detail": "Starting."}', "Retry-After: 7")
        async with Peer(busy) as peer, Client(peer.url) as client:
            with pytest.raises(Unavailable) as caught:
                await client.send("1", "x")
            assert caught.value.retry_after == 7.0
            assert caught.value.detail == "Starting."

    run(main())


def test_nothing_is_sent_twice() -> None:
    """A message whose answer is lost is not repeated: it may have been delivered."""

    async def main() -> None:
        async with Peer(b"", last("200 OK", b'{"delivered": 1}')) as peer:
            async with Client(peer.url) as client:
                with pytest.raises(Interrupted):
                    await client.send("1", "x")
            assert len(peer.requests) == 1

    run(main())


def test_a_silent_server_is_not_waited_for_for_ever() -> None:
    """After `timeout` without an answer, sending and the opening of a stream give up."""

    async def main() -> None:
        async with Peer(None, None) as peer, Client(peer.url, timeout=0.05) as client:
            with pytest.raises(Interrupted, match="too long"):
                await client.send("1", "x")
            with pytest.raises(Unreachable, match="No answer"):
                await anext(client.listen("1"))

    run(main())


def test_the_key_is_shown_to_senders_only() -> None:
    """The API key goes with what is sent; a stream needs none and shows none."""

    async def main() -> None:
        ok = last("200 OK", b'{"delivered": 1}')
        async with Peer(ok, STREAM) as peer, Client(peer.url + "/chat/", "secret") as client:
            assert await client.send("1", "x") == 1
            async with client.listen("1"):
                pass
            send, listen = peer.requests
            assert send.startswith(b"POST /chat/send/1 HTTP/1.1\r\n")
            assert b"\r\nAuthorization: Bearer secret\r\n" in send
            assert listen.startswith(b"GET /chat/events/1 HTTP/1.1\r\n")
            assert b"secret" not in listen

    run(main())


# scripts


def test_the_twin_for_scripts(server: str) -> None:
    """`connect` does the same without `await`, with and without `with`."""
    with encke.connect(server) as connection:
        assert connection.send("script", "x") == 0
        with connection.listen("script") as stream:
            assert connection.send("script", "one") == 1
            assert connection.send_many([("script", "two"), ("script", "three")]).delivered == 2
            assert [next(stream), next(stream), next(stream)] == ["one", "two", "three"]
        assert list(stream) == []
        with pytest.raises(BadUserId):
            connection.listen("a b")
    connection = encke.connect(NOBODY)
    with pytest.raises(Unreachable):
        connection.send("1", "x")
    with pytest.raises(Unreachable):
        next(connection.listen("1"))
    connection.close()


def test_the_package_is_imported_lazily() -> None:
    """`import encke` brings none of the client's libraries; its names bring them."""
    program = (
        "import sys, encke\n"
        "assert dir(encke) and not {'asyncio', 'ssl', 'msgspec'} & set(sys.modules)\n"
        "assert encke.errors.EnckeError and encke.connect and 'asyncio' not in sys.modules\n"
        "assert encke.Client and 'asyncio' in sys.modules\n"
        "try: encke.nothing\n"
        "except AttributeError: print('fine')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("fine\n", "")
