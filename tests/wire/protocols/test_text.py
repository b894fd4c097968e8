"""`/test/{id}`: the article's stream, byte for byte."""

import re

import pytest

from encke.wire.message import Message
from encke.wire.protocols.text import PROTOCOL
from encke.wire.request import Request


def read(stream: bytes) -> list[str]:
    """What a client makes of a stream's bytes."""
    lines = re.findall(rb"Recvd msg #\d+: '([^\n]*)'\n", stream)
    return [message.decode() for message in lines]


@pytest.mark.parametrize(
    ("message", "number", "encoded"),
    [
        (b"Hello World", 1, b"Recvd msg #1: 'Hello World'\n"),
        (b"", 2, b"Recvd msg #2: ''\n"),
        (b"it's", 3, b"Recvd msg #3: 'it's'\n"),
        (b"two\nlines", 4, b"Recvd msg #4: 'two\nlines'\n"),
        ("Grüße ☄".encode(), 4294967295, "Recvd msg #4294967295: 'Grüße ☄'\n".encode()),
    ],
)
def test_messages(message: bytes, number: int, encoded: bytes) -> None:
    """A message is the article's line with its number, and otherwise as it was sent."""
    assert PROTOCOL.encode(Message(message), number) == encoded


def test_head() -> None:
    """A browser shows the stream as UTF-8 text, and runs nothing that stands in a message."""
    headers = dict(PROTOCOL.headers(Request(b"GET", b"/", {}, is_http_10=False)))
    assert headers[b"Content-Type"] == b"text/html; charset=utf-8"
    assert b"sandbox" in headers[b"Content-Security-Policy"]
    assert headers[b"X-Content-Type-Options"] == b"nosniff"


def test_only_messages() -> None:
    """Nothing but messages is on the stream: the article's clients count every line."""
    assert PROTOCOL.greeting(3.0) == b""
    assert PROTOCOL.heartbeat == b""
