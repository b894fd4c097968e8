"""The load tools as a user runs them: processes, read line by line; and servers for them."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from peer import Loopback, answer

from bench.servers.nginx import nchan_missing
from bench.tools import F, Flooded, Generated, Tool, flood, generate

__all__ = ["Flooded", "Generated", "Tool", "answer"]

needs_nchan = pytest.mark.skipif(nchan_missing() is not None, reason="no nchan")


@contextlib.contextmanager
def flooding(url: str, *arguments: str) -> Iterator[Tool[Flooded]]:
    """A flood, once all of its streams are open."""
    with flood("--url", url, *arguments, every=0.1) as tool:
        tool.until(lambda figures: figures.event == "connected")
        yield tool


def flooded(*arguments: str) -> tuple[int, Flooded, str]:
    """A flood that ends by itself."""
    with flood(*arguments, every=0.1) as tool:
        return ended(tool)


def generated(url: str, *arguments: str) -> tuple[int, Generated, str]:
    """A run of the generator."""
    with generate(url, *arguments, every=0.1) as tool:
        return ended(tool)


def interrupted(flood: Tool[Flooded]) -> tuple[int, Flooded, str]:
    """The end of a flood by Ctrl-C."""
    return ended(flood, signal.SIGINT)


def ended(tool: Tool[F], number: int = 0) -> tuple[int, F, str]:
    """Exit code, last line, and what it complained of; after a signal, if one is given."""
    if number:
        tool.process.send_signal(number)
    last = tool.result()
    return tool.process.returncode, last, tool.complaints


class StandIn(Loopback):
    """A server that answers each request's bytes as `answer` says; None: it closes.

    `answer` is called with the whole request, head and body, on one thread.
    """

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        super().__init__()
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        while piece := await reader.read(65536):
            data += piece
            while (end := _request_end(data)) is not None:
                answer = self._answer(data[:end])
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
                data = data[end:]
                if b"\r\nConnection: close\r\n" in answer:
                    writer.write_eof()
                    await reader.read()  # closing with something unread would destroy the answer
                    return


class Counting(Loopback):
    """A server whose streams say nothing; it counts how often each path was opened, and how the
    connections ended."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: Counter[str] = Counter()
        self.fins = self.resets = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.opened[head.split()[1].decode()] += 1
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await reader.read()
            self.fins += 1
        except ConnectionResetError:
            self.resets += 1


def _request_end(data: bytes) -> int | None:
    """Where the first whole request in `data` ends."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return None
    if b"Transfer-Encoding: chunked" in head:
        end = body.find(b"0\r\n\r\n")  # no message has that in it
        return len(head) + 4 + end + 5 if end >= 0 else None
    length = 0
    if b"Content-Length: " in head:
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    return len(head) + 4 + length if len(body) >= length else None
