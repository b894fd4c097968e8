"""Streams that are lost in every way: the listener comes back, in due time."""

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer import STREAM, Loopback, Peer, answer, chunk, run
from system.node import PATIENCE, Node, until

import encke
from encke.client import Client
from encke.client.feed import LONGEST_AFTER, LONGEST_RETRY, Feed
from encke.client.server import Server
from encke.errors import Interrupted, Refused, SendError, Unavailable

GONE = answer("404 Gone")
PAGE = answer("200 OK", b"<html>We'll be back</html>", "Content-Type: text/html")
BEATING = STREAM.replace(b"\r\n\r\n", b"\r\nEncke-Heartbeat: 0.05\r\n\r\n")


class Silent(Loopback):
    """Opens each stream, says one message, and nothing more."""

    head = BEATING

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.head + chunk(b"retry: 10\ndata: x\n\n"))
        await reader.read()


class Quiet(Silent):
    """Has no heartbeats."""

    head = STREAM


def test_a_stopped_server_is_noticed() -> None:
    """A real one, whose processes all stand still, after two and a half heartbeats."""
    lost: list[SendError] = []

    async def main(node: Node) -> None:
        pids = [node.pid, *node.pids()]
        async with Client(node.url) as client:
            stream = client.listen("1", on_lost=lambda error, _: lost.append(error))
            async with stream:
                waiting = asyncio.create_task(anext(stream))
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                try:
                    while not lost:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                finally:
                    for pid in pids:
                        os.kill(pid, signal.SIGCONT)
                while not await client.send("1", "back"):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                assert await waiting == "back"

    with Node("--gateways", "1", "--heartbeat", "1", "--retry", "0.1") as node:
        run(main(node))
    assert isinstance(lost[0], Interrupted)
    assert "heartbeats" in str(lost[0])


def test_silence_is_noticed_in_a_script() -> None:
    """The plain stream comes back as well."""
    lost: list[SendError] = []
    with Silent() as peer, encke.connect(peer.url) as client:
        stream = client.listen("1", on_lost=lambda error, _: lost.append(error))
        with stream:
            assert [next(stream), next(stream), next(stream)] == ["x", "x", "x"]
    assert len(lost) == 2


def test_a_page_in_between_is_an_outage() -> None:
    """A proxy's 200 with a page doesn't end a listener: it comes back, and goes on."""
    first = STREAM + chunk(b"retry: 10\n\n") + b"0\r\n\r\n"
    second = STREAM + chunk(b"data: back\n\n") + b"0\r\n\r\n"
    rest = (PAGE, PAGE, second, GONE)
    lost: list[str] = []
    with Peer(first, *rest, first, *rest) as peer, encke.connect(peer.url) as client:

        async def main() -> None:
            stream = client.aio.listen("1", on_lost=lambda error, _: lost.append(str(error)))
            assert await anext(stream) == "back"
            with pytest.raises(Refused):
                await anext(stream)

        run(main())
        stream = client.listen("1", on_lost=lambda error, _: lost.append(str(error)))
        assert next(stream) == "back"
        with pytest.raises(Refused):
            next(stream)
        assert list(stream) == []
    assert sum("no Encke" in reason for reason in lost) == 4


def test_a_proxy_that_answers_for_the_server_is_no_stream() -> None:
    """What docs/deployment.md has proxies say meanwhile means "not now": nobody is reachable."""
    away = answer(
        "200 OK", b"retry: 10\n: Encke is away\n", "Content-Type: text/event-stream; charset=utf-8"
    )
    first = STREAM + chunk(b"retry: 10\n\n") + b"0\r\n\r\n"
    second = STREAM + chunk(b"data: back\n\n") + b"0\r\n\r\n"
    turn = (away, first, away, second)
    log: list[str] = []
    with Peer(*turn, *turn) as peer, encke.connect(peer.url) as client:
        with pytest.raises(Unavailable, match="Encke is away"):
            next(client.listen("1"))
        stream = client.listen(
            "1", on_open=lambda: log.append("open"), on_lost=lambda why, _: log.append(str(why))
        )
        assert next(stream) == "back"
        stream.close()

        async def main() -> None:
            with pytest.raises(Unavailable, match="Encke is away"):
                await anext(client.aio.listen("1"))
            async with client.aio.listen("1") as stream:
                assert await anext(stream) == "back"

        run(main())
    ended = "The server ended the stream."
    assert log == ["open", ended, "Encke is away (HTTP 200)", "open"]


