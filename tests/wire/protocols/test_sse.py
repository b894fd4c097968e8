"""`/events/{id}`: Server-Sent Events, as a browser reads them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.wire.message import Message
from encke.wire.protocols.sse import PROTOCOL
from encke.wire.request import Request
from encke.wire.sse_reader import MessageEvent, SseReader


def read(stream: bytes) -> list[str]:
    """What a client makes of a stream's bytes."""
    return [event.data for event in SseReader().feed(stream)]


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        (b"hello", b"data: hello\n\n"),
        (b"", b"data: \n\n"),
        (b" two blanks", b"data:  two blanks\n\n"),
        (b"a\nb", b"data: a\ndata: b\n\n"),
        (b"a\r\nb", b"data: a\ndata: b\n\n"),
        (b"a\rb", b"data: a\ndata: b\n\n"),
        (b"a\n\r\nb", b"data: a\ndata: \ndata: b\n\n"),
        (b"\n", b"data: \ndata: \n\n"),
        (b"id: 7\nevent: x", b"data: id: 7\ndata: event: x\n\n"),
        ("☄".encode(), "data: ☄\n\n".encode()),
    ],
)
def test_messages(message: bytes, encoded: bytes) -> None:
    """Each line of a message is a `data:` line, whichever of the three line ends it has."""
    assert PROTOCOL.encode(Message(message), 1) == encoded


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n :"))))
def test_messages_come_back(messages: list[str]) -> None:
    """A reader gets each message as it was sent, but for its line ends, which become LF."""
    stream = b"".join(PROTOCOL.encode(Message(message.encode()), 0) for message in messages)
    unified = [message.replace("\r\n", "\n").replace("\r", "\n") for message in messages]
    assert SseReader().feed(PROTOCOL.greeting(1.0) + stream) == [
        MessageEvent(data) for data in unified
    ]


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n")))
def test_a_message_sets_nothing(message: str) -> None:
    """No message can pass itself off as a field: neither type, id nor retry can be forged."""
    reader = SseReader()
    (event,) = reader.feed(PROTOCOL.encode(Message(message.encode()), 0))
    assert event.type == "message"
    assert reader.last_event_id == ""
    assert reader.retry is None


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\r\n"\\')))
def test_published(message: str) -> None:
    """What a friend published is an event of its own type, with one line of JSON: who, what."""
    encoded = PROTOCOL.encode(Message(message.encode(), b"ada@example.org"), 0)
    assert encoded.count(b"\n") == 3
    (event,) = SseReader().feed(encoded)
    assert event.type == "friend"
    assert json.loads(event.data) == {"from": "ada@example.org", "data": message}


@pytest.mark.parametrize(("seconds", "milliseconds"), [(3.0, 3000), (0.25, 250), (4.5678, 4567)])
def test_greeting(seconds: float, milliseconds: int) -> None:
    """The greeting tells a browser in milliseconds when to reconnect, and is no message."""
    reader = SseReader()
    assert reader.feed(PROTOCOL.greeting(seconds)) == []
    assert reader.retry == milliseconds / 1000


def test_heartbeat() -> None:
    """A heartbeat is a comment: it neither is a message nor ends or changes one."""
    reader = SseReader()
    assert reader.feed(PROTOCOL.heartbeat * 3) == []
    assert reader.feed(PROTOCOL.encode(Message(b"a"), 0)) == [MessageEvent("a")]
    assert reader.retry is None


def test_head() -> None:
    """It is an event stream, which nginx passes on without buffering."""
    headers = dict(PROTOCOL.headers(Request(b"GET", b"/", {}, is_http_10=False)))
    assert headers[b"Content-Type"].startswith(b"text/event-stream")
    assert headers[b"X-Accel-Buffering"] == b"no"


def test_what_is_no_event_ends_none() -> None:
    """Neither greeting nor heartbeat has a blank line, which ends an event: readers that don't
    look for data would show an empty one (httpx-sse, fetch-event-source)."""
    for data in (PROTOCOL.greeting(2.0), PROTOCOL.heartbeat):
        assert data.splitlines(keepends=True) == [data]
    assert PROTOCOL.greeting(2.0) + PROTOCOL.heartbeat + PROTOCOL.encode(Message(b"a"), 0) == (
        b"retry: 2000\n:\ndata: a\n\n"
    )
