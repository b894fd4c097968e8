"""The cluster as seen by who is no node: through the usual NATS client, nats-py.

For the command line. It hears of the nodes, and asks all of them to take a message. What is hot
is the router's, which has a link of its own (`cluster`).

Invariant: every error is one of `encke.errors`. A message is sent once.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from .cluster.credentials import read
from .cluster.options import NatsOptions
from .cluster.servers import Server, parse
from .errors import FrameError, Interrupted, SendError, Unreachable
from .wire import nodes
from .wire.message import Verb
from .wire.nodes import Heartbeat, Reply
from .wire.subjects import Subjects, token

logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of how nats-py ends TLS

BEATS = 1.2
"""Seconds in which every node that's well has said that it lives."""

SILENCE = 3.0
"""Seconds after which a node that says nothing is gone; as in `cluster.members`."""


class Seen(msgspec.Struct):
    """One node, as it was last heard of."""

    said: Heartbeat
    at: float
    """When, on the monotonic clock."""
    messages_rate: float = 0.0
    """Messages a second that it takes from senders."""
    delivered_rate: float = 0.0
    """Messages a second that it hands to connections."""


class Told(msgspec.Struct, frozen=True):
    """What became of a message."""

    delivered: int
    """Connections that got it."""
    nodes: int
    """How many nodes have said so."""
    silent: tuple[str, ...] = ()
    """Names of the nodes that are there, and haven't answered."""
    errors: tuple[str, ...] = ()
    """What nodes couldn't do."""


class Nodes:
    """The nodes that are heard of on a connection."""

    def __init__(self, subjects: Subjects) -> None:
        self._begin = subjects.node.decode()
        self._seen: dict[str, Seen] = {}

    async def listen(self, client: Client) -> None:
        """Begin to hear of them."""
        await client.subscribe(self._begin + "*", cb=self._heard)

    def living(self) -> list[Seen]:
        """Those that live, by name."""
        now = time.monotonic()
        self._seen = {node: it for node, it in self._seen.items() if now - it.at <= SILENCE}
        return sorted(self._seen.values(), key=lambda it: (it.said.name, it.said.node))

    async def _heard(self, message: Msg) -> None:
        try:
            said = nodes.heartbeat(message.data)
        except FrameError:
            return
        if message.subject != self._begin + said.node:
            return
        before = self._seen.pop(said.node, None)
        if not said.leaving:
            self._seen[said.node] = _seen(said, before)


def _seen(said: Heartbeat, before: Seen | None) -> Seen:
    seen = Seen(said, time.monotonic())
    if before is not None and seen.at > before.at:
        seconds = seen.at - before.at
        seen.messages_rate = max(0, said.messages - before.said.messages) / seconds
        seen.delivered_rate = max(0, said.delivered - before.said.delivered) / seconds
    return seen


@contextlib.asynccontextmanager
async def connected(options: NatsOptions) -> AsyncIterator[Client]:
    """A connection to the first of the servers that takes us; it isn't made anew.

    Raises BadSettings, and Unreachable if there is none.
    """
    reasons = []
    for server in parse(options.servers, tls=options.tls):
        try:
            client = await connect(options, [server], for_ever=False)
        except Unreachable as error:
            reasons.append(str(error))
            continue
        try:
            yield client
        finally:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                await client.close()
        return
    raise Unreachable(" ".join(reasons))