@given(st.floats(0, 1e9), st.integers(0, 50))
def test_retry_after_is_kept_to_in_bounds(after: float, failures: int) -> None:
    """Never sooner than asked for, up to a limit; never much later."""
    feed = Feed(Server("http://h"), "1")
    for _ in range(failures):
        feed.pause(Interrupted("x"))
    pause = feed.pause(Unavailable(503, "x", after))
    assert pause >= min(after, LONGEST_AFTER)
    assert pause <= max(1.5 * min(after, LONGEST_AFTER), LONGEST_RETRY)


def test_retry_after_is_not_the_same_for_all() -> None:
    """A server that comes back isn't met by everyone at once."""
    pauses = {Feed(Server("http://h"), "1").pause(Unavailable(503, "x", 60)) for _ in range(20)}
    assert len(pauses) == 20


def test_read_ahead_is_counted_in_bytes() -> None:
    """Large messages for a program that is slow wait in the server, not in its memory."""
    message = b"data: " + b"x" * 1_000_000 + b"\n\n"
    written = 0

    class Large(Loopback):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            await reader.readuntil(b"\r\n\r\n")
            writer.write(STREAM)
            for _ in range(200):
                writer.write(chunk(message))
                await writer.drain()
                written += 1
            writer.write(b"0\r\n\r\n")

    async def main() -> None:
        with Large() as peer:
            async with Client(peer.url) as client:
                stream = client.listen("1", reconnect=False)
                assert len(await anext(stream)) == 1_000_000
                before = -1
                while written != before:  # until it waits for us
                    before = written
                    await asyncio.sleep(1)
                assert written < 60  # 200 MB in all; the kernel may have some of it
                rest = [len(message) async for message in stream]
                assert rest == [1_000_000] * 199

    run(main())


def test_a_lost_plain_stream_is_opened_anew() -> None:
    """Through broken streams and 503, with the last id; what is refused for good ends it."""
    events = [b"retry: 10\n\n", b"id: 7\ndata: one\n\n", b"data: cut"]
    first = STREAM + b"".join(chunk(event) for event in events)  # breaks off
    busy = answer("503 Service Unavailable", b"", "Retry-After: 0")
    full = answer(
        "200 OK", b": full\nretry: 9\n", "Content-Type: text/event-stream", "Retry-After: 0"
    )
    second = STREAM + chunk(b"data: two\n\n") + b"0\r\n\r\n"  # is ended
    log: list[str] = []
    with Peer(first, busy, full, b"", second, GONE) as peer, encke.connect(peer.url) as client:
        stream = client.listen(
            "1",
            on_open=lambda: log.append("open"),
            on_lost=lambda error, delay: log.append(type(error).__name__),
        )
        assert [next(stream), next(stream)] == ["one", "two"]
        with pytest.raises(Refused):
            next(stream)
        with pytest.raises(StopIteration):
            next(stream)
        assert all(b"\r\nLast-Event-ID: 7\r\n" in request for request in peer.requests[1:])
    said = ["open", "Interrupted", "Unavailable", "Unavailable", "Interrupted", "open"]
    assert log == [*said, "Interrupted"]


def test_the_end_of_a_plain_stream() -> None:
    """Without reconnection the end is the end; 204 wants no client; a break raises."""
    ended = STREAM + chunk(b"data: a\n\n") + b"0\r\n\r\n"
    broken = STREAM + chunk(b"data: a\n\n")
    gone = b"HTTP/1.1 204 No Content\r\n\r\n"
    with Peer(ended, broken, gone, gone) as peer, encke.connect(peer.url) as client:
        assert list(client.listen("1", reconnect=False)) == ["a"]
        stream = client.listen("1", reconnect=False)
        assert next(stream) == "a"
        with pytest.raises(Interrupted):
            next(stream)
        assert list(client.listen("1")) == []
        with client.listen("1") as closed:
            assert list(closed) == []


def test_another_thread_closes_a_stream() -> None:
    """Who waits for a message, or for the next attempt, ends quietly."""
    ended = STREAM + chunk(b"retry: 60000\n\n") + b"0\r\n\r\n"
    with Quiet() as silent, encke.connect(silent.url) as client, ThreadPoolExecutor(1) as threads:
        stream = client.listen("1", reconnect=False)
        with stream:
            assert next(stream) == "x"
            waiting = threads.submit(lambda: list(stream))
            until(lambda: stream._busy, "it waits")
            stream.close()
            assert waiting.result(PATIENCE) == []
        lost = threading.Event()
        with Peer(ended) as peer, encke.connect(peer.url) as other:
            stream = other.listen("1", on_lost=lambda *_: lost.set())
            waiting = threads.submit(lambda: list(stream))
            assert lost.wait(PATIENCE)
            other.close()
            assert waiting.result(PATIENCE) == []
