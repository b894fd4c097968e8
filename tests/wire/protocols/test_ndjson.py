"""`/stream/{id}`: a line of JSON a message, as any reader of lines of JSON takes it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.wire.message import Message
from encke.wire.protocols.ndjson import PROTOCOL
from encke.wire.request import Request


def read(stream: bytes) -> list[str]:
    """What a client makes of a stream's bytes."""
    assert stream.endswith(b"\n")
    return [json.loads(line)["data"] for line in stream.split(b"\n") if line]


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        (Message(b"Hello World"), b'{"data":"Hello World"}\n'),
        (Message(b""), b'{"data":""}\n'),
        (Message(b'say "hi"\\'), b'{"data":"say \\"hi\\"\\\\"}\n'),
        (Message(b"two\r\nlines"), b'{"data":"two\\r\\nlines"}\n'),
        (Message("Grüße ☄".encode()), '{"data":"Grüße ☄"}\n'.encode()),
        (Message(b"hi", b"a:da@x.y"), b'{"from":"a:da@x.y","data":"hi"}\n'),
    ],
)
def test_messages(message: Message, encoded: bytes) -> None:
    """A message is an object on one line; who published it stands beside."""
    assert PROTOCOL.encode(message, 1) == encoded


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_one_line_whatever_it_says(text: str) -> None:
    """No message ends its line, and every character of it arrives: controls and line ends too."""
    encoded = PROTOCOL.encode(Message(text.encode(), b"ada"), 1)
    assert encoded.count(b"\n") == 1
    assert json.loads(encoded) == {"from": "ada", "data": text}


def test_head() -> None:
    """Programs see what it is, and nginx holds no line back."""
    headers = dict(PROTOCOL.headers(Request(b"GET", b"/", {}, is_http_10=False)))
    assert headers[b"Content-Type"] == b"application/x-ndjson"
    assert headers[b"X-Accel-Buffering"] == b"no"


def test_heartbeat_is_an_empty_line() -> None:
    """Proxies see that the stream lives; readers of lines skip it."""
    assert PROTOCOL.heartbeat == b"\n"
    assert PROTOCOL.greeting(3.0) == b""
