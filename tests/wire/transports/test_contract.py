"""What every transport keeps to, so that gateway and router need know nothing of it.

A new transport needs a reader in `READERS`, which does what its client does.
"""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.wire.message import Message
from encke.wire.sse_reader import SseReader
from encke.wire.transports import TRANSPORTS, Transport

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
FIELD_VALUE = re.compile(rb"[!-~]([ \t!-~]*[!-~])?").fullmatch

RESERVED_PATHS = {b"send", b"publish", b"health", b"state", b"metrics"}
HEADERS_OF_EVERY_STREAM = {
    b"connection",
    b"transfer-encoding",
    b"content-length",
    b"date",
    b"cache-control",
    b"access-control-allow-origin",
}


def read_text(stream: bytes) -> list[str]:
    lines = re.findall(rb"Recvd msg #\d+: '([^\n]*)'\n", stream)
    return [message.decode() for message in lines]


def read_sse(stream: bytes) -> list[str]:
    return [event.data for event in SseReader().feed(stream)]


READERS: dict[bytes, Callable[[bytes], list[str]]] = {b"test": read_text, b"events": read_sse}

every = pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda each: each.name.decode())
MESSAGES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=50)


def test_names_are_distinct() -> None:
    """A path leads to one transport, and none of them is a path of something else."""
    names = [transport.name for transport in TRANSPORTS]
    assert len(set(names)) == len(names)
    assert not RESERVED_PATHS & set(names)


def test_old_transports_keep_their_place() -> None:
    """The place in the table is a transport's code in the rows: new ones come behind."""
    assert [transport.name for transport in TRANSPORTS][:2] == [b"test", b"events"]


@every
def test_the_name_is_a_path_segment(transport: Transport) -> None:
    """The name stands in the path as it is, without percent-encoding."""
    assert re.fullmatch(rb"[a-z][a-z0-9-]*", transport.name)


@every
def test_headers_are_well_formed(transport: Transport) -> None:
    """Each header is a token and a value on one line, once, and is none that every stream
    has anyway; one of them says what the body is."""
    names = [name.lower() for name, _ in transport.headers]
    for name, value in transport.headers:
        assert TOKEN(name)
        assert FIELD_VALUE(value)
    assert len(set(names)) == len(names)
    assert b"content-type" in names
    assert not HEADERS_OF_EVERY_STREAM & set(names)


@every
@given(message=st.binary(max_size=50), number=st.integers(1, 2**32 - 1))
def test_any_message_becomes_bytes(transport: Transport, message: bytes, number: int) -> None:
    """A message is never encoded as nothing: an empty chunk would end the stream."""
    encoded = transport.encode(Message(message), number)
    assert isinstance(encoded, bytes)
    assert encoded


@every
@given(message=MESSAGES, number=st.integers(1, 2**32 - 1))
def test_who_does_not_count_encodes_once(transport: Transport, message: str, number: int) -> None:
    """Without `counts` the number makes no difference; with it, it does."""
    first = transport.encode(Message(message.encode()), number)
    again = transport.encode(Message(message.encode()), 0)
    assert (first != again) == transport.counts


@every
@given(messages=st.lists(MESSAGES, max_size=5), retry=st.floats(0.001, 3600))
def test_messages_come_back(transport: Transport, messages: list[str], retry: float) -> None:
    """A client reads the messages as they were sent, and nothing else: greeting and heartbeats
    are no messages."""
    read = READERS[transport.name]
    stream = transport.greeting(retry) + transport.heartbeat
    for number, message in enumerate(messages, 1):
        stream += transport.encode(Message(message.encode()), number) + transport.heartbeat
    assert read(stream) == messages


@every
@given(message=MESSAGES)
def test_published_messages_are_messages(transport: Transport, message: str) -> None:
    """What was published becomes bytes too, and doesn't disturb what comes after it."""
    stream = transport.encode(Message(message.encode(), b"ada"), 1) + transport.encode(
        Message(b"next"), 2
    )
    assert READERS[transport.name](stream)[-1] == "next"


@every
def test_greeting_and_heartbeat_are_bytes(transport: Transport) -> None:
    """What isn't a message is bytes, maybe none."""
    assert isinstance(transport.greeting(3.0), bytes)
    assert isinstance(transport.heartbeat, bytes)
