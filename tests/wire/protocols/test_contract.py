"""What every protocol keeps to, so that gateway and hub need know nothing of it.

What a protocol's client does is in the protocol's own test, beside this one: its `read`.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.wire import protocols
from encke.wire.message import Message
from encke.wire.protocols import PROTOCOLS, Command, Protocol
from encke.wire.request import Request

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


def reader(module: str) -> Callable[[bytes], list[str]]:
    """The `read` of the test of the protocol in `module`: a stream's bytes in, messages out."""
    read: Callable[[bytes], list[str]] = importlib.import_module(
        f".test_{module}", __package__
    ).read
    return read


MODULES = [it.name for it in pkgutil.iter_modules(protocols.__path__) if it.name != "base"]
PROTOCOL_OF: dict[str, Protocol] = {
    module: importlib.import_module(f"{protocols.__name__}.{module}").PROTOCOL for module in MODULES
}
READERS = {protocol.name: reader(module) for module, protocol in PROTOCOL_OF.items()}
REQUEST = Request(b"GET", b"/", {}, is_http_10=False)

every = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda each: each.name.decode())
MESSAGES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=50)


def test_names_are_distinct() -> None:
    """A path leads to one protocol, and none of them is a path of something else."""
    names = [protocol.name for protocol in PROTOCOLS]
    assert len(set(names)) == len(names)
    assert not RESERVED_PATHS & set(names)


def test_all_are_in_the_table() -> None:
    """Each protocol that there is a file for is one that the gateway knows."""
    assert sorted(map(id, PROTOCOL_OF.values())) == sorted(map(id, PROTOCOLS))


def test_old_protocols_keep_their_place() -> None:
    """The place in the table is a protocol's code in the rows: new ones come behind."""
    assert [protocol.name for protocol in PROTOCOLS][:2] == [b"test", b"events"]


@every
def test_the_name_is_a_path_segment(protocol: Protocol) -> None:
    """The name stands in the path as it is, without percent-encoding."""
    assert re.fullmatch(rb"[a-z][a-z0-9-]*", protocol.name)


@every
def test_headers_are_well_formed(protocol: Protocol) -> None:
    """Each header is a token and a value on one line, once, and is none that every stream
    has anyway; one of them says what the body is."""
    names = [name.lower() for name, _ in protocol.headers(REQUEST)]
    for name, value in protocol.headers(REQUEST):
        assert TOKEN(name)
        assert FIELD_VALUE(value)
    assert len(set(names)) == len(names)
    assert b"content-type" in names
    assert not HEADERS_OF_EVERY_STREAM & set(names)


@every
@given(message=st.binary(max_size=50), number=st.integers(1, 2**32 - 1))
def test_any_message_becomes_bytes(protocol: Protocol, message: bytes, number: int) -> None:
    """A message is never encoded as nothing: an empty chunk would end the stream."""
    encoded = protocol.encode(Message(message), number)
    assert isinstance(encoded, bytes)
    assert encoded


@every
@given(message=MESSAGES, number=st.integers(1, 2**32 - 1))
def test_who_does_not_count_encodes_once(protocol: Protocol, message: str, number: int) -> None:
    """Without `around` the number makes no difference; with it, it does, and only around the
    message."""
    data = message.encode()
    first = protocol.encode(Message(data), number)
    assert (first != protocol.encode(Message(data), 0)) == (protocol.around is not None)
    if protocol.around is not None:
        before, after = protocol.around(number)
        assert first == before + data + after


@every
@given(
    message=st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
    | st.text('\r\n\x01"\\', max_size=50),
    publisher=st.sampled_from([b"", b"ada"]),
)
def test_how_much_a_message_takes(protocol: Protocol, message: str, publisher: bytes) -> None:
    """As many bytes as it says at most, and no more than so many times the message's own."""
    data = message.encode()
    empty = len(protocol.encode(Message(b"", publisher), 0))
    takes = len(protocol.encode(Message(data, publisher), 0)) - empty
    assert takes <= protocol.size(data) <= protocol.growth * len(data)


@every
def test_growth_is_no_more_than_what_happens(protocol: Protocol) -> None:
    """Some byte takes as many bytes as it says."""
    most = max(protocol.size(bytes([byte]) * 100) for byte in range(128))
    assert most == 100 * protocol.growth


@every
@given(messages=st.lists(MESSAGES, max_size=5), retry=st.floats(0.001, 3600))
def test_messages_come_back(protocol: Protocol, messages: list[str], retry: float) -> None:
    """A client reads the messages as they were sent, and nothing else: greeting and heartbeats
    are no messages."""
    read = READERS[protocol.name]
    stream = protocol.greeting(retry) + protocol.heartbeat
    for number, message in enumerate(messages, 1):
        stream += protocol.encode(Message(message.encode()), number) + protocol.heartbeat
    assert read(stream) == messages


@every
@given(message=MESSAGES)
def test_published_messages_are_messages(protocol: Protocol, message: str) -> None:
    """What was published becomes bytes too, and doesn't disturb what comes after it."""
    stream = protocol.encode(Message(message.encode(), b"ada"), 1) + protocol.encode(
        Message(b"next"), 2
    )
    assert READERS[protocol.name](stream)[-1] == "next"


@every
def test_greeting_and_heartbeat_are_bytes(protocol: Protocol) -> None:
    """What isn't a message is bytes, maybe none."""
    assert isinstance(protocol.greeting(3.0), bytes)
    assert isinstance(protocol.heartbeat, bytes)
    assert isinstance(protocol.farewell, bytes)


@every
@given(data=st.binary(max_size=50))
def test_whatever_comes_in_is_commands(protocol: Protocol, data: bytes) -> None:
    """A client may send anything on its stream: it's commands, or nothing."""
    assert all(isinstance(command, Command) for command in protocol.commands(data))


@every
def test_it_is_documented(protocol: Protocol) -> None:
    """The description of the public port has sentences for it, and an example that its client
    can read."""
    documentation = protocol.documentation
    for sentence in (documentation.summary, documentation.description, documentation.body):
        assert sentence.endswith(".")
    headers = dict(protocol.headers(REQUEST))
    assert headers[b"Content-Type"].partition(b";")[0].decode() == documentation.media_type
    assert READERS[protocol.name](documentation.example.encode()) == ["Hello World"]
