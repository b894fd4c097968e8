"""The asyncio client: for any number of tasks, of any number of event loops."""

from collections.abc import AsyncIterable, Iterable
from typing import Self

from ..errors import BadMessage
from .aio_friends import AsyncFriends
from .feed import Feed, OnLost, OnOpen
from .listener import Listener
from .loops import Loops
from .posts import Lines, Sent, Verb, Wait, bulk, bulk_path, delivered, sent, single
from .server import DEFAULT_CONTROL, DEFAULT_URL, Server

Messages = Iterable[tuple[str, str | bytes]] | AsyncIterable[tuple[str, str | bytes]]
"""(id, message) each."""


class Client:
    """A server's senders and listeners, for asyncio programs.

    Use it as ``async with Client(url) as client``, or `aclose` it. It keeps its
    connections open between requests, and may be used by any number of tasks at once, also of
    several event loops: each loop has connections of its own.

    `url` is where the server's public port is, as ``http://HOST:PORT``; a path before
    Encke's own, as behind a proxy, is kept. `api_key` is the key for sending, if the
    server asks for one. `timeout` is how long, in seconds, the server may take to answer.
    `control` is where its control port is; only `friends` needs that.

    Raises BadSettings if an address is none.
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
        self._loops = Loops(self._server, timeout)
        self.friends = AsyncFriends(Server(control, api_key), timeout)
        """Who is subscribed to whom."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections, those of listeners too. May be called again."""
        await self.friends.aclose()
        await self._loops.aclose()

    def close(self) -> None:
        """As `aclose`, where nothing can be awaited: what other loops have is closed soon."""
        self.friends.close()
        self._loops.close()

    async def send(self, id: str, message: str | bytes, *, wait: Wait = "") -> int:
        """Send `message` to the user `id`; the number of connections that got it.

        0: the user has no connection, and the message went nowhere. Bytes must be UTF-8.
        In a cluster that is the number of this node, and the message was handed on to the
        others; with `wait` "cluster" all of them are asked, and the number is that of all.

        Raises BadUserId and BadMessage before anything is sent; Unreachable if there is no
        server; Interrupted if it is unknown whether the message was delivered; Unavailable if
        the server can't take it now; Refused if it never will; Closed after `aclose`.
        """
        return await self._one("send", id, message, wait)

    async def send_many(self, messages: Messages, *, wait: Wait = "") -> Sent:
        """Send `messages`, each an (id, message), in one request of any length.

        They are taken as fast as the server takes them, and are never all in memory.
        What an AsyncIterable gives is sent at once, and may be a live source as long as
        it doesn't pause for longer than the server's body timeout; what an Iterable
        gives is sent in blocks of 64 KiB. `wait` is as in `send`.

        Raises as `send` does. A message that is wrong ends the request: Refused, with
        its number, and with what became of those before it, which stay delivered. So does a
        server that can't go on: Unavailable says how many were taken. What
        `messages` itself raises comes through; those before it may have been delivered.
        """
        return await self._many("send", messages, wait)

    async def publish(self, id: str, message: str | bytes, *, wait: Wait = "") -> int:
        """Publish `message` as the user `id`: it goes to everyone who subscribes to `id`, and to
        `id`; the number of connections that got it.

        Who subscribes is looked up now. `wait` is as in `send`. Raises as `send` does;
        Unavailable also if the server can't reach its store of friends.
        """
        return await self._one("publish", id, message, wait)

    async def publish_many(self, messages: Messages, *, wait: Wait = "") -> Sent:
        """Publish `messages`, each a (publisher's id, message), in one request of any length.

        As `send_many`, but each message goes where `publish` sends it.
        """
        return await self._many("publish", messages, wait)

    def listen(
        self,
        id: str,
        *,
        reconnect: bool = True,
        on_open: OnOpen | None = None,
        on_lost: OnLost | None = None,
    ) -> Listener:
        """The messages to the user `id`, from the moment the stream is open; see Listener.

        Raises BadUserId.
        """
        return Listener(self._loops, Feed(self._server, id), reconnect, on_open, on_lost)

    async def _one(self, verb: Verb, id: str, message: str | bytes, wait: Wait) -> int:
        request = single(self._server, verb, id, message, wait)
        pool = await self._loops.here()
        return delivered(await pool.ask(request), self._server)

    async def _many(self, verb: Verb, messages: Messages, wait: Wait) -> Sent:
        lines = Lines()
        head = bulk(self._server, bulk_path(verb, wait), lines.content_type)
        if not isinstance(messages, (Iterable, AsyncIterable)):
            raise BadMessage(f"It takes an iterable of pairs, not {type(messages).__name__}.")
        pool = await self._loops.here()
        return sent(await pool.stream(head, messages, lines), lines, self._server)
