"""HTTP/1.1 responses as bytes: answers, problems (RFC 9457) and the heads of streams.

Pure: the date comes from the caller.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON = b"application/json"
PROBLEM = b"application/problem+json"
EVENTS = b"text/event-stream; charset=utf-8"

Headers = tuple[tuple[bytes, bytes], ...]


def status_line(status: int) -> bytes:
    """``HTTP/1.1 200 OK`` with its line end."""
    return b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())


def response(
    status: int,
    body: bytes,
    *,
    date: bytes,
    content_type: bytes = JSON,
    headers: Headers = (),
    close: bool = False,
    head_only: bool = False,
) -> bytes:
    """A whole response; with `head_only` (the answer to HEAD) without its body. Without a content
    type it says nothing of one."""
    lines = [status_line(status), b"Date: %b\r\n" % date]
    if content_type:
        lines.append(b"Content-Type: %b\r\n" % content_type)
    if status != HTTPStatus.NO_CONTENT:  # RFC 9110, 8.6
        lines.append(b"Content-Length: %d\r\n" % len(body))
    lines.append(header_lines(headers))
    if close:
        lines.append(b"Connection: close\r\n")
    lines += (b"\r\n", b"" if head_only else body)
    return b"".join(lines)


def with_headers(response: bytes, headers: Headers) -> bytes:
    """A whole `response`, with `headers` added."""
    end = response.index(b"\r\n\r\n") + 2
    return response[:end] + header_lines(headers) + response[end:]


def header_lines(headers: Headers) -> bytes:
    """Each with its line end."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def problem_body(status: int, detail: str, more: Mapping[str, int] | None = None) -> bytes:
    """Problem details; `detail` says what to do, `more` adds members."""
    return msgspec.json.encode(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            **(more or {}),
        }
    )


def problem(
    status: int,
    detail: str,
    *,
    date: bytes,
    headers: Headers = (),
    close: bool = False,
    head_only: bool = False,
    more: Mapping[str, int] | None = None,
) -> bytes:
    """An error as ``application/problem+json``; see `problem_body`."""
    return response(
        status,
        problem_body(status, detail, more),
        date=date,
        content_type=PROBLEM,
        headers=headers,
        close=close,
        head_only=head_only,
    )


def not_now(detail: str, after: float, *, date: bytes, close: bool = False) -> bytes:
    """What who accepts an event stream is told instead of 503: to come back `after` seconds.

    Any status but 200 would close an EventSource for good (WHATWG HTML, 9.2.3). The stream ends at
    once, and has no event; by Retry-After others can tell it from one that was lost.
    """
    retry = int(after * 1000)
    headers = ((b"Cache-Control", b"no-store"), (b"Retry-After", b"%d" % math.ceil(retry / 1000)))
    body = b": %b\nretry: %d\n" % (detail.encode(), retry)
    return response(200, body, date=date, content_type=EVENTS, headers=headers, close=close)


def chunk(data: bytes) -> bytes:
    """`data` as one chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body."""
