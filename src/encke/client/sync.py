"""The plain client: for scripts, threads, and everything that doesn't await."""

import importlib
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Self

from ..errors import BadMessage
from .feed import Feed, OnLost, OnOpen
from .friends import Friends
from .pool import Pool
from .posts import Lines, Sent, Verb, Wait, bulk, bulk_path, delivered, sent, single
from .server import DEFAULT_CONTROL, DEFAULT_URL, Server
from .stream import Stream

if TYPE_CHECKING:
    from .aio import Client

Messages = Iterable[tuple[str, str | bytes]]
"""(id, message) each."""


def connect(
    url: str = DEFAULT_URL,
    api_key: str = "",
    *,
    timeout: float = 30.0,
    control: str = DEFAULT_CONTROL,
) -> "Connection":
    """A server's senders and listeners, for any number of threads; in asyncio programs its `aio`.

    The arguments are those of `Client`. Nothing is connected before it is needed.

    Raises BadSettings if an address is none.
    """
    return Connection(url, api_key, timeout=timeout, control=control)


class Connection:
    """What `Client` is, without `await`.

    Make one for a program, and use it wherever you like: from any number of threads at once, and
    in processes that are forked. Each request takes a connection that is free, or a new one.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str = "",
        *,
        timeout: float = 30.0,
        control: str = DEFAULT_CONTROL,
    ) -> None:
        self._server = Server(url, api_key)
        self._pool = Pool(self._server, timeout)
        self._asked = (url, api_key, timeout, control)
        self._aio: list[Client] = []
        self._closed = False
        self.friends = Friends(Server(control, api_key), timeout)
        """Who is subscribed to whom."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def aio(self) -> "Client":
        """The same server for code that awaits, in any event loop; closed with this one."""
        if not self._aio:  # asyncio is only imported (40 ms) if needed
            url, api_key, timeout, control = self._asked
            client: Client = importlib.import_module(".aio", __package__).Client(
                url, api_key, timeout=timeout, control=control
            )
            if self._closed:
                client.close()
            self._aio.append(client)  # two threads at once: the first one's is everybody's
        return self._aio[0]

    def close(self) -> None:
        """Close all connections, those of streams too. May be called again."""
        self._closed = True
        self._pool.close()
        self.friends.close()
        for client in self._aio:
            client.close()

    def send(self, id: str, message: str | bytes, *, wait: Wait = "") -> int:
        """See `Client.send`."""
        return self._one("send", id, message, wait)

    def send_many(self, messages: Messages, *, wait: Wait = "") -> Sent:
        """See `Client.send_many`."""
        return self._many("send", messages, wait)

    def publish(self, id: str, message: str | bytes, *, wait: Wait = "") -> int:
        """See `Client.publish`."""
        return self._one("publish", id, message, wait)

    def publish_many(self, messages: Messages, *, wait: Wait = "") -> Sent:
        """See `Client.publish_many`."""
        return self._many("publish", messages, wait)

    def listen(
        self,
        id: str,
        *,
        reconnect: bool = True,
        on_open: OnOpen | None = None,
        on_lost: OnLost | None = None,
    ) -> Stream:
        """See `Client.listen`; the iteration is a plain `for`, the block a plain `with`."""
        return Stream(self._pool, Feed(self._server, id), reconnect, on_open, on_lost)

    def _one(self, verb: Verb, id: str, message: str | bytes, wait: Wait) -> int:
        server = self._server
        return delivered(self._pool.ask(single(server, verb, id, message, wait)), server)

    def _many(self, verb: Verb, messages: Messages, wait: Wait) -> Sent:
        lines = Lines()
        head = bulk(self._server, bulk_path(verb, wait), lines.content_type)
        answer = self._pool.stream(head, iterable(messages), lines)
        return sent(answer, lines, self._server)


def iterable(messages: object) -> Iterable[object]:
    """`messages`, checked for who has no type checker; raises BadMessage."""
    if isinstance(messages, Iterable):
        return messages
    hint = " (an asynchronous one is for `aio`)" if isinstance(messages, AsyncIterable) else ""
    raise BadMessage(f"It takes an iterable of pairs, and not {type(messages).__name__}{hint}.")
