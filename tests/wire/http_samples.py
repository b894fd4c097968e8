"""Requests for the tests of `wire.http`, and what comes of each."""

from collections.abc import Callable

from encke.wire.http import HEAD_LIMIT, RequestParser
from encke.wire.request import END, HttpEvent, Request

from .ways import Feed

HOST = b"Host: a"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


def make(limit: int = HEAD_LIMIT) -> Callable[[], Feed[HttpEvent]]:
    return lambda: RequestParser(limit).feed


def joined(events: list[HttpEvent]) -> list[HttpEvent]:
    """`events` with the neighbouring pieces of a body put together."""
    whole: list[HttpEvent] = []
    for event in events:
        if isinstance(event, bytes) and whole and isinstance(whole[-1], bytes):
            whole[-1] += event
        else:
            whole.append(event)
    return whole


def request(*fields: bytes, line: bytes = b"GET /test/1 HTTP/1.1", body: bytes = b"") -> bytes:
    """Of HTTP/1.1 it has a Host, behind the given fields if none of them is one."""
    if line.endswith(b" HTTP/1.1") and not any(
        field.lower().startswith(b"host") for field in fields
    ):
        fields = (*fields, HOST)
    return b"\r\n".join((line, *fields)) + b"\r\n\r\n" + body


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return request(*fields, line=b"POST /send/1 HTTP/1.1", body=body)


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def a_get(target: bytes = b"/test/1", **headers: bytes) -> Request:
    return Request(b"GET", target, {k.encode(): v for k, v in headers.items()}, False)


CHUNKED = Request(b"POST", b"/send/1", {b"transfer-encoding": b"chunked"}, False)
FIVE = Request(b"POST", b"/send/1", {b"content-length": b"5"}, False)

READ: dict[str, tuple[bytes, list[HttpEvent]]] = {
    "no header": (request(), [a_get(), END]),
    "an empty host": (request(b"Host:"), [a_get(), END]),
    "no host, as HTTP/1.0 has it": (
        request(b"Connection: keep-alive", line=b"GET /test/1 HTTP/1.0"),
        [Request(b"GET", b"/test/1", {b"connection": b"keep-alive"}, True, False), END],
    ),
    "headers of no interest": (request(b"Host: a", b"X-Y: z"), [a_get(), END]),
    "a header of interest": (
        request(b"ORIGIN: https://a.example"),
        [a_get(origin=b"https://a.example"), END],
    ),
    "a header twice": (
        request(b"Connection: keep-alive", b"connection: x"),
        [a_get(connection=b"keep-alive, x"), END],
    ),
    "white space around a value": (request(b"Origin: \t a b\t "), [a_get(origin=b"a b"), END]),
    "no white space": (request(b"Origin:a"), [a_get(origin=b"a"), END]),
    "an empty value": (request(b"Origin:"), [a_get(origin=b""), END]),
    "a value beyond ASCII": (
        request(b"Origin: \xe2\x98\x84"),
        [a_get(origin=b"\xe2\x98\x84"), END],
    ),
    "a query": (
        request(line=b"GET /test/1?a=b?c/d HTTP/1.1"),
        [a_get(b"/test/1?a=b?c/d"), END],
    ),
    "blank lines before the request": (b"\r\n\r\n" + request(), [a_get(), END]),
    "a body with a length": (post(b"Content-Length: 5", body=b"hello"), [FIVE, b"hello", END]),
    "a body that looks like a request": (
        post(b"Content-Length: 5", body=b"GET /"),
        [FIVE, b"GET /", END],
    ),
    "a body of length 0": (
        post(b"Content-Length: 0"),
        [Request(b"POST", b"/send/1", {b"content-length": b"0"}, False), END],
    ),
    "a GET with a body": (
        request(b"Content-Length: 2", body=b"ab"),
        [Request(b"GET", b"/test/1", {b"content-length": b"2"}, False), b"ab", END],
    ),
    "chunks": (chunked(b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), [CHUNKED, b"hello", END]),
    "no chunk but the last": (chunked(b"0\r\n\r\n"), [CHUNKED, END]),
    "chunk sizes in any case, with zeros": (
        chunked(b"00A\r\n0123456789\r\n00b\r\n0123456789-\r\n000\r\n\r\n"),
        [CHUNKED, b"01234567890123456789-", END],
    ),
    "chunk extensions": (
        chunked(b'5;a=b;c;d="e;f"\r\nhello\r\n0;last\r\n\r\n'),
        [CHUNKED, b"hello", END],
    ),
    "trailers": (
        chunked(b"5\r\nhello\r\n0\r\nOrigin: b\r\nX: y\r\n\r\n"),
        [CHUNKED, b"hello", END],
    ),
    "a coding in capitals": (
        post(b"Transfer-Encoding: Chunked", body=b"1\r\na\r\n0\r\n\r\n"),
        [Request(b"POST", b"/send/1", {b"transfer-encoding": b"Chunked"}, False), b"a", END],
    ),
    "two requests": (request() + NEXT, [a_get(), END, a_get(b"/next"), END]),
    "a request behind a body": (
        post(b"Content-Length: 5", body=b"hello") + NEXT,
        [FIVE, b"hello", END, a_get(b"/next"), END],
    ),
    "a request behind chunks": (
        chunked(b"5\r\nhello\r\n0\r\n\r\n") + NEXT,
        [CHUNKED, b"hello", END, a_get(b"/next"), END],
    ),
    "half a head": (b"GET /test/1 HTTP/1.1\r\nHost: a", []),
    "half a body": (post(b"Content-Length: 5", body=b"he"), [FIVE, b"he"]),
    "an expectation": (
        post(b"Content-Length: 5", b"Expect: 100-continue", body=b"hello"),
        [
            Request(
                b"POST", b"/send/1", {b"content-length": b"5", b"expect": b"100-continue"}, False
            ),
            b"hello",
            END,
        ],
    ),
    "nothing": (b"", []),
}


