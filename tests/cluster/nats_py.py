"""The usual NATS client in Python, in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Self, TypeVar

import nats
from nats.aio.client import Client

T = TypeVar("T")


class NatsPy:
    """A connected nats-py client; `do` runs something with it."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.client: Client = self.do(nats.connect(url, allow_reconnect=False))

    def later(self, coroutine: Coroutine[object, object, T]) -> "Future[T]":
        """What `coroutine` will return."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def do(self, coroutine: Coroutine[object, object, T]) -> T:
        """What `coroutine` returns."""
        return self.later(coroutine).result(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()
