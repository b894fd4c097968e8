"""Heads that were seen before: recognized or not, a request is what llhttp says it is."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from encke.wire.http import HEAD_LIMIT, LIMIT, LONGEST, KnownHeads, RequestParser
from encke.wire.request import END, HttpEvent, Refusal, Request

from .http_samples import NEXT, READ, REFUSED, joined, post, request
from .ways import PLACES, cut, fed

HOST = b"Host: a"
FIVE = b"Content-Length: 5"
PLAIN = post(HOST, FIVE, body=b"hello")


def feed(data: bytes, known: KnownHeads, limit: int = HEAD_LIMIT) -> list[HttpEvent]:
    """The events of `data` on a new connection."""
    return RequestParser(limit, known).feed(data)


def taught(*requests: bytes) -> KnownHeads:
    """What is known after `requests`, each on a connection of its own."""
    known = KnownHeads()
    for one in requests:
        feed(one, known)
    return known


def recognized(data: bytes, known: KnownHeads, limit: int = HEAD_LIMIT) -> int:
    """How many bytes of `data` need no parser."""
    return known.read(data, [], limit)


def test_the_same_head_is_recognized() -> None:
    """A message to another user, with another body of this length, needs no parser."""
    known = taught(PLAIN)
    other = PLAIN.replace(b"/send/1", b"/send/someone.else").replace(b"hello", b"world")
    assert recognized(other, known) == len(other)
    headers = {b"content-length": b"5"}
    expected = Request(b"POST", b"/send/someone.else", headers, False)
    assert feed(other, known) == [expected, b"world", END]


def test_pipelined() -> None:
    """Of several requests in one read, each that is known and wholly there is recognized."""
    known = taught(PLAIN)
    assert recognized(PLAIN * 3, known) == 3 * len(PLAIN)
    assert recognized(PLAIN * 2 + PLAIN[:-1], known) == 2 * len(PLAIN)
    assert recognized(PLAIN + NEXT + PLAIN, known) == len(PLAIN)
    first, *rest = feed(PLAIN + PLAIN[:-1], known)
    assert isinstance(first, Request)
    assert len(rest) == 4  # the body, the end; the second head, and most of its body


@pytest.mark.parametrize(
    "data",
    [
        post(HOST, b"Content-Length: 6", body=b"hello!"),
        post(b"Host: b", FIVE, body=b"hello"),
        post(b"host: a", FIVE, body=b"hello"),
        PLAIN.replace(b"POST", b"GET"),
        PLAIN.replace(b"1.1", b"1.0"),
        PLAIN.replace(b"/send/1", b"/send/%31"),
        PLAIN.replace(b"/send/1", b"/send/1?a"),
        PLAIN.replace(b"/send/1", b"/send/\xe2"),
        PLAIN.replace(b"/send/1", b"/send/ 1"),
        PLAIN.replace(b"/send/1", b"http://a/send/1"),
        b"\r\n" + PLAIN,
        PLAIN[:-1],
        PLAIN[: PLAIN.index(b"\r\n\r\n") + 3],
    ],
)
def test_all_else_is_not(data: bytes) -> None:
    """What differs in anything but the user id and the body's bytes is the parser's."""
    assert recognized(data, taught(PLAIN)) == 0


@pytest.mark.parametrize(
    "fields",
    [
        [b"Connection: close", FIVE],
        [b"Connection: keep-alive", FIVE],
        [b"Proxy-Connection: close", FIVE],
        [b"Expect: 100-continue", FIVE],
        [b"Connection: Upgrade", b"Upgrade: h2c", FIVE],
        [b"X: " + b"x" * LONGEST, FIVE],
    ],
)
def test_what_is_not_kept(fields: list[bytes]) -> None:
    """A head that says how to go on, or is long, is parsed each time."""
    assert len(taught(post(*fields, body=b"hello"))) == 0


def test_chunks_are_not_kept() -> None:
    """Only a body whose length the head tells can be found without a parser."""
    chunks = post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n")
    assert len(taught(chunks)) == 0


def test_a_refused_head_is_not_kept() -> None:
    """What the parser refuses is refused each time."""
    bad = post(HOST, b"Bad : header", FIVE, body=b"hello")
    known = taught(bad)
    assert len(known) == 0
    assert isinstance(feed(bad, known)[-1], Refusal)


def test_the_head_limit_holds() -> None:
    """A head over the limit is refused, also if it was known from a shorter target."""
    known = taught(PLAIN)
    long = PLAIN.replace(b"/send/1", b"/send/" + b"1" * 100)
    limit = len(PLAIN) + 50
    assert recognized(long, known) == len(long)
    assert recognized(long, known, limit) == 0
    refusal = feed(long, known, limit)[-1]
    assert isinstance(refusal, Refusal)
    assert refusal.status == 431


def test_memory_is_bounded() -> None:
    """No more heads are kept than LIMIT; the oldest is forgotten."""
    posts = [post(b"X: %d" % i, FIVE, body=b"hello") for i in range(LIMIT + 1)]
    known = taught(*posts)
    assert len(known) == LIMIT
    assert recognized(posts[0], known) == 0
    assert recognized(posts[1], known)
    assert recognized(posts[-1], known)


SAMPLES = [data for data, _ in READ.values()] + [data for data, _ in REFUSED.values()]
SAMPLES += [PLAIN, post(FIVE, HOST, body=b"hello"), request(FIVE, body=b"hello")]


@example([PLAIN, REFUSED["garbage"][0]], [])
@given(st.lists(st.sampled_from(SAMPLES), max_size=6), st.lists(PLACES, max_size=3))
def test_nothing_else_changes(requests: list[bytes], ways: list[list[int]]) -> None:
    """Whatever was seen before, on whichever connections, the events are those of a parser
    that has never seen anything."""
    data = b"".join(requests)
    known = taught(*requests, *(a + b for a, b in pairwise(requests)))
    for places in [[], *ways]:
        pieces = cut(data, places)

        expected = joined(fed(lambda: RequestParser().feed, pieces))
        parser = RequestParser(HEAD_LIMIT, known)
        assert joined([event for piece in pieces for event in parser.feed(piece)]) == expected
