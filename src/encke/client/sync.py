"""The client for scripts: the asyncio client's coroutines, run to their end one at a time."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Self, TypeVar

from .aio import DEFAULT_URL, Client, Messages, Sent, Wait
from .listener import Listener, Message, OnLost, OnOpen

T = TypeVar("T")


def connect(url: str = DEFAULT_URL, api_key: str = "", *, timeout: float = 30.0) -> "Connection":
    """A server's senders and listeners, for scripts; the arguments are those of `Client`.

    Nothing is connected before it is needed. Raises BadSettings if `url` is none.
    """
    return Connection(Client(url, api_key, timeout=timeout))


class Connection:
    """What `Client` is, without `await`. For one thread, and outside of a running event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections, those of streams too."""
        try:
            _run(self._runner, self._client.aclose())
        finally:
            self._runner.close()

    def send(self, id: str, message: str | bytes, *, wait: Wait = "") -> int:
        """See `Client.send`."""
        return _run(self._runner, self._client.send(id, message, wait=wait))

    def send_many(self, messages: Messages, *, wait: Wait = "") -> Sent:
        """See `Client.send_many`."""
        return _run(self._runner, self._client.send_many(messages, wait=wait))

    def publish(self, id: str, message: str | bytes, *, wait: Wait = "") -> int:
        """See `Client.publish`."""
        return _run(self._runner, self._client.publish(id, message, wait=wait))

    def publish_many(self, messages: Messages, *, wait: Wait = "") -> Sent:
        """See `Client.publish_many`."""
        return _run(self._runner, self._client.publish_many(messages, wait=wait))

    def listen(
        self,
        id: str,
        *,
        reconnect: bool = True,
        on_open: OnOpen | None = None,
        on_lost: OnLost | None = None,
    ) -> "Stream":
        """See `Client.listen`; the iteration is a plain `for`, the block a plain `with`."""
        listener = self._client.listen(id, reconnect=reconnect, on_open=on_open, on_lost=on_lost)
        return Stream(listener, self._runner)


class Stream(Iterator[Message]):
    """What `Listener` is, without `await`."""

    def __init__(self, listener: Listener, runner: asyncio.Runner) -> None:
        self._listener = listener
        self._runner = runner

    def __enter__(self) -> Self:
        _run(self._runner, self._listener.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> Message:
        try:
            return _run(self._runner, self._listener.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """See `Listener.aclose`."""
        _run(self._runner, self._listener.aclose())


def _run(runner: asyncio.Runner, coroutine: Coroutine[object, object, T]) -> T:
    try:
        return runner.run(coroutine)
    finally:
        coroutine.close()  # if Ctrl-C came before it was begun
