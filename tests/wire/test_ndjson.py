"""NDJSON bodies: lines out of pieces, messages out of lines, and which line is bad."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encke.errors import BadUserId
from encke.ids import user_id
from encke.wire.ndjson import BadLine, Decoded, LineCutter, decode

from .ways import PLACES, Feed, bytewise, cut, three_ways

GOOD = b'{"id": "1", "data": "a"}'


def line(id: str = "1", data: str = "a", end: str = "\n") -> bytes:
    return (json.dumps({"id": id, "data": data}) + end).encode()


def read(pieces: list[bytes], limit: int = 1024) -> Decoded:
    """A whole body, as a gateway reads it: block by block, up to the first bad line."""
    cutter = LineCutter(limit)
    ids: list[bytes] = []
    messages: list[bytes] = []
    lines = 0
    for piece in [*pieces, None]:
        block = cutter.finish() if piece is None else cutter.feed(piece)
        decoded = decode(block, lines + 1, limit)
        ids += decoded.ids
        messages += decoded.messages
        lines += decoded.lines
        bad = decoded.bad
        if bad is None and cutter.too_long:
            bad = BadLine(lines + 1, "too long")
        if bad is not None:
            return Decoded(ids, messages, lines, bad)
    return Decoded(ids, messages, lines)


def outcome(decoded: Decoded) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """The messages, and the number of the bad line."""
    pairs = list(zip(decoded.ids, decoded.messages, strict=True))
    return pairs, decoded.bad.number if decoded.bad else None


# cutting


def blocks(limit: int = 64) -> Feed[bytes]:
    cutter = LineCutter(limit)
    return lambda piece: [block] if (block := cutter.feed(piece)) else []


def as_one(parts: list[bytes]) -> list[bytes]:
    return [b"".join(parts)]


@pytest.mark.parametrize(
    ("body", "whole_lines"),
    [
        (b"", b""),
        (b"\n", b"\n"),
        (b"a", b""),
        (b"a\n", b"a\n"),
        (b"a\nb", b"a\n"),
        (b"a\n\n\nb\r\nc", b"a\n\n\nb\r\n"),
        (b"a\rb\n", b"a\rb\n"),
    ],
)
def test_whole_lines_come_out(body: bytes, whole_lines: bytes) -> None:
    """What ends with a line end comes out, the rest waits: however the body comes."""
    assert three_ways(blocks, body, b"x\ny", as_one) == [whole_lines]


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"{}"])).map(b"".join), PLACES)
def test_any_split_of_a_body(body: bytes, places: list[int]) -> None:
    """Wherever a body is cut, blocks end with a line end, and together they are the body."""
    cutter = LineCutter(64)
    out = [cutter.feed(piece) for piece in cut(body, places)]
    assert all(block.endswith(b"\n") for block in out if block)
    assert b"".join(out) == body[: body.rfind(b"\n") + 1]
    rest = cutter.finish()
    assert b"".join(out) + rest == body
    assert cutter.finish() == b""


@pytest.mark.parametrize("pieces", [[b"x" * 64], bytewise(b"x" * 64), [b"a\n" + b"x" * 64]])
def test_an_unfinished_line_at_its_limit(pieces: list[bytes]) -> None:
    """A line of exactly the limit may still end; one byte more is too long."""
    cutter = LineCutter(64)
    for piece in pieces:
        cutter.feed(piece)
    assert not cutter.too_long
    cutter.feed(b"x")
    assert cutter.too_long


# decoding


def test_messages() -> None:
    """Each line is a message, in order; other members don't matter, nor does their order."""
    body = (
        b'{"id": "1", "data": "Hello"}\n'
        b'{"data":"W\\u00f6rld \\u2604 \\ud83d\\ude00","id":"a@b"}\n'
        b'{"id":"2","data":"","more":[{"id":3}],"ttl":1e3}\n'
        b'  {"id":"3",\t"data":"\\n\\u0000"}  \n'
    )
    assert decode(body) == Decoded(
        [b"1", b"a@b", b"2", b"3"], [b"Hello", "Wörld ☄ 😀".encode(), b"", b"\n\0"], 4
    )


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        (b"", []),
        (b"\n", []),
        (GOOD, [1]),
        (GOOD + b"\n", [1]),
        (GOOD + b"\r\n", [1]),
        (GOOD + b"\r\n" + GOOD + b"\r\n", [1, 2]),
        (GOOD + b"\n" + GOOD, [1, 2]),
        (b"\n\n" + GOOD + b"\n\r\n  \n" + GOOD + b"\n\n", [3, 6]),
    ],
)
def test_empty_lines_and_line_ends(body: bytes, numbers: list[int]) -> None:
    """LF and CRLF end a line, the last line needs no end, and empty lines are counted only."""
    decoded = decode(body)
    assert decoded.bad is None
    assert decoded.ids == [b"1"] * len(numbers)
    bad = decode(body + (b"" if body.endswith(b"\n") or not body else b"\n") + b"bad").bad
    assert bad is not None
    assert bad.number == decoded.lines + 1
    assert numbers == [n for n, row in enumerate(body.split(b"\n"), 1) if row.strip(b" \t\r")]


