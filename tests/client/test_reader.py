"""Answers, however they are cut into pieces, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer import answer, chunk

from encke.client.reader import LONGEST, LONGEST_HEAD, Answer, Reader
from encke.errors import Interrupted

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SHAPES = {
    "length": (answer("200 OK", b"body"), b"body", True),
    "chunks": (CHUNKED + chunk(b"bo") + chunk(b"dy") + b"0\r\n\r\n", b"body", True),
    "hints": (HINTS + HINTS + answer("200 OK", b"body"), b"body", True),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "close": (answer("200 OK", b"body", "Connection: close"), b"body", False),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", b"body", False),
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\nbody", b"body", False),
}


def read(raw: bytes, size: int) -> tuple[Answer, bool]:
    """The answer that comes in pieces of `size`, and whether the connection can be kept."""
    reader = Reader("http://h")
    begun = [reader.begun]
    for at in range(0, len(raw), size):
        assert not reader.answer.whole
        reader.feed(raw[at : at + size])
    if not reader.answer.whole:
        reader.feed(b"")
    assert [*begun, reader.begun] == [False, True]
    return reader.answer, reader.keep


@pytest.mark.parametrize("shape", SHAPES)
@given(size=st.integers(1, 200))
def test_pieces(shape: str, size: int) -> None:
    """It's the same in any pieces."""
    raw, body, kept = SHAPES[shape]
    found, keep = read(raw, size)
    assert (bytes(found.body), keep) == (body, kept)
    assert found.status == (204 if shape == "nothing" else 200)


def test_one_after_the_other() -> None:
    """A connection's answers are apart; what wasn't asked for makes it useless, no more."""
    reader = Reader("http://h")
    for body in (b"one", b"two"):
        reader.expect()
        reader.feed(answer("200 OK", body))
        assert (bytes(reader.answer.body), reader.keep) == (body, True)
    reader.expect()
    reader.feed(answer("200 OK", b"three") + answer("200 OK", b"four"))
    assert (bytes(reader.answer.body), reader.keep) == (b"three", False)


@pytest.mark.parametrize("shape", ["length", "chunks", "hints", "close", "1.0"])
def test_an_answer_that_is_cut_off(shape: str) -> None:
    """Of no prefix it's said that it's an answer."""
    raw, _, _ = SHAPES[shape]
    for end in range(len(raw)):
        reader = Reader("http://h")
        reader.feed(raw[:end] or b"H")
        assert not reader.answer.whole
        with pytest.raises(Interrupted, match="broke off"):
            reader.feed(b"")


@pytest.mark.parametrize(
    "raw",
    [
        b"220 smtp.example.org ESMTP\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * LONGEST_HEAD,
        answer("200 OK", b"x" * (LONGEST + 1)),
    ],
)
def test_what_is_no_answer(raw: bytes) -> None:
    """It's told before it takes the memory."""
    reader = Reader("http://h")
    with pytest.raises(Interrupted, match="no HTTP"):
        reader.feed(raw)
    assert not reader.keep
