"""What leaves the client is one of `encke.errors`, and says what became of the message."""

import asyncio
from collections.abc import Callable

import pytest
from peer import NOBODY, Peer, last, run

import encke
from encke.client import Client, Connection
from encke.errors import (
    BadMessage,
    BadSettings,
    BadUserId,
    Closed,
    EnckeError,
    Interrupted,
    Refused,
    SendError,
    Unavailable,
    Unreachable,
)

SIBLINGS = (Closed, Unreachable, Interrupted, Refused, Unavailable)
ONE = last("200 OK", b'{"delivered": 1}')


def test_siblings() -> None:
    """Who catches one catches no other: each says something else of the message."""
    for kind in SIBLINGS:
        assert SendError in kind.__bases__
        assert [other for other in SIBLINGS if issubclass(kind, other)] == [kind]


MISTAKES: list[tuple[Callable[[Connection], object], type[EnckeError], str]] = [
    (lambda it: it.send(123, "x"), BadUserId, r"write str\(123\)"),  # type: ignore[arg-type]
    (lambda it: it.send(b"1", "x"), BadUserId, "no str"),  # type: ignore[arg-type]
    (lambda it: it.send(None, "x"), BadUserId, "None"),  # type: ignore[arg-type]
    (lambda it: it.listen(1), BadUserId, "no str"),  # type: ignore[arg-type]
    (lambda it: it.friends.add("1", 2), BadUserId, "no str"),  # type: ignore[arg-type]
    (lambda it: it.send("1", "\ud800"), BadMessage, "UTF-8"),
    (lambda it: it.send("1", b"\xff"), BadMessage, "UTF-8"),
    (lambda it: it.publish("1", 5), BadMessage, "int"),  # type: ignore[arg-type]
    (lambda it: it.publish("1", None), BadMessage, "NoneType"),  # type: ignore[arg-type]
    (lambda it: it.send("1", "x", wait="all"), BadSettings, "cluster"),  # type: ignore[arg-type]
    (lambda it: it.send_many([], wait=[]), BadSettings, "cluster"),  # type: ignore[arg-type]
    (lambda it: encke.connect(NOBODY, "ü"), BadSettings, "API key"),
    (lambda it: encke.connect(NOBODY, "a\r\nX: y"), BadSettings, "API key"),
    (lambda it: encke.connect("http://h/\r\nX: y"), BadSettings, "HOST:PORT"),
    (lambda it: encke.connect("http://u:p@h/"), BadSettings, "HOST:PORT"),
    (lambda it: encke.connect("http://h:99999"), BadSettings, "HOST:PORT"),
    (lambda it: encke.connect(NOBODY, control="x"), BadSettings, "HOST:PORT"),
    (lambda it: encke.connect(NOBODY, None), BadSettings, "API key"),  # type: ignore[arg-type]
    (lambda it: encke.connect(None), BadSettings, "HOST:PORT"),  # type: ignore[arg-type]
    (lambda it: encke.connect(timeout=0), BadSettings, "seconds"),
    (lambda it: Client(timeout=None), BadSettings, "seconds"),  # type: ignore[arg-type]
    (lambda it: run(it.aio.send(123, "x")), BadUserId, "no str"),  # type: ignore[arg-type]
    (lambda it: run(it.aio.send("1", "\ud800")), BadMessage, "UTF-8"),
]


@pytest.mark.parametrize(("mistake", "kind", "words"), MISTAKES)
def test_mistakes_of_the_program(
    mistake: Callable[[Connection], object], kind: type[EnckeError], words: str
) -> None:
    """They are told before anything is sent, where there isn't even a server."""
    with encke.connect(NOBODY) as client, pytest.raises(kind, match=words) as caught:
        mistake(client)
    assert type(caught.value) is kind


ANSWERS: list[tuple[bytes, type[EnckeError], str]] = [
    (b"", Interrupted, "broke off"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Interrupted, "broke off"),
    (b"220 smtp.example.org ESMTP\r\n", Interrupted, "broke off"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, Interrupted, "broke off"),
    (last("200 OK", b"junk", "Content-Encoding: gzip"), Interrupted, "no Encke"),
    (last("200 OK", b"<html>"), Interrupted, "no Encke"),
    (last("404 Not Found", b"<html>"), Refused, "is it Encke"),
    (last("401 Unauthorized", b'{"title": "Who are you?"}'), Refused, "Who are you"),
    (last("301 Moved", b"", "Location: http://b/"), Refused, "http://b/; use that"),
    (last("502 Bad Gateway", b"\xff"), Unavailable, "Bad Gateway"),
    (last("429 Too Many Requests"), Unavailable, "Too Many"),
    (last("503 Busy", b"", "Retry-After: \xb2"), Unavailable, "Busy"),
    (last("503 Busy", b"", "Retry-After: " + "9" * 400), Unavailable, "Busy"),
]


@pytest.mark.parametrize(("raw", "kind", "words"), ANSWERS)
def test_whatever_answers(raw: bytes, kind: type[EnckeError], words: str) -> None:
    """The plain client, and the one for event loops, make the same of it."""
    with Peer(raw, raw, raw, raw) as peer, encke.connect(peer.url) as client:
        for attempt in (
            lambda: client.send("1", "x"),
            lambda: client.send_many([("1", "x")]),
            lambda: next(client.listen("1")),
            lambda: run(client.aio.send("1", "x")),
        ):
            with pytest.raises(kind, match=words) as caught:
                attempt()
            assert type(caught.value) is kind


def test_answers_of_other_shapes() -> None:
    """What HTTP allows is understood: an interim answer first, an end by the connection's."""
    body = b'{"delivered": 7}'
    first = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + last("200 OK", body)
    ended = b"HTTP/1.0 200 OK\r\n\r\n" + body
    more = last("200 OK", body) + b"junk"
    with Peer(first, ended, more, first, ended, more) as peer, encke.connect(peer.url) as client:
        assert [client.send("1", "x") for _ in range(3)] == [7, 7, 7]
        assert [run(client.aio.send("1", "x")) for _ in range(3)] == [7, 7, 7]


def test_no_server_and_a_silent_one() -> None:
    """Not sent is Unreachable; unknown is Interrupted."""
    with encke.connect(NOBODY) as client:
        with pytest.raises(Unreachable, match=r"Connection refused.*encke serve"):
            client.send("1", "x")
        with pytest.raises(Unreachable, match="Connection refused"):
            next(client.listen("1"))
        with pytest.raises(Unreachable):
            list(client.friends.list("1"))
    with Peer(None, None, None) as peer, encke.connect(peer.url, timeout=0.05) as client:
        with pytest.raises(Interrupted, match="too long"):
            client.send("1", "x")
        with pytest.raises(Interrupted, match="too long"):
            client.send_many([("1", "x")])
        with pytest.raises(Unreachable, match="No answer"):
            next(client.listen("1"))


def test_a_cancelled_send_leaves_the_client_whole() -> None:
    """The answer of what was given up is never taken for the next one's."""

    async def main() -> None:
        async with Peer(None, ONE) as peer, Client(peer.url) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.send("1", "x")
            assert await client.send("1", "y") == 1

    run(main())
