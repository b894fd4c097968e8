"""Responses: what a client makes of them (h11 here), and what they say."""

import json
from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.wire.response import (
    CONTINUE,
    LAST_CHUNK,
    PROBLEM,
    chunk,
    problem,
    response,
    status_line,
)

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


def read(data: bytes, method: str = "GET") -> tuple[h11.Response, bytes, bytes]:
    """The response that a client sees in `data`, its body, and what is left behind it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return head, body, client.trailing_data[0]


@pytest.mark.parametrize("status", [200, 400, 401, 404, 405, 408, 413, 417, 431, 501, 503, 505])
def test_status_line(status: int) -> None:
    """The status line has the status and its phrase."""
    phrase = HTTPStatus(status).phrase
    assert status_line(status) == f"HTTP/1.1 {status} {phrase}\r\n".encode()


@given(st.sampled_from([200, 400, 503]), st.binary(max_size=100), st.booleans())
def test_response(status: int, body: bytes, close: bool) -> None:
    """A client reads status, body and headers as they were given, and knows where it ends."""
    extra = ((b"Allow", b"GET, HEAD"), (b"Retry-After", b"1"))
    data = response(status, body, date=DATE, content_type=b"a/b", headers=extra, close=close)
    head, seen, left = read(data)
    headers = dict(head.headers)
    assert (head.status_code, seen, left) == (status, body, b"")
    assert headers.pop(b"connection", b"keep-alive") == (b"close" if close else b"keep-alive")
    assert headers == {
        b"date": DATE,
        b"content-type": b"a/b",
        b"content-length": b"%d" % len(body),
        b"allow": b"GET, HEAD",
        b"retry-after": b"1",
    }


def test_the_answer_to_head() -> None:
    """The answer to HEAD has the headers of the answer to GET, its length too, but no body."""
    whole = response(200, b"hello", date=DATE)
    head_only = response(200, b"hello", date=DATE, head_only=True)
    assert head_only + b"hello" == whole
    head, seen, left = read(head_only, "HEAD")
    assert dict(head.headers)[b"content-length"] == b"5"
    assert (seen, left) == (b"", b"")


@pytest.mark.parametrize("status", [400, 404, 405, 408, 413, 431, 501, 503, 505])
def test_problem(status: int) -> None:
    """An error is a problem of RFC 9457: what it is, its status, and what to do."""
    detail = 'Say "please" — ☄.'
    head, body, _ = read(problem(status, detail, date=DATE, headers=((b"X-Y", b"z"),)))
    assert head.status_code == status
    assert dict(head.headers)[b"content-type"] == PROBLEM
    assert dict(head.headers)[b"x-y"] == b"z"
    assert json.loads(body) == {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }


def test_a_problem_with_more_members() -> None:
    """`more` stands beside the standard's members."""
    data = problem(400, "No.", date=DATE, more={"line": 3, "accepted": 2, "delivered": 1})
    value = json.loads(read(data)[1])
    assert (value["line"], value["accepted"], value["delivered"]) == (3, 2, 1)
    assert value["status"] == 400


def test_a_problem_may_close_and_may_answer_head() -> None:
    """`close` and `head_only` do for a problem what they do for any response."""
    data = problem(404, "No.", date=DATE, close=True, head_only=True)
    head, body, left = read(data, "HEAD")
    assert (b"connection", b"close") in list(head.headers)
    assert (body, left) == (b"", b"")


def test_continue() -> None:
    """100 Continue is a whole interim response, and the final one follows."""
    client = h11.Connection(h11.CLIENT)
    headers = [("Host", "a"), ("Content-Length", "1"), ("Expect", "100-continue")]
    client.send(h11.Request(method="POST", target="/", headers=headers))
    client.receive_data(CONTINUE)
    interim = client.next_event()
    assert isinstance(interim, h11.InformationalResponse)
    assert interim.status_code == 100
    assert client.next_event() is h11.NEED_DATA


@given(st.lists(st.binary(min_size=1, max_size=300)))
def test_chunks(pieces: list[bytes]) -> None:
    """A body of chunks is read as the pieces behind each other, and ends with the last chunk."""
    head = status_line(200) + b"Transfer-Encoding: chunked\r\n\r\n"
    _, body, left = read(head + b"".join(map(chunk, pieces)) + LAST_CHUNK)
    assert body == b"".join(pieces)
    assert left == b""


def test_a_chunk_is_one_line_and_its_data() -> None:
    """A chunk is its size in hex, and the data (RFC 9112, 7.1)."""
    assert chunk(b"Recvd msg #1: 'Hello World'\n") == b"1c\r\nRecvd msg #1: 'Hello World'\n\r\n"
