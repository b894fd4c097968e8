"""A peer for the client that answers as a test tells it, rightly or wrongly."""

import asyncio
from collections.abc import Coroutine
from typing import Self, TypeVar

T = TypeVar("T")

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
"""The head of a stream of events; `chunk`s follow, and an empty one at its end."""

NOBODY = "http://127.0.0.1:9"
"""Where no server is."""


def run(coroutine: Coroutine[object, object, T]) -> T:
    """Run it, but not for ever."""

    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await coroutine

    return asyncio.run(bounded())


class Peer:
    """A server that answers each connection as it is told, and remembers the requests.

    What it is told is bytes, after which it closes, or None: it says nothing.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
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
        finally:
            writer.close()
            await writer.wait_closed()


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
