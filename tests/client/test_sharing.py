"""One client for everybody: threads, event loops, forked processes; and its end."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from peer import PATIENCE, Peer, run
from system.node import Node, until

import encke
from encke.client import Client, Sent
from encke.errors import Closed

THREADS = 32
KEPT = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"delivered": 1}'
"""An answer that doesn't say that the connection ends."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a running server."""
    with Node("--gateways", "1") as served:
        yield served.url


def everywhere(work: Callable[[], int]) -> int:
    """Do it in all threads at once; the sum."""
    begin = threading.Barrier(THREADS)

    def one() -> int:
        begin.wait()
        return work()

    with ThreadPoolExecutor(THREADS) as threads:
        return sum(each.result() for each in [threads.submit(one) for _ in range(THREADS)])


def test_threads_share_one(server: str) -> None:
    """Threads send, at once, through one connection; each message arrives."""
    with encke.connect(server) as client, client.listen("shared") as stream:
        assert everywhere(lambda: sum(client.send("shared", "x") for _ in range(20))) == 640
        assert [next(stream) for _ in range(640)] == ["x"] * 640
        many = [("shared", "y")] * 10
        assert everywhere(lambda: client.send_many(many).delivered) == 320


def test_loops_share_one(server: str) -> None:
    """Event loops come and go in many threads, and all may use one client."""
    client = Client(server)

    async def some() -> int:
        return sum(await asyncio.gather(*(client.send("loops", "x") for _ in range(5))))

    with encke.connect(server) as plain, plain.listen("loops") as stream:
        work = lambda: sum(asyncio.run(some()) for _ in range(3))  # noqa: E731
        assert everywhere(work) == THREADS * 15
        assert [next(stream) for _ in range(THREADS * 15)] == ["x"] * THREADS * 15
    client.close()


def test_a_loop_that_has_ended_leaves_nothing(server: str) -> None:
    """A loop's connections are closed with it, and not known any more."""
    client = Client(server)
    for _ in range(3):
        assert asyncio.run(client.send("nobody", "x")) == 0
        (pool,) = client._loops._pools.values()
        assert pool._idle == []

    async def again() -> None:
        await client.send("nobody", "x")
        assert list(client._loops._pools) == [asyncio.get_running_loop()]
        await client.aclose()

    run(again())


def test_code_that_awaits_has_the_same_client(server: str) -> None:
    """`aio` is the client for event loops; the plain methods work where a loop runs, too."""
    with encke.connect(server) as client:

        async def main() -> None:
            assert await client.aio.send("nobody", "x") == 0
            assert client.send("nobody", "x") == 0
            async with client.aio.listen("both") as stream:
                assert client.send_many([("both", "1"), ("both", "2")]) == Sent(2, 2)
                assert [await anext(stream), await anext(stream)] == ["1", "2"]

        run(main())
        run(main())
        assert client.aio is client.aio
    with pytest.raises(Closed):
        run(client.aio.send("1", "x"))


def forked(work: Callable[[], bool]) -> bool:
    """Do it in a forked process; whether it was right."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def test_after_a_fork(server: str) -> None:
    """A child has connections of its own; what it closes is open in the parent."""
    with encke.connect(server) as client, client.listen("parent") as stream:
        assert client.send("parent", "1") == 1

        def child() -> bool:
            sent = client.send("parent", "2") == 1 and asyncio.run(client.aio.send("x", "")) == 0
            client.close()
            return sent

        assert forked(child)
        assert client.send("parent", "3") == 1
        assert [next(stream) for _ in range(3)] == ["1", "2", "3"]


def test_a_fork_within_a_loop(server: str) -> None:
    """A child of a program whose loop runs has loops of its own."""

    async def main() -> None:
        async with Client(server) as client, client.listen("loop") as stream:
            assert await client.send("loop", "1") == 1

            def child() -> bool:
                asyncio.events._set_running_loop(None)  # as multiprocessing does
                return asyncio.run(client.send("loop", "2")) == 1

            assert forked(child)
            assert await client.send("loop", "3") == 1
            assert [await anext(stream) for _ in range(3)] == ["1", "2", "3"]

    run(main())


def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    """A server that has gone and come back costs no message."""
    with Peer(KEPT, KEPT, KEPT) as peer, encke.connect(peer.url) as client:
        for _ in range(3):
            assert client.send("1", "x") == 1
            (idle,) = client._pool._idle
            until(lambda idle=idle: not idle.usable(), "it's closed")  # type: ignore[misc]
        assert len(peer.requests) == 3


def test_the_end_is_the_end(server: str) -> None:
    """Closing twice is fine; what is asked afterwards is Closed, and nothing is open."""
    client = encke.connect(server)
    stream = client.listen("end")
    with stream:
        assert client.send("end", "x") == 1
        client.close()
        client.close()
        assert list(stream) == []
    for attempt in (
        lambda: client.send("1", "x"),
        lambda: client.send_many([("1", "x")]),
        lambda: client.friends.add("1", "2"),
        lambda: next(client.listen("1")),
    ):
        with pytest.raises(Closed):
            attempt()

    async def main() -> None:
        client = Client(server)
        await client.send("1", "x")
        await client.aclose()
        await client.aclose()
        with pytest.raises(Closed):
            await client.send("1", "x")
        with pytest.raises(Closed):
            await anext(client.listen("1"))

    run(main())


def test_a_client_closed_elsewhere(server: str) -> None:
    """Who closes a client from another thread ends the listeners of its loops."""
    client = Client(server)
    opened = threading.Event()

    async def collect() -> list[str]:
        return [message async for message in client.listen("far", on_open=opened.set)]

    with ThreadPoolExecutor(1) as threads:
        collecting = threads.submit(asyncio.run, collect())
        assert opened.wait(30)
        client.close()
        assert collecting.result(30) == []


def test_nobody_must_close_it(server: str) -> None:
    """A program that ends with its client open ends without a warning."""
    program = (
        "import asyncio, sys, encke\n"
        "client = encke.connect(sys.argv[1])\n"
        "client.send('1', 'x'), asyncio.run(client.aio.send('1', 'x'))\n"
        "stream = client.listen('1').__enter__()\n"
    )
    command = [sys.executable, "-X", "dev", "-c", program, server]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