async def connect(options: NatsOptions, servers: list[Server], *, for_ever: bool) -> Client:
    """Connect to one of `servers`; with `for_ever` it tries until it can, and again after a loss.

    Raises BadSettings, and Unreachable.
    """
    jwt, seed = read(options.credentials) if options.credentials else (None, None)
    context = None
    if any(server.tls for server in servers):
        from .cluster.tls import context as make

        context = make(options)
    first = servers[0]
    made = False

    async def complain(error: Exception) -> None:
        if not made and not for_ever:
            raise error  # or nats-py would try for ever

    try:
        client = await nats.connect(
            [f"{'tls' if server.tls else 'nats'}://{server}" for server in servers],
            name=options.name,
            error_cb=complain,
            user=first.user or None,
            password=first.password or None,
            token=first.token or None,
            user_credentials=options.credentials if jwt is not None else None,
            nkeys_seed_str=seed if jwt is None else None,
            tls=context,
            connect_timeout=round(options.connect_timeout),
            allow_reconnect=for_ever,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
        )
    except (nats.errors.Error, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        if isinstance(error, ConnectionError) and error.errno:  # in the system's words
            reason = os.strerror(error.errno)
        raise Unreachable(
            f"No NATS server takes us at {first} ({reason.removeprefix('nats: ')}); "
            "start it, or correct the address."
        ) from None
    made = True
    return client


async def see(options: NatsOptions, prefix: str) -> list[Seen]:
    """The nodes that are there; takes two heartbeats, for the rates.

    Raises BadSettings and Unreachable.
    """
    async with connected(options) as client:
        there = Nodes(Subjects(prefix))
        await there.listen(client)
        await asyncio.sleep(1 + BEATS)
        return there.living()


async def ask(
    options: NatsOptions, prefix: str, verb: Verb, id: bytes, message: bytes, patience: float
) -> Told:
    """Let all nodes take `message`, and say how many connections got it.

    Nodes have `patience` seconds to answer, and at least BEATS. Raises BadSettings,
    Unreachable, SendError if the message is too large, and Interrupted if the connection is
    lost meanwhile.
    """
    subjects = Subjects(prefix)
    begin = subjects.to_send if verb is Verb.SEND else subjects.to_publish
    async with connected(options) as client:
        question = _Question(client, Nodes(subjects))
        await question.there.listen(client)
        await question.ask((begin + token(id)).decode(), message)
        try:
            async with asyncio.timeout(BEATS):
                await question.until(lambda: question.nobody)
        except TimeoutError:  # who is there has been heard of
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0, patience - BEATS)):
                    await question.until(lambda: not question.silent())
    answers = question.answers.values()
    return Told(
        sum(answer.delivered for answer in answers),
        len(answers),
        tuple(question.silent()),
        tuple(answer.error for answer in answers if answer.error),
    )


class _Question:
    """One message for all nodes, and their answers."""

    def __init__(self, client: Client, there: Nodes) -> None:
        self._client = client
        self._asked = 0.0
        self._changed = asyncio.Event()
        self.there = there
        self.answers: dict[str, Reply] = {}
        self.nobody = False
        """NATS says that no node is there."""

    async def ask(self, subject: str, message: bytes) -> None:
        inbox = self._client.new_inbox()
        await self._client.subscribe(inbox, cb=self._answered)
        self._asked = time.monotonic()
        try:
            await self._client.publish(subject, message, reply=inbox)
            await self._client.flush()
        except nats.errors.MaxPayloadError:
            raise SendError(
                f"The message has {len(message)} bytes, more than NATS takes; max_payload in its "
                "configuration raises that."
            ) from None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Interrupted(f"NATS didn't take the message: {error}.") from None

    def silent(self) -> list[str]:
        """Names of those who are to answer, and haven't yet."""
        return [
            it.said.name or it.said.node
            for it in self.there.living()
            if it.said.node not in self.answers and it.at - it.said.linked < self._asked
        ]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until answers have made `condition` true."""
        while not condition():
            if not self._client.is_connected:
                raise Interrupted("NATS is gone; the message may have been delivered.")
            self._changed.clear()
            with contextlib.suppress(TimeoutError):  # to look at the connection now and then
                async with asyncio.timeout(0.2):
                    await self._changed.wait()

    async def _answered(self, reply: Msg) -> None:
        try:
            answer = nodes.reply(reply.data)
        except FrameError:
            self.nobody = True  # it's NATS itself
        else:
            self.answers.setdefault(answer.node, answer)
        self._changed.set()
