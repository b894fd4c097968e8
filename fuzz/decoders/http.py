"""Requests."""

from collections.abc import Iterable

from encke.wire.http import METHODS, KnownHeads, RequestParser
from encke.wire.request import END, HttpEvent, Refusal, Request

from ..engine import Decoder, Outcome
from ..promises import LIMIT, bounded, hold, ways


def http_events(
    pieces: Iterable[bytes], limit: int, known: KnownHeads | None = None
) -> tuple[RequestParser, list[HttpEvent]]:
    """What comes out of `pieces`, with the pieces of a body put together."""
    parser = RequestParser(limit, known)
    events: list[HttpEvent] = []
    for piece in pieces:
        for event in parser.feed(piece):
            if isinstance(event, bytes) and events and isinstance(events[-1], bytes):
                events[-1] += event
            else:
                events.append(event)
    return parser, events


def http_seen(events: list[HttpEvent]) -> list[object]:
    """`events` as far as they must be the same however the bytes are cut.

    Behind another request in the same read it can't be told whether a bad method is a
    word (501) or garbage (400).
    """
    return [
        ("method" if "method" in event.detail.lower() else event.status)
        if isinstance(event, Refusal)
        else event
        for event in events
    ]


def check_http(data: bytes) -> Outcome:
    """Requests: see `promises`; and their events keep to their grammar."""
    parser, events = http_events([data], 1 << 20)
    for pieces in ways(data):
        cut = http_events(pieces, 1 << 20)[1]
        hold(http_seen(cut) == http_seen(events), f"cut {pieces!r} gives {cut!r}, not {events!r}")
        http_grammar(http_events(pieces, LIMIT)[1])
    seen = KnownHeads()
    for _ in range(2):
        again = http_events([data], 1 << 20, seen)[1]
        hold(
            http_seen(again) == http_seen(events), f"known heads make it {again!r}, not {events!r}"
        )
    last = http_grammar(events)
    if last is not None and parser.between_requests:
        more = parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        hold(not last.keep_alive or more[-1] is END, f"kept alive, but next comes {more!r}")
    bounded(data, (b"a", b"0", b" ", b"a:b\r\n", b"\r\n"), RequestParser(LIMIT).feed)
    return tuple(
        event.detail if isinstance(event, Refusal) else type(event).__name__ for event in events
    )


def http_grammar(events: list[HttpEvent]) -> Request | None:
    """Hold that `events` are whole requests, then maybe a part of one, then maybe a Refusal.

    Returns the last request if it is whole, and no Refusal came.
    """
    request: Request | None = None
    body: bytes | None = None
    for place, event in enumerate(events):
        if isinstance(event, Refusal):
            hold(place == len(events) - 1, "something came after a Refusal")
            hold(event.status in (400, 431, 501, 505), f"status {event.status}")
            return None
        if isinstance(event, Request):
            hold(body is None, "a request came within another")
            request, body = event, b""
            hold(request.path in request.target or request.path == b"/", "path")
            hold(request.method in METHODS, "method")
        elif isinstance(event, bytes):
            hold(body == b"" and event != b"", "a body without a request, or an empty piece")
            body = event
        else:
            hold(body is not None and request is not None, "an end without a request")
            if request is not None and body is not None:
                http_framing(request, body)
            body = None
    return request if body is None else None


def http_framing(request: Request, body: bytes) -> None:
    """Hold that a whole request has the body that its head announced."""
    length = request.headers.get(b"content-length")
    if length is not None:
        hold(len(body) == int(length[-20:]), f"{length!r} bytes announced, {len(body)} came")
        hold(b"transfer-encoding" not in request.headers, "both length and coding")
    elif b"transfer-encoding" not in request.headers:
        hold(not body, "a body that wasn't announced")
    hold(request.has_body or not body, "has_body is wrong")


HTTP = Decoder(
    "http",
    check_http,
    (
        b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"0\r\n\r\n", b": ", b" ", b"\t", b";a=b",
        b"GET / HTTP/1.1\r\n", b"POST /send/1 HTTP/1.1\r\n", b"HTTP/1.0", b"HTTP/2.0",
        b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Proxy-Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"CONNECT ",
        b"5\r\nhello\r\n", b"X: y\r\n", b"%41", b"http://a", b"?", b"PRI * ", b"00000000",
        b"POST / RTSP/1.0\r\n", b"Host: a b\r\n",
    ),
)  # fmt: skip
