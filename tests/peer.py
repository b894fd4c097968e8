"""A peer for the client that answers as a test tells it, rightly or wrongly."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Self, TypeVar

T = TypeVar("T")

PATIENCE = 30.0

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
"""The head of a stream of events; `chunk`s follow, and an empty one at its end."""

NOBODY = "http://127.0.0.1:9"
"""Where no server is."""


def run(coroutine: Coroutine[object, object, T]) -> T:
    """Run it, but not for ever."""

    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE):
            return await coroutine

    return asyncio.run(bounded())


class Loopback:
    """A server on a free port of loopback, which has `serve` talk to each who connects, and then
    closes: on the loop that is running, or (`with`) in a thread of its own."""

    def __init__(self) -> None:
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)))
        self._thread.start()
        assert ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def _run(self, ready: threading.Event) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with self:
            ready.set()
            await self._over.wait()
            for task in self._serving:
                task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()


class Peer(Loopback):
    """Answers each connection as it is told, and remembers the requests.

    What it is told is bytes, after which it closes, or None: it says nothing.
    """

    def __init__(self, *answers: bytes | None) -> None:
        super().__init__()
        self.answers = list(answers)
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(request)
        if b"transfer-encoding: chunked" in request.lower():
            await reader.readuntil(b"0\r\n\r\n")
        answer = self.answers.pop(0)
        if answer is None:
            await reader.read()  # until the client closes
        else:
            writer.write(answer)
            await writer.drain()


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def last(status: str, body: bytes = b"", *headers: str) -> bytes:
    """An answer after which a Peer closes, and says so: who asks again needn't find out."""
    return answer(status, body, "Connection: close", *headers)
