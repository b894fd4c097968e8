"""Bulk bodies of subscriptions: pairs out of pieces, and which lines are bad."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.ids import is_user_id
from encke.wire.subscriptions import LINE_LIMIT, NDJSON, REPORTED, TSV, Form, Pair, Reader

from .ways import PLACES, Feed, bytewise, cut, three_ways

FORMS = pytest.mark.parametrize("form", [NDJSON, TSV], ids=["ndjson", "tsv"])


def line(form: Form, subscriber: str = "1", publisher: str = "2", end: str = "\n") -> bytes:
    if form is TSV:
        return f"{subscriber}\t{publisher}{end}".encode()
    return (json.dumps({"subscriber": subscriber, "publisher": publisher}) + end).encode()


def read(form: Form, pieces: list[bytes]) -> tuple[list[Pair], Reader]:
    """The pairs of a whole body, and the reader behind it."""
    reader = Reader(form)
    pairs = [pair for piece in pieces for pair in reader.feed(piece)]
    return pairs + reader.finish(), reader


def outcome(form: Form, pieces: list[bytes]) -> tuple[list[Pair], int, int, list[tuple[int, str]]]:
    pairs, reader = read(form, pieces)
    errors = [(error.number, error.reason) for error in reader.errors]
    return pairs, reader.lines, reader.bad, errors


def feeding(form: Form) -> Feed[Pair]:
    return Reader(form).feed


# good lines


def test_ndjson() -> None:
    """Each line is a subscription; other members don't matter, nor does their order."""
    body = (
        b'{"subscriber": "1", "publisher": "2"}\n'
        b'{"publisher":"a@b","subscriber":"\\u0031"}\n'
        b'  {"subscriber":"x","since":[{}],"publisher":"y"}  \n'
    )
    expected = [(b"1", b"2"), (b"1", b"a@b"), (b"x", b"y")]
    assert three_ways(lambda: feeding(NDJSON), body, b"{") == expected


def test_tsv() -> None:
    """Each line is two ids, the subscriber first, and a tab between them."""
    body = b"1\t2\na@b\tA-Z_.~:9\r\n" + b"x" * 128 + b"\t" + b"y" * 128 + b"\n"
    expected = [(b"1", b"2"), (b"a@b", b"A-Z_.~:9"), (b"x" * 128, b"y" * 128)]
    assert three_ways(lambda: feeding(TSV), body, b"5\t") == expected


@FORMS
def test_line_ends_and_empty_lines(form: Form) -> None:
    """LF and CRLF end a line, the last one needs no end, empty lines are counted only."""
    one = line(form, end="")
    for body, pairs, lines in (
        (b"", 0, 0),
        (b"\n", 0, 1),
        (b"\n \r\n\t\n", 0, 3),
        (one, 1, 1),
        (one + b"\r", 1, 1),
        (one + b"\n" + one, 2, 2),
        (one + b"\r\n" + one + b"\r\n", 2, 2),
        (b"\n\n" + one + b"\n\r\n" + one + b"\n\n", 2, 6),
    ):
        for pieces in ([body], bytewise(body)):
            assert outcome(form, pieces) == ([(b"1", b"2")] * pairs, lines, 0, [])


# bad lines

BAD_NDJSON = {
    "no JSON": b"1\t2",
    "an array": b'["1", "2"]',
    "two objects": b'{"subscriber":"1","publisher":"2"}{"subscriber":"1","publisher":"2"}',
    "no subscriber": b'{"publisher": "2"}',
    "a number": b'{"subscriber": 1, "publisher": "2"}',
    "an empty id": b'{"subscriber": "1", "publisher": ""}',
    "a line end in an id": b'{"subscriber": "1\\n", "publisher": "2"}',
    "one dot": b'{"subscriber": ".", "publisher": "2"}',
    "a long id": b'{"subscriber": "%b", "publisher": "2"}' % (b"1" * 129),
    "beyond ASCII": '{"subscriber": "1", "publisher": "ü"}'.encode(),
    "a lone surrogate": b'{"subscriber": "\\ud800", "publisher": "2"}',
    "not UTF-8": b'{"subscriber": "\xff", "publisher": "2"}',
    "deep nesting": b'{"x": ' + b"[" * (LINE_LIMIT - 100),
    "too long": b'{"subscriber": "1", "publisher": "2", "x": "%b"}' % (b"x" * LINE_LIMIT),
    "far too long": b"x" * (3 * LINE_LIMIT),
}
BAD_TSV = {
    "no tab": b"1 2",
    "two tabs": b"1\t2\t",
    "three ids": b"1\t2\t3",
    "an empty subscriber": b"\t2",
    "an empty publisher": b"1\t",
    "a blank": b"1\t2 ",
    "a CR": b"1\r\t2",
    "JSON": b'{"subscriber": "1", "publisher": "2"}',
    "one dot": b".\t2",
    "two dots": b"1\t..",
    "a long id": b"1" * 129 + b"\t2",
    "beyond ASCII": "ü\t2".encode(),
    "NUL": b"1\t\0",
    "far too long": b"1\t" + b"2" * (3 * LINE_LIMIT),
}


