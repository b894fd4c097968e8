"""HTTP/1.1 responses as bytes: answers, problems (RFC 9457) and the heads of streams.

Pure: the date comes from the caller.
"""

from http import HTTPStatus

import msgspec

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON = b"application/json"
PROBLEM = b"application/problem+json"

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
    """A whole response; with `head_only` (the answer to HEAD) without its body."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    if close:
        lines += b"Connection: close\r\n"
    return b"%bDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
        status_line(status),
        date,
        content_type,
        len(body),
        lines,
        b"" if head_only else body,
    )


def problem(
    status: int,
    detail: str,
    *,
    date: bytes,
    headers: Headers = (),
    close: bool = False,
    head_only: bool = False,
    more: dict[str, int] | None = None,
) -> bytes:
    """An error as ``application/problem+json``; `detail` says what to do, `more` adds members."""
    body = msgspec.json.encode(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            **(more or {}),
        }
    )
    return response(
        status,
        body,
        date=date,
        content_type=PROBLEM,
        headers=headers,
        close=close,
        head_only=head_only,
    )


def chunk(data: bytes) -> bytes:
    """`data` as one chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body."""