BAD = {
    "no JSON": b"hello",
    "white space that JSON has not": b"\x0b\x0c",
    "cut off": GOOD[:-1],
    "a comma behind": GOOD + b",",
    "two objects": GOOD + GOOD,
    "two objects, a blank between": GOOD + b" " + GOOD,
    "two objects, a CR between": GOOD + b"\r" + GOOD,
    "an array": b"[" + GOOD + b"]",
    "a string": b'"a"',
    "null": b"null",
    "single quotes": b"{'id': '1', 'data': 'a'}",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "no id": b'{"data": "a"}',
    "no data": b'{"id": "1"}',
    "a number as id": b'{"id": 1, "data": "a"}',
    "a number as data": b'{"id": "1", "data": 1}',
    "an object as data": b'{"id": "1", "data": {}}',
    "null as data": b'{"id": "1", "data": null}',
    "an empty id": b'{"id": "", "data": "a"}',
    "one dot as id": b'{"id": ".", "data": "a"}',
    "two dots as id": b'{"id": "..", "data": "a"}',
    "a blank in the id": b'{"id": "1 2", "data": "a"}',
    "a line end in the id": b'{"id": "1\\n", "data": "a"}',
    "an id beyond ASCII": '{"id": "ä", "data": "a"}'.encode(),
    "an id that is too long": b'{"id": "%b", "data": "a"}' % (b"1" * 129),
    "a lone high surrogate": b'{"id": "1", "data": "\\ud800"}',
    "a lone low surrogate": b'{"id": "1", "data": "\\udc00"}',
    "a high surrogate and a letter": b'{"id": "1", "data": "\\ud83dx"}',
    "surrogates the wrong way round": b'{"id": "1", "data": "\\ude00\\ud83d"}',
    "not UTF-8": b'{"id": "1", "data": "\xff"}',
    "overlong UTF-8": b'{"id": "1", "data": "\xc0\x80"}',
    "a surrogate in UTF-8": b'{"id": "1", "data": "\xed\xa0\x80"}',
    "a control character": b'{"id": "1", "data": "\x01"}',
    "endless nesting": b'{"id": "1", "data": "a", "x": ' + b"[" * 100_000,
    "deep nesting": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "id": "1", "data": "a"}',
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named(name: str) -> None:
    """The first bad line is named by its number, the lines before it are kept, those behind
    it left out: whatever stands around it, and wherever the body is cut."""
    bad = BAD[name]
    for before, kept, number in ((b"", 0, 1), (GOOD + b"\n", 1, 2), (GOOD + b"\r\n\n", 1, 3)):
        for after in (b"", b"\n", b"\n" + GOOD + b"\n", b"\n\n", b"\n\n\n" + GOOD):
            body = before + bad + after
            for pieces in ([body], cut(body, (len(before), -1, 7))):
                decoded = read(pieces, limit=1_000_000)
                assert outcome(decoded) == ([(b"1", b"a")] * kept, number)
                assert decoded.lines == number - 1
                assert decoded.bad is not None
                assert decoded.bad.reason


def test_an_object_of_several_lines_is_bad() -> None:
    """A line is an object: one that goes on in the next line is bad where it begins, even if
    as many objects as lines are there."""
    body = b'{"id": "1",\n"data": "a"} ' + GOOD + b"\n"
    assert outcome(decode(body)) == ([], 1)
    nested = b'{"x": {}\n, "id": "1", "data": "a"} ' + GOOD + b"\n"
    assert outcome(decode(nested)) == ([], 1)
    assert outcome(decode(GOOD + GOOD + b"\n\n")) == ([], 1)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_at_its_limit(end: bytes) -> None:
    """A line of exactly the limit passes, one byte more is bad: alone, among others, and
    however it comes."""
    limit = 64
    fitting = line(data="x" * (limit - len(line(data="", end=""))), end="")
    assert len(fitting) == limit
    over = fitting.replace(b"x", b"xx", 1)
    for before in (b"", GOOD + b"\n"):
        kept = before.count(b"\n")
        for body, bad in ((fitting, None), (over, kept + 1)):
            for pieces in ([before + body + end], bytewise(before + body + end)):
                pairs, number = outcome(read(pieces, limit))
                assert number == bad
                assert len(pairs) == kept + (bad is None)