@pytest.mark.parametrize(
    ("form", "bad"),
    [*((NDJSON, bad) for bad in BAD_NDJSON.values()), *((TSV, bad) for bad in BAD_TSV.values())],
    ids=[*BAD_NDJSON, *BAD_TSV],
)
def test_a_bad_line_is_named_and_the_good_ones_are_kept(form: Form, bad: bytes) -> None:
    """Its number and what is wrong are told, the lines before and behind it are read: wherever
    it stands, and however the body is cut."""
    good = line(form)
    for before in (b"", good, good * 5 + b"\n"):
        for after in (b"", b"\n", b"\n" + good, b"\n\n" + good * 3):
            body = before + bad + after
            pairs, reader = read(form, [body])
            assert pairs == [(b"1", b"2")] * (before + after).count(b"2")
            assert reader.bad == 1
            [error] = reader.errors
            assert error.number == before.count(b"\n") + 1
            assert error.reason.endswith(".")
            for pieces in (cut(body, (len(before), -1, 7)), cut(body, (len(before) + 5000, 3))):
                assert outcome(form, pieces) == outcome(form, [body])
    assert outcome(form, bytewise(good + bad + b"\n" + good)) == outcome(
        form, [good + bad + b"\n" + good]
    )


@FORMS
def test_which_of_the_two_ids_is_wrong(form: Form) -> None:
    """It's told."""
    _, reader = read(form, [line(form, "a b", "2") + line(form, "1", "/")])
    first, second = reader.errors
    assert first.reason.startswith("Subscriber: The user id has a character")
    assert second.reason.startswith("Publisher: The user id has a character")


@FORMS
def test_only_the_first_bad_lines_are_described(form: Form) -> None:
    """All are counted, and the first ones named."""
    body = (b"?\n" + line(form)) * (5 * REPORTED)
    pairs, reader = read(form, [body])
    assert len(pairs) == reader.bad == 5 * REPORTED
    assert [error.number for error in reader.errors] == list(range(1, 2 * REPORTED, 2))


@FORMS
def test_a_line_at_its_limit(form: Form) -> None:
    """A line of exactly the limit may pass, one byte more doesn't, however it comes."""
    for size, bad in ((LINE_LIMIT, 0), (LINE_LIMIT + 1, 1)):
        body = b" " * size + b"\n" + line(form)
        for pieces in ([body], bytewise(body), cut(body, [LINE_LIMIT])):
            assert outcome(form, pieces)[:3] == ([(b"1", b"2")], 2, bad)


@FORMS
def test_an_endless_line_is_not_kept(form: Form) -> None:
    """Of a line that never ends no more is kept than the limit and a piece."""
    reader = Reader(form)
    for _ in range(1000):
        reader.feed(b"x" * 1000)
        assert len(reader._cutter._partial) <= LINE_LIMIT
    assert (reader.lines, reader.bad) == (1, 1)
    assert reader.finish() == []


IDS = st.text("az09-_.~@:", min_size=1, max_size=4).filter(lambda it: is_user_id(it.encode()))
LINES = st.lists(
    st.one_of(
        st.tuples(IDS, IDS),
        st.sampled_from(["", " ", "?", "1\t2\t3", "{}", '{"subscriber": "1"}', "x" * 5000]),
    ),
    max_size=12,
)


@FORMS
@given(LINES, st.sampled_from(["\n", "\r\n"]), PLACES)
def test_any_split_of_any_body(
    form: Form, lines: list[tuple[str, str] | str], end: str, places: list[int]
) -> None:
    """The pairs are those of the good lines, in order, and each bad line is named once."""
    good = [(a.encode(), b.encode()) for a, b in (it for it in lines if isinstance(it, tuple))]
    bad = [n for n, it in enumerate(lines, 1) if isinstance(it, str) and it.strip()]
    body = b"".join(
        (it + end).encode() if isinstance(it, str) else line(form, *it, end) for it in lines
    )
    for pieces in ([body], cut(body, places)):
        pairs, reader = read(form, pieces)
        assert pairs == good
        assert (reader.lines, reader.bad) == (len(lines), len(bad))
        assert [error.number for error in reader.errors] == bad
