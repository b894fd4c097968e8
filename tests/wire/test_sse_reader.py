"""The reader of Server-Sent Events, against the rules of the WHATWG HTML standard, 9.2."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.errors import FrameError
from encke.wire.sse_reader import MessageEvent, SseReader


def read(pieces: Iterable[bytes]) -> list[MessageEvent]:
    reader = SseReader()
    return [event for piece in pieces for event in reader.feed(piece)]


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


CASES = {
    "one line": (b"data: hello\n\n", ["hello"]),
    "two events": (b"data: a\n\ndata: b\n\n", ["a", "b"]),
    "several lines": (b"data: a\ndata: b\n\n", ["a\nb"]),
    "CR ends": (b"data: a\rdata: b\r\r", ["a\nb"]),
    "CRLF ends": (b"data: a\r\ndata: b\r\n\r\n", ["a\nb"]),
    "mixed ends": (b"data: a\r\ndata: b\rdata: c\n\r\n", ["a\nb\nc"]),
    "only one space is taken": (b"data:  a\n\ndata:b\n\n", [" a", "b"]),
    "empty data": (b"data:\n\ndata\n\n", ["", ""]),
    "empty lines of data": (b"data\ndata\n\n", ["\n"]),
    "colons in the value": (b"data: a:b:c\n\n", ["a:b:c"]),
    "comments": (b": hello\n:\ndata: a\n: more\ndata: b\n\n:\n\n", ["a\nb"]),
    "unknown fields": (b"datum: x\ndata : y\n data: z\ndata: a\n\n", ["a"]),
    "nothing without data": (b"event: x\n\nid: 1\n\n\n\n", []),
    "byte order mark": (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", ["a"]),
    "UTF-8": ("data: Grüße, 彗星 ☄\n\n".encode(), ["Grüße, 彗星 ☄"]),
    "not UTF-8": (b"data: a\xff\xe5\xbd\n\n", ["a\ufffd\ufffd"]),
    "an unfinished event is dropped": (b"data: a\n\ndata: b\n", ["a"]),
    "NUL in the data": (b"data: a\0b\n\n", ["a\0b"]),
}


@pytest.mark.parametrize("name", CASES)
def test_events_of_the_standard(name: str) -> None:
    """Each stream gives its events, fed whole, byte by byte, and with the next event behind."""
    stream, messages = CASES[name]
    expected = [MessageEvent(data) for data in messages]
    assert read([stream]) == expected
    assert read(bytewise(stream)) == expected
    if not name.startswith("an unfinished"):
        assert read([stream + b"data: next"]) == expected
        assert read([stream, b"data: next\n\n"]) == [*expected, MessageEvent("next")]


def test_the_type_holds_for_one_event() -> None:
    """`event:` names the type of its event only; the others are messages."""
    stream = b"event: gap\ndata: a\n\ndata: b\n\nevent:\ndata: c\n\n"
    assert read([stream]) == [MessageEvent("a", "gap"), MessageEvent("b"), MessageEvent("c")]


def test_the_last_id_counts_once_its_event_is_whole() -> None:
    """`id:` becomes the last event id at the blank line, stays, and may be cleared."""
    reader = SseReader(last_event_id="7")
    assert reader.last_event_id == "7"
    reader.feed(b"id: 8\ndata: a\n")
    assert reader.last_event_id == "7"
    reader.feed(b"\ndata: b\n\n")
    assert reader.last_event_id == "8"
    reader.feed(b"id: 9\0\n\n")
    assert reader.last_event_id == "8"
    reader.feed(b"id\n\n")
    assert reader.last_event_id == ""


def test_retry_takes_digits_only() -> None:
    """`retry:` is milliseconds in ASCII digits; anything else is ignored."""
    reader = SseReader()
    reader.feed(b"retry: 1500\n\n")
    assert reader.retry == 1.5
    for bad in ("-1", "1.5", "1e3", "", "٣", "9" * 10_000):
        reader.feed(f"retry: {bad}\n\n".encode())
    assert reader.retry == 1.5


@pytest.mark.parametrize(
    "stream", [b"data: " + b"x" * 100, b":" + b"x" * 100, b"data: 12345678\n" * 12]
)
def test_an_endless_event_is_refused(stream: bytes) -> None:
    """What is kept is bounded: one line, or many of one event, past the limit raise."""
    whole, bytes_ = SseReader(limit=80), SseReader(limit=80)
    with pytest.raises(FrameError, match="more than 80 bytes"):
        whole.feed(stream + b"\n\n")
    with pytest.raises(FrameError, match="more than 80 bytes"):
        for piece in bytewise(stream):
            bytes_.feed(piece)


def test_the_limit_is_for_each_event() -> None:
    """Any number of events passes, as long as each keeps to the limit."""
    reader = SseReader(limit=80)
    assert len(reader.feed(b"data: 1234567890\n\n" * 1000)) == 1000


LINES = st.sampled_from(
    b"data: a|data|data:\xe2\x98\x84|data: \xe2\x98|event: x|id: 1|: c"
    b"||||retry: 5|\xef\xbb\xbfdata: b|other".split(b"|")
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(LINES, ENDS)), st.data())
def test_any_split_gives_the_same(lines: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    """Wherever a stream is cut, also within CRLF or a character, its events are the same."""
    stream = b"".join(line + end for line, end in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(pieces) == read([stream])


@given(st.binary())
def test_any_bytes_are_survived(stream: bytes) -> None:
    """No bytes at all make the reader fail, and byte by byte they mean the same."""
    assert read([stream]) == read(bytewise(stream))


@given(st.lists(st.text()))
def test_what_a_server_writes_comes_back(messages: list[str]) -> None:
    """Messages written with a `data:` for each line come back, line breaks made LF."""
    unified = [m.replace("\r\n", "\n").replace("\r", "\n") for m in messages]
    stream = "".join(
        "".join(f"data: {line}\n" for line in message.split("\n")) + "\n" for message in unified
    )
    assert [event.data for event in read([stream.encode("utf-8", "replace")])] == [
        message.encode("utf-8", "replace").decode() for message in unified
    ]