UPGRADE = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA")

REFUSED: dict[str, tuple[bytes, int]] = {
    # framing that two readers might take differently (RFC 9112, 6.1, 6.3, 11.2)
    "length and coding": (
        post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        400,
    ),
    "coding and length": (
        post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
        400,
    ),
    "two lengths": (post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"), 400),
    "the same length twice": (
        post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
        400,
    ),
    "a list of lengths": (post(b"Content-Length: 5, 5", body=b"hello"), 400),
    "an empty length": (post(b"Content-Length:"), 400),
    "a length with a sign": (post(b"Content-Length: +5", body=b"hello"), 400),
    "a negative length": (post(b"Content-Length: -5", body=b"hello"), 400),
    "a length in hex": (post(b"Content-Length: 0x5", body=b"hello"), 400),
    "a length with a blank": (post(b"Content-Length: 1 5", body=b"hello"), 400),
    "a length beyond 64 bits": (post(b"Content-Length: 18446744073709551616"), 400),
    "chunked is not the last coding": (post(b"Transfer-Encoding: chunked, gzip"), 400),
    "a coding before chunked": (post(b"Transfer-Encoding: gzip, chunked"), 501),
    "chunked twice": (post(b"Transfer-Encoding: chunked, chunked"), 400),
    "a coding that isn't chunked": (post(b"Transfer-Encoding: gzip"), 400),
    "a coding that only ends like it": (post(b"Transfer-Encoding: xchunked"), 400),
    "identity": (post(b"Transfer-Encoding: identity"), 400),
    "no coding": (post(b"Transfer-Encoding:"), 400),
    "gzip behind chunked, in two fields": (
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"),
        400,
    ),
    # whom it is for (RFC 9112, 3.2)
    "no host": (b"GET /test/1 HTTP/1.1\r\nX: y\r\n\r\n", 400),
    "no host, and it closes": (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    "two hosts": (request(b"Host: a", b"Host: b"), 400),
    "the same host twice": (request(b"Host: a", b"host: a"), 400),
    "a list of hosts": (request(b"Host: a, b"), 400),
    # line ends and folding (RFC 9112, 2.2, 5.1, 5.2)
    "LF behind the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "LF behind a header": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "LF as the blank line": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "only LFs": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "CR behind a header": (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
    "folding with a blank": (request(b"X: a", b" b"), 400),
    "folding with a tab": (request(b"X: a", b"\tb"), 400),
    "folding of the first header": (request(b" X: a"), 400),
    "a blank before the colon": (request(b"Host : a"), 400),
    "a tab before the colon": (request(b"Host\t: a"), 400),
    "no colon": (request(b"Host"), 400),
    "no name": (request(b": a"), 400),
    "a name that is no token": (request(b"Ho(st: a"), 400),
    "NUL in a value": (request(b"Host: a\0b"), 400),
    # chunks (RFC 9112, 7.1)
    "LF behind a chunk size": (chunked(b"1\na\r\n0\r\n\r\n"), 400),
    "LF behind a chunk extension": (chunked(b"1;x=y\na\r\n0\r\n\r\n"), 400),
    "LF behind a chunk": (chunked(b"1\r\na\n0\r\n\r\n"), 400),
    "LF behind a trailer": (chunked(b"0\r\nX: y\n\r\n"), 400),
    "a chunk longer than said": (chunked(b"1\r\nab\r\n0\r\n\r\n"), 400),
    "a chunk size with 0x": (chunked(b"0x1\r\na\r\n0\r\n\r\n"), 400),
    "a chunk size with a sign": (chunked(b"+1\r\na\r\n0\r\n\r\n"), 400),
    "a chunk size with a blank": (chunked(b"1 \r\na\r\n0\r\n\r\n"), 400),
    "no chunk size": (chunked(b"\r\na\r\n0\r\n\r\n"), 400),
    "a chunk size beyond 64 bits": (chunked(b"10000000000000000\r\n"), 400),
    # request lines
    "an unknown method": (b"BREW /pot HTTP/1.1\r\n\r\n", 501),
    "a method in small letters": (b"get / HTTP/1.1\r\n\r\n", 501),
    "a method longer than a known one": (b"GETX / HTTP/1.1\r\n\r\n", 501),
    "a method of WebDAV": (request(line=b"PROPFIND / HTTP/1.1"), 501),
    "an unknown method behind blank lines": (b"\r\n\r\nBREW /pot HTTP/1.1\r\n\r\n", 501),
    "garbage": (b"\x00\x01\x02", 400),
    "garbage behind a blank line": (b"\r\n\x00\x01\x02", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "HTTP/2 from the start": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/2.0": (request(line=b"GET / HTTP/2.0"), 505),
    "HTTP/2.0 that would be kept": (
        request(b"Connection: keep-alive", line=b"GET / HTTP/2.0"),
        505,
    ),
    "HTTP/2.0 that a proxy would keep": (
        request(b"Proxy-Connection: keep-alive", line=b"GET / HTTP/2.0"),
        505,
    ),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/1.2": (request(line=b"GET / HTTP/1.2"), 400),
    "no version": (b"GET / \r\n\r\n", 400),
    "another protocol": (b"GET / GOPHER/1.1\r\n\r\n", 400),
    "something behind the version": (request(line=b"GET / HTTP/1.1 x"), 400),
    "a blank in the target": (request(line=b"GET /a b HTTP/1.1"), 400),
    "a relative target": (request(line=b"GET a/b HTTP/1.1"), 400),
    "a target beyond ASCII": (request(line=b"GET /\xe2\x98\x84 HTTP/1.1"), 400),
    "a control character in the target": (request(line=b"GET /\x01 HTTP/1.1"), 400),
}
