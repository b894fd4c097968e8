"""A user's code, for the type checker alone: mypy must know what the public interface gives.

Nothing here is run. `assert_type` fails at check time if a type gets lost or changes.
"""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import encke
import encke.errors
from encke.client import Connection, Friends, Listener, Loaded, Message, Sent, Stream


async def asynchronous() -> None:
    """Send and listen in an asyncio program."""
    async with encke.Client("http://127.0.0.1:8000", api_key="secret", timeout=5) as client:
        assert_type(client, encke.Client)
        assert_type(await client.send("123", "Hello World"), int)
        assert_type(await client.send("123", b"Hello World"), int)
        assert_type(await client.send("123", "Hello World", wait="cluster"), int)
        assert_type(await client.send_many([("123", "a"), ("124", "b")]), Sent)
        assert_type(await client.send_many(live()), Sent)
        assert_type(await client.publish("123", "Hello World"), int)
        assert_type(await client.publish_many(live()), Sent)
        assert_type(await client.friends.add("123", "456"), bool)
        assert_type(client.friends.list("123"), AsyncIterator[str])
        assert_type(await client.friends.load(live()), Loaded)
        async with client.listen("123") as messages:
            assert_type(messages, Listener)
            async for message in messages:
                assert_type(message, Message)
                assert_type(message.publisher, str | None)


async def live() -> AsyncIterator[tuple[str, str]]:
    """A source of messages that never ends."""
    while True:
        yield "123", "tick"


def synchronous() -> None:
    """The same in a script."""
    with encke.connect(control="http://127.0.0.1:8001") as server:
        assert_type(server, Connection)
        assert_type(server, encke.Connection)
        assert_type(server.aio, encke.Client)
        assert_type(server.friends, Friends)
        assert_type(server.friends.remove("123", "456"), bool)
        assert_type(server.friends.subscribers("456"), Iterator[str])
        assert_type(server.friends.count("subscribers", "456"), int)
        assert_type(server.friends.load([("123", "456")]), Loaded)
        assert_type(server.send_many([("123", b"a"), ("124", b"b")]), Sent)
        assert_type(server.send("123", "Hello World"), int)
        assert_type(server.publish("123", "Hello World"), int)
        assert_type(server.publish_many([("123", "a")]), Sent)
        sent = server.send_many(("123", str(number)) for number in range(10))
        assert_type(sent.accepted, int)
        assert_type(sent.delivered, int)
        with server.listen("123", reconnect=False) as messages:
            assert_type(messages, Stream)
            for message in messages:
                assert_type(message, Message)
                assert_type(message.publisher, str | None)


def failing() -> float:
    """What can go wrong, from the special to the general."""
    try:
        encke.connect().send("123", "Hello World")
    except encke.errors.Unavailable as error:
        assert_type(error.status, int)
        assert_type(error.detail, str)
        assert_type(error.accepted, int)
        return error.retry_after
    except (encke.errors.Refused, encke.errors.Unreachable, encke.errors.Closed) as error:
        raise SystemExit(str(error)) from None
    except encke.errors.Interrupted as error:
        assert_type(error, encke.errors.Interrupted)
    except encke.errors.BadUserId as error:
        assert_type(error, encke.errors.BadUserId)
    except encke.errors.EnckeError:
        raise
    return 0.0
