"""The load tools as a user runs them: processes, read line by line; and servers for them."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Self

import pytest
from peer import answer

from bench.servers.nginx import nchan_missing
from bench.tools import F, Flooded, Generated, Tool, flood, generate

__all__ = ["Flooded", "Generated", "Tool", "answer"]

PATIENCE = 30.0

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


class StandIn:
    """A server that answers each request's bytes as `answer` says; None: it closes.

    `answer` is called with the whole request, head and body, on one thread.
    """

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                with connection, contextlib.suppress(ConnectionError):
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        while piece := connection.recv(65536):
            data += piece
            while (end := _request_end(data)) is not None:
                answer = self._answer(data[:end])
                if answer is None:
                    return
                connection.sendall(answer)
                data = data[end:]
                if b"\r\nConnection: close\r\n" in answer:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass  # closing with something unread would destroy the answer on its way
                    return


class Counting:
    """A server whose streams say nothing; it counts how often each path was opened, and how the
    connections ended."""

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()
        self.fins = self.resets = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._serve, "127.0.0.1") as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{{}}"
            self._ready.set()
            await self._over.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.opened[head.split()[1].decode()] += 1
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await reader.read()
            self.fins += 1
        except ConnectionResetError:
            self.resets += 1
        finally:
            writer.close()


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
