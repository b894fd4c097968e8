"""Connections of event loops: each loop has its own, made when it first needs some.

A loop's are used on that loop alone; they are closed when it ends.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Protocol

from . import forks
from .answers import closed, unreachable
from .loop_wire import Filling, Items, LoopWire
from .pool import KEPT
from .posts import Lines
from .reader import Answer
from .server import Server, seconds, tls

AT_ONCE = 100
"""Requests of a loop that are under way at once, at most; others wait for them."""


class Stopping(Protocol):
    """A listener whose stream is open."""

    def stop(self) -> None:
        """Close it soon."""

    async def aclose(self) -> None:
        """Until it's closed."""


class LoopPool:
    """A server's connections."""

    def __init__(self, server: Server, timeout: float) -> None:
        self.server = server
        self.timeout = timeout
        self.listeners: set[Stopping] = set()
        """Those that are open."""
        self._idle: list[LoopWire] = []
        self._room = asyncio.Semaphore(AT_ONCE)
        self._stopped: list[Stopping] = []
        self._closed = False
        self._keeper = self._while_loop_runs()

    async def begin(self) -> None:
        """Have the loop close it in its end, as it closes all asynchronous generators."""
        await anext(self._keeper)

    async def ask(self, request: bytes) -> Answer:
        """The answer to a request that is sent once.

        Raises Closed, Unreachable, Interrupted.
        """
        async with self._room:
            wire = await self._take()
            try:
                answer = await wire.ask(request)
            except BaseException:
                wire.close()
                raise
            self._give(wire)
        return answer

    async def stream(self, head: bytes, items: Items, lines: Lines) -> Answer:
        """The answer to a request whose body is `items` as `lines`.

        Raises as `ask` does, and what `items` raises.
        """
        async with self._room:
            wire = await self._take()
            filling = Filling(items, lines, wire.news)
            try:
                answer = await wire.stream(head, lines, filling)
            except BaseException:
                wire.close()
                raise
            finally:
                await filling.stop()
            self._give(wire)
        return answer

    async def connect(self) -> LoopWire:
        """A new connection."""
        if self._closed:
            raise closed()
        server = self.server
        try:
            async with asyncio.timeout(self.timeout):
                _, wire = await asyncio.get_running_loop().create_connection(
                    lambda: LoopWire(server, self.timeout),
                    server.host,
                    server.port,
                    ssl=tls() if server.tls else None,
                )
        except OSError as error:  # a TimeoutError is one
            raise unreachable(server.url, error) from error
        return wire

    def close(self) -> None:
        """Close all connections; what is under way is interrupted."""
        self._closed = True
        self._stopped = list(self.listeners)
        for listener in self._stopped:
            listener.stop()
        while self._idle:
            self._idle.pop().close()

    async def closed(self) -> None:
        """Until all that was open is closed, after `close`."""
        await asyncio.gather(*(listener.aclose() for listener in self._stopped))
        await asyncio.sleep(0)  # the transports' turn

    async def _while_loop_runs(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self.close()

    async def _take(self) -> LoopWire:
        while self._idle and not self._closed:
            wire = self._idle.pop()
            if wire.usable():
                return wire
            wire.close()
        return await self.connect()

    def _give(self, wire: LoopWire) -> None:
        if self._closed or not wire.reader.keep or len(self._idle) >= KEPT:
            wire.close()
            return
        wire.since = time.monotonic()
        self._idle.append(wire)


class Loops:
    """A server's connections, by event loop; of any number of threads."""

    def __init__(self, server: Server, timeout: float) -> None:
        self.server = server
        self.timeout = seconds(timeout)
        self._pools: dict[asyncio.AbstractEventLoop, LoopPool] = {}
        self._inherited: list[object] = []
        self._closed = False
        forks.at_fork(self)

    async def here(self) -> LoopPool:
        """Those of the running loop; raises Closed."""
        if self._closed:
            raise closed()
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for other in list(self._pools):
                if other.is_closed():  # these would keep it, and what it has, for ever
                    self._pools.pop(other, None)
            pool = self._pools[loop] = LoopPool(self.server, self.timeout)
            await pool.begin()
        return pool

    def close(self) -> None:
        """Close all connections: those of the running loop now, the others soon."""
        self._closed = True
        here = asyncio._get_running_loop()  # noqa: SLF001 (None where none is running)
        while self._pools:
            loop, pool = self._pools.popitem()
            if loop is here:
                pool.close()
            else:
                with contextlib.suppress(RuntimeError):  # it has ended
                    loop.call_soon_threadsafe(pool.close)

    async def aclose(self) -> None:
        """The same; those of the running loop are closed when it returns."""
        pool = self._pools.get(asyncio.get_running_loop())
        self.close()
        if pool is not None:
            await pool.closed()

    def forget(self) -> None:
        """See forks.Forgetting. They are kept: to let go of a transport here would take it out of
        the parent's epoll."""
        self._inherited.append(self._pools)
        self._pools = {}
