"""The asyncio client, and how it writes many messages as one request."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import Literal, Self

import httpx
import msgspec

from ..errors import BadSettings, BadUserId
from ..ids import user_id
from .answers import decoded, failure, translated
from .listener import Listener, OnLost, OnOpen, Opener

DEFAULT_URL = "http://127.0.0.1:8000"

WRITE_SIZE = 64 * 1024
"""Bytes of NDJSON that are collected at most before they are written: a message is some
60 bytes, so this makes a thousand of them cost one write; more saves nothing measurable."""

SENDERS = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=30)
"""Connections for sending. An idle one is dropped long before the server does it (75 s):
a message must not meet a connection that is just being closed."""

# A silent stream may be an idle user or a dead network: TCP asks after 30 s, and
# again every 10 s; after three questions without answer the stream is lost.
_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]

Wait = Literal["", "cluster"]
"""What an answer waits for: this node, or all nodes of the cluster."""

_QUERIES: dict[Wait, str] = {"": "", "cluster": "?wait=cluster"}

Messages = Iterable[tuple[str, str]] | AsyncIterable[tuple[str, str]]
"""(id, message) each."""


class Sent(msgspec.Struct, frozen=True):
    """What became of many messages: how many were taken, and how often one was delivered."""

    accepted: int
    delivered: int
    forwarded: int = 0
    """How many were handed on to other nodes of a cluster, unless all were asked (`wait`)."""


class _Delivered(msgspec.Struct):
    delivered: int


class _Line(msgspec.Struct):
    id: str
    data: str


class Client:
    """A server's senders and listeners, for asyncio programs.

    Use it as ``async with Client(url) as client``, or `aclose` it. It keeps its
    connections open between requests, and may be used by any number of tasks at once.

    `url` is where the server's public port is, as ``http://HOST:PORT``; a path before
    Encke's own, as behind a proxy, is kept. `api_key` is the key for sending, if the
    server asks for one. `timeout` is how long, in seconds, the server may take to answer.

    Raises BadSettings if `url` is none.
    """

    def __init__(self, url: str = DEFAULT_URL, api_key: str = "", *, timeout: float = 30.0) -> None:
        self._url = base_url(url)
        secure = self._url.startswith("https:")
        self._timeout = timeout
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # Listeners keep their connections, so they get a pool without a limit: senders
        # would otherwise wait for them. Certificates are only read (20 ms) if needed.
        self._senders = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=secure, limits=SENDERS),
            timeout=httpx.Timeout(timeout, pool=None),
            headers=headers,
        )
        self._streams = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=secure,
                limits=httpx.Limits(max_keepalive_connections=0),
                socket_options=_KEEPALIVE,
            ),
            timeout=None,  # noqa: S113 (a stream may be silent; TCP asks whether it lives)
        )
        self._listeners: set[Listener] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections, those of listeners too. May be called again."""
        for listener in list(self._listeners):
            await listener.aclose()
        await self._streams.aclose()
        await self._senders.aclose()

    async def send(self, id: str, message: str | bytes, *, wait: Wait = "") -> int:
        """Send `message` to the user `id`; the number of connections that got it.

        0: the user has no connection, and the message went nowhere. Bytes must be UTF-8.
        In a cluster that is the number of this node, and the message was handed on to the
        others; with `wait` "cluster" all of them are asked, and the number is that of all.

        Raises BadUserId before anything is sent; Unreachable if there is no server;
        Interrupted if it is unknown whether the message was delivered; Unavailable if
        the server can't take it now; Refused if it never will.
        """
        return await self._one("send", id, message, wait)

    async def send_many(self, messages: Messages, *, wait: Wait = "") -> Sent:
        """Send `messages`, each an (id, message), in one request of any length.

        They are taken as fast as the server takes them, and are never all in memory.
        What an AsyncIterable gives is sent at once, and may be a live source as long as
        it doesn't pause for longer than the server's body timeout; what an Iterable
        gives is sent in blocks of 64 KiB. `wait` is as in `send`.

        Raises as `send` does. A message that is wrong ends the request: Refused, with
        its number, and with what became of those before it, which stay delivered. What
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
    ) -> "Listener":
        """The messages to the user `id`, from the moment the stream is open; see Listener.

        Raises BadUserId.
        """
        opener = Opener(self._streams, self._url, f"/events/{segment(id)}", self._timeout)
        return Listener(opener, self._listeners, reconnect, on_open, on_lost)

    async def _one(self, verb: str, id: str, message: str | bytes, wait: Wait) -> int:
        body = message.encode() if isinstance(message, str) else message
        path = f"/{verb}/{segment(id)}{_QUERIES[wait]}"
        answer = await self._post(path, body, "text/plain; charset=utf-8")
        return decoded(answer, _Delivered, self._url).delivered

    async def _many(self, verb: str, messages: Messages, wait: Wait) -> Sent:
        async with contextlib.aclosing(_blocks(messages)) as blocks:
            path = f"/{verb}{_QUERIES[wait]}"
            answer = await self._post(path, blocks, "application/x-ndjson")
        return decoded(answer, Sent, self._url)

    async def _post(
        self, path: str, content: bytes | AsyncIterator[bytes], content_type: str
    ) -> bytes:
        with translated(self._url):
            response = await self._senders.post(
                self._url + path, content=content, headers={"Content-Type": content_type}
            )
        if response.status_code != 200:
            raise failure(response, self._url)
        return response.content


async def _blocks(messages: Messages) -> AsyncGenerator[bytes]:
    """`messages` as blocks of NDJSON: what came while the last block was being written.

    A block therefore is as large as the network is slow, up to WRITE_SIZE, and no message
    waits for others. A message whose id can't be right ends the blocks: the server
    then refuses it by its number, and says what became of those before it.
    """
    block = bytearray()
    encode_into = msgspec.json.Encoder().encode_into
    filled, emptied = asyncio.Event(), asyncio.Event()

    async def fill() -> None:
        async for id, data in _each(messages):
            encode_into(_Line(id, data), block, -1)
            block.append(0x0A)
            filled.set()
            try:
                user_id(id)
            except BadUserId:
                return
            if len(block) >= WRITE_SIZE:
                emptied.clear()
                await emptied.wait()

    filling = asyncio.create_task(fill())
    filling.add_done_callback(lambda _: filled.set())
    try:
        while block or not filling.done():
            await filled.wait()
            filled.clear()
            if block:
                piece = bytes(block)
                block.clear()
                emptied.set()
                yield piece
        filling.result()  # raises what `messages` raised
    finally:
        filling.cancel()
        await asyncio.wait({filling})


async def _each(messages: Messages) -> AsyncIterator[tuple[str, str]]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message


def base_url(url: str) -> str:
    """`url` in its canonical form, without a slash at its end."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadSettings(f"{url!r} is no address of a server; write http://HOST:PORT.")
    return str(parsed).rstrip("/")


def segment(id: str) -> str:
    """The user id as a segment of a path (RFC 3986, section 3.3), where all of it may stand.

    Raises BadUserId.
    """
    return user_id(id).decode()