def test_a_blank_line_at_its_limit() -> None:
    """A line of blanks is ignored up to the limit, and is too long behind it, however it comes."""
    for blanks, outcome_ in ((64, ([(b"1", b"a")], None)), (65, ([], 1))):
        body = b" " * blanks + b"\n" + GOOD
        for pieces in ([body], bytewise(body)):
            assert outcome(read(pieces, 64)) == outcome_


def test_an_id_at_its_limit() -> None:
    """An id of 128 characters passes."""
    assert decode(line("1" * 128)).ids == [b"1" * 128]


def test_numbers_go_on_from_block_to_block() -> None:
    """`first` is the number of a block's first line, `lines` what to add to it."""
    decoded = decode(GOOD + b"\n\n" + GOOD + b"\n", first=11)
    assert decoded.lines == 3
    bad = decode(b"\n{}\n", first=11 + decoded.lines).bad
    assert bad is not None
    assert bad.number == 15


# against the standard library

WELL_FORMED = st.builds(
    lambda id, data, end, ascii_only, indent: (
        (
            indent + json.dumps({"id": id, "data": data, "n": 1}, ensure_ascii=ascii_only) + indent
        ).encode("utf-8", "surrogatepass")
        + end
    ),
    st.sampled_from(["1", "a:b", "", "ä", "x" * 128, "x" * 129]),
    st.text(st.characters(), max_size=8) | st.text('a☄\ud800\udc00\n"\\', max_size=4),
    st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n"]),
    st.booleans(),
    st.sampled_from(["", "", " ", "\t"]),
)
ODD = st.sampled_from([*BAD.values()][:-2]).flatmap(
    lambda bad: st.sampled_from([bad + b"\n", bad, bad[: len(bad) // 2]])
)
BODIES = st.one_of(
    st.lists(WELL_FORMED, max_size=6), st.lists(st.one_of(WELL_FORMED, ODD), max_size=6)
).map(b"".join)


def line_by_line(body: bytes) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """What the standard library makes of each line by itself."""
    pairs: list[tuple[bytes, bytes]] = []
    for number, row in enumerate(body.split(b"\n"), 1):
        if not row.strip(b" \t\r"):
            continue
        try:
            value = json.loads(row.decode())
            pairs.append((user_id(value["id"]), value["data"].encode()))
        except (ValueError, TypeError, KeyError, AttributeError, BadUserId):
            return pairs, number
    return pairs, None


@settings(max_examples=500, deadline=None)
@given(BODIES, PLACES)
def test_equals_line_by_line(body: bytes, places: list[int]) -> None:
    """A body gives what its lines give one by one with the standard library, wherever it's cut."""
    expected = line_by_line(body)
    assert outcome(decode(body)) == expected
    assert outcome(read(cut(body, places))) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=80) | st.text('{}[]":,\\\n\r idata01u', max_size=80).map(str.encode), PLACES
)
def test_arbitrary_bytes(body: bytes, places: list[int]) -> None:
    """No bytes make the decoder raise; wherever they are cut, they mean the same."""
    assert outcome(read(cut(body, places), 32)) == outcome(read([body], 32))


@pytest.mark.parametrize("before", [b"", GOOD + b"\n"])
@pytest.mark.parametrize("empty", [b"\n", b" \t\r\n"])
@pytest.mark.parametrize("after", [b"", GOOD, GOOD + b"\n", GOOD + b"\n\n" + GOOD + b"\n\n"])
def test_hostile_empty_lines(
    before: bytes, empty: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that are empty are counted, but not looked at one by one, however many there are."""
    monkeypatch.setattr("encke.wire.ndjson._decode_each", None)
    body = before + empty * 10_000 + after
    decoded = decode(body, limit=1024)
    assert len(decoded.ids) == body.count(b"{")
    assert decoded.lines == body.count(b"\n") + (not body.endswith(b"\n"))
    assert decoded.bad is None
