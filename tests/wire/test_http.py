"""HTTP/1.1 requests: what comes out of which bytes, and what is refused."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encke.wire.http import HEAD_LIMIT, METHODS, RequestParser, percent_decoded
from encke.wire.request import END, HttpEvent, Refusal, Request

from .http_samples import (
    FIVE,
    NEXT,
    READ,
    REFUSED,
    UPGRADE,
    a_get,
    chunked,
    joined,
    make,
    post,
    request,
)
from .ways import PLACES, bytewise, cut, fed, three_ways


def read(data: bytes, limit: int = HEAD_LIMIT) -> list[HttpEvent]:
    """The events of `data`, read three ways."""
    return three_ways(make(limit), data, NEXT, joined)


def request_of(data: bytes) -> Request:
    """The request whose head `data` begins with."""
    request = read(data)[0]
    assert isinstance(request, Request)
    return request


@pytest.mark.parametrize("name", READ)
def test_requests(name: str) -> None:
    """Each request gives its events, fed whole, byte by byte and with the next one behind."""
    data, events = READ[name]
    assert read(data) == events


@pytest.mark.parametrize("method", sorted(METHODS - {b"CONNECT"}))
def test_methods(method: bytes) -> None:
    """All methods of the standard are passed on; which path takes which isn't decided here."""
    assert read(request(line=method + b" /x HTTP/1.1")) == [Request(method, b"/x", {}, False), END]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/test/1", b"/test/1"),
        (b"/test/1?x=1", b"/test/1"),
        (b"/test/a%2Fb?x", b"/test/a%2Fb"),
        (b"/test/http://x/y", b"/test/http://x/y"),
        (b"/?http://x/y", b"/"),
        (b"http://example.org/test/1?x", b"/test/1"),
        (b"http://example.org:80/test/1/", b"/test/1/"),
        (b"http://example.org", b"/"),
        (b"http://example.org?x=/y", b"/"),
        (b"*", b"*"),
    ],
)
def test_path(target: bytes, path: bytes) -> None:
    """The path is the target without its query; of an absolute URI without the authority too."""
    method = b"OPTIONS" if target == b"*" else b"GET"
    asked = request_of(request(line=method + b" " + target + b" HTTP/1.1"))
    assert (asked.target, asked.path) == (target, path)


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ([], False),
        ([b"Accept: */*"], False),
        ([b"Accept: text/html, text/event-streams"], False),
        ([b"Accept: text/event-stream"], True),
        ([b"accept:text/html;q=0.5 ,Text/Event-Stream;q=0.1"], True),
        ([b"Accept: text/html", b"Accept: text/event-stream"], True),
    ],
)
def test_accepts_events(fields: list[bytes], accepted: bool) -> None:
    """As an EventSource says; what accepts anything may be anybody."""
    assert request_of(request(*fields)).accepts_events == accepted


@pytest.mark.parametrize(
    ("line", "fields", "kept"),
    [
        (b"GET / HTTP/1.1", [], True),
        (b"GET / HTTP/1.1", [b"Connection: keep-alive"], True),
        (b"GET / HTTP/1.1", [b"Connection: closed"], True),
        (b"GET / HTTP/1.1", [b"Connection: close"], False),
        (b"GET / HTTP/1.1", [b"Connection: CLOSE"], False),
        (b"GET / HTTP/1.1", [b"Connection: x, close"], False),
        (b"GET / HTTP/1.1", [b"Connection: close ,x"], False),
        (b"GET / HTTP/1.1", [b"Connection: keep-alive, close"], False),
        (b"GET / HTTP/1.1", [b"Connection: close\t"], False),
        (b"GET / HTTP/1.1", [b"Connection: ,close,"], False),
        (b"GET / HTTP/1.1", [b"Connection: x", b"Connection: close"], False),
        (b"GET / HTTP/1.1", [b"Connection: close", b"Connection: x"], False),
        (b"GET / HTTP/1.1", [b"Proxy-Connection: close"], False),
        (b"GET / HTTP/1.1", [b"Proxy-Connection: close", b"Connection: keep-alive"], False),
        (b"GET / HTTP/1.0", [], False),
        (b"GET / HTTP/1.0", [b"Connection: keep-alive"], False),
        (b"GET / HTTP/1.0", [b"Proxy-Connection: keep-alive"], False),
    ],
)
def test_keep_alive(line: bytes, fields: list[bytes], kept: bool) -> None:
    """A connection is kept if its request says so, and then the parser takes another on it."""
    parser = RequestParser()
    first, end = parser.feed(request(*fields, line=line))
    assert isinstance(first, Request)
    assert end is END
    assert first.keep_alive == kept
    assert first.is_http_10 == line.endswith(b"1.0")
    if kept:
        assert parser.between_requests
        assert parser.feed(NEXT) == [a_get(b"/next"), END]


@pytest.mark.parametrize("field", [b"Connection: close", b"Proxy-Connection: close"])
def test_a_trailer_may_end_the_connection(field: bytes) -> None:
    """Once it is whole, a request knows that its trailer ended the connection: the parser
    takes no other after it."""
    parser = RequestParser()
    first, end = parser.feed(chunked(b"0\r\n%b\r\n\r\n" % field))
    assert isinstance(first, Request)
    assert end is END
    assert not first.keep_alive


def test_what_follows_a_last_request_is_refused() -> None:
    """After `Connection: close` nothing is taken for a request any more (RFC 9112, 9.6)."""
    first, end, refusal = fed(make(), [request(b"Connection: close"), NEXT])
    assert isinstance(first, Request)
    assert end is END
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ([], False),
        ([b"Content-Length: 0"], False),
        ([b"Content-Length: 1"], True),
        ([b"Content-Length: " + b"0" * 5000], False),
        ([b"Content-Length: " + b"0" * 5000 + b"7"], True),
        ([b"Transfer-Encoding: chunked"], True),
    ],
)
def test_has_body(fields: list[bytes], body: bool) -> None:
    """Whether a body follows is known from the head, however its length is written."""
    assert request_of(post(*fields)).has_body == body


def test_an_upgrade_is_ignored() -> None:
    """A request with `Upgrade` is answered as if it had none, and is the connection's last."""
    parser = RequestParser()
    first, end = parser.feed(request(*UPGRADE))
    assert isinstance(first, Request)
    assert first.path == b"/test/1"
    assert end is END
    assert not first.keep_alive
    assert parser.closed
    assert parser.feed(NEXT) == []


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 5", b"hello"),
        (b"Transfer-Encoding: chunked", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
    ],
)
def test_an_ignored_upgrade_loses_no_body(framing: bytes, body: bytes) -> None:
    """The body of a POST with `Upgrade: h2c`, as Java's HttpClient and `curl --http2` send it,
    arrives; then the connection ends."""
    data = post(*UPGRADE, framing, body=body)
    for pieces in ([data], bytewise(data), [data, NEXT], [data + NEXT]):
        first, *rest = joined(fed(make(), pieces))
        assert isinstance(first, Request)
        assert not first.keep_alive
        assert rest[:2] == [b"hello", END]
        assert not any(isinstance(event, Request) for event in rest)


def test_connect_is_the_last_request() -> None:
    """What follows a CONNECT can't be told from a tunnel's bytes: the connection ends."""
    parser = RequestParser()
    first, end = parser.feed(b"CONNECT example.org:80 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert isinstance(first, Request)
    assert end is END
    assert not first.keep_alive


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """What is ambiguous, malformed or unknown is refused with its status, however it's fed."""
    data, status = REFUSED[name]
    *before, refusal = read(data)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status
    assert END not in before
    assert refusal.detail.endswith(".")


def test_a_bad_request_behind_good_ones() -> None:
    """The requests before a malformed one are passed on, and nothing behind it is."""
    *good, refusal = read(post(b"Content-Length: 5", body=b"hello") + request(b"X : y") + NEXT)
    assert good == [FIVE, b"hello", END]
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


def test_nothing_comes_after_a_refusal() -> None:
    """A refused connection brings nothing any more, and keeps no parser."""
    parser = RequestParser()
    assert len(parser.feed(b"\0")) == 1
    assert parser.closed
    assert not parser.between_requests
    assert parser.feed(NEXT) == []


def test_between_requests() -> None:
    """The parser may go exactly while all that came is whole requests."""
    parser = RequestParser()
    assert parser.between_requests
    data = post(b"Content-Length: 5", body=b"hello")
    for place, byte in enumerate(bytewise(data), 1):
        parser.feed(byte)
        assert parser.between_requests == (place == len(data))
    parser.feed(request() + b"G")
    assert not parser.between_requests


# limits

LIMIT = 256


def padded(size: int, where: str) -> bytes:
    """A request whose head has `size` bytes, most of them at `where`."""
    line, *fields = {
        "target": (b"GET /%b HTTP/1.1", b"Host: a"),
        "name": (b"GET / HTTP/1.1", b"X%b: a"),
        "value": (b"GET / HTTP/1.1", b"Host: a", b"X: %b"),
    }[where]
    bare = len(request(*fields, line=line)) - len("%b")
    padding = b"x" * (size - bare)
    return request(*fields, line=line).replace(b"%b", padding)


@pytest.mark.parametrize("where", ["target", "name", "value"])
@pytest.mark.parametrize("before", [b"", NEXT, post(b"Content-Length: 999", body=b"x" * 999)])
def test_a_head_at_its_limit(where: str, before: bytes) -> None:
    """A head of exactly the limit passes, one byte more is 431: fed whole, byte by byte, or
    behind another request."""
    fitting, over = padded(LIMIT, where), padded(LIMIT + 1, where)
    assert len(fitting) == LIMIT
    assert read(before + fitting, LIMIT)[-1] is END
    refusal = read(before + over, LIMIT)[-1]
    assert isinstance(refusal, Refusal)
    assert refusal.status == 431


def test_many_headers_at_the_limit() -> None:
    """Many small headers count as one large one does."""
    fields = [b"X-%03d: %d" % (number, number % 10) for number in range(20)]
    size = len(request(*fields))
    assert read(request(*fields), size)[-1] is END
    refusal = read(request(*fields), size - 1)[-1]
    assert isinstance(refusal, Refusal)
    assert refusal.status == 431


@pytest.mark.parametrize("size", [LIMIT, 1000, 64 * 1024])
def test_pipelined_requests_may_be_cut_in_a_head(size: int) -> None:
    """Many small requests in one read aren't a large head, wherever the read ends."""
    one = post(b"Content-Length: 5", body=b"hello")
    stream = one * (size // len(one) + 2)
    for end in range(size - len(one), size):
        events = fed(make(LIMIT), [stream[:end], stream[end:]])
        assert joined(events) == fed(make(LIMIT), [stream])


ENDLESS = {
    "a target": (b"GET /", b"x"),
    "a name": (b"GET / HTTP/1.1\r\n", b"x"),
    "a value": (b"GET / HTTP/1.1\r\nX: ", b"x"),
    "blanks before a value": (b"GET / HTTP/1.1\r\nX:", b" "),
    "headers": (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
    "a trailer's name": (chunked(b"0\r\n"), b"x"),
    "a trailer": (chunked(b"1\r\na\r\n0\r\nX: "), b"x"),
    "trailers": (chunked(b"0\r\n"), b"X: y\r\n"),
    "headers behind a request": (NEXT + b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("piece", [1, 64])
@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_head_is_refused(name: str, piece: int) -> None:
    """No head and no trailer grows past the limit and one read: what is kept is bounded."""
    start, filler = ENDLESS[name]
    parser = RequestParser(LIMIT)
    parser.feed(start)
    endless = filler * piece
    events: list[HttpEvent] = []
    for _ in range(LIMIT // len(endless) + 2):
        events += parser.feed(endless)
    (refusal,) = events
    assert isinstance(refusal, Refusal)
    assert refusal.status == 431


# properties

TOKENS = st.text("abcXYZ019-", min_size=1, max_size=8).map(str.encode)
VALUES = st.text("abc XYZ019=;/,", max_size=12).map(lambda text: text.strip().encode())
BODIES = st.binary(max_size=40)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, list[HttpEvent]]:
    """A valid request, and its events."""
    method = draw(st.sampled_from(sorted(METHODS - {b"CONNECT"})))
    target = b"/" + draw(st.text("abc/%?&=019~", max_size=20)).encode()
    fields = [b"X-%b: %b" % pair for pair in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=3))]
    headers: dict[bytes, bytes] = {}
    if draw(st.booleans()):
        headers[b"origin"] = draw(VALUES)
        fields.append(b"Origin: " + headers[b"origin"])
    content = raw = b""
    match draw(st.sampled_from(["none", "length", "chunks"])):
        case "length":
            content = raw = draw(BODIES)
            headers[b"content-length"] = b"%d" % len(raw)
            fields.append(b"Content-Length: %d" % len(raw))
        case "chunks":
            pieces = draw(st.lists(BODIES.filter(bool), max_size=4))
            extension = draw(st.sampled_from([b"", b";x", b";x=y"]))
            content = b"".join(pieces)
            raw = b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension, p) for p in pieces)
            raw += b"0\r\n" + draw(st.sampled_from([b"", b"T: u\r\n"])) + b"\r\n"
            headers[b"transfer-encoding"] = b"chunked"
            fields.append(b"Transfer-Encoding: chunked")
    data = request(*fields, line=b"%b %b HTTP/1.1" % (method, target), body=raw)
    events: list[HttpEvent] = [Request(method, target, headers, False)]
    return data, [*events, content, END] if content else [*events, END]


@settings(max_examples=300, deadline=None)
@given(st.lists(messages(), max_size=6), PLACES)
def test_any_split_of_pipelined_requests(
    pipeline: list[tuple[bytes, list[HttpEvent]]], places: list[int]
) -> None:
    """Wherever a stream of requests is cut, the same events come out, in order."""
    stream = b"".join(data for data, _ in pipeline)
    expected = [event for _, events in pipeline for event in events]
    assert joined(fed(make(LIMIT), cut(stream, places))) == expected


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=30)
        | st.sampled_from([data for data, _ in (*READ.values(), *REFUSED.values())]),
        max_size=4,
    ),
    PLACES,
)
def test_arbitrary_bytes(parts: list[bytes], places: list[int]) -> None:
    """No bytes make the parser raise, and a refusal is the last that comes of them."""
    parser = RequestParser(LIMIT)
    events = [event for piece in cut(b"".join(parts), places) for event in parser.feed(piece)]
    assert not any(isinstance(event, Refusal) for event in events[:-1])
    for event in events:
        if isinstance(event, Request):
            assert isinstance(event.path, bytes)
            assert event.keep_alive in (True, False)
            assert event.has_body in (True, False)
    if events and isinstance(events[-1], Refusal):
        assert parser.feed(NEXT) == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["GET", "POST", "PUT"]), st.lists(BODIES), st.booleans()))
)
def test_requests_of_h11(sent: list[tuple[str, list[bytes], bool]]) -> None:
    """What h11 writes as a client is read as it was meant."""
    stream, expected = b"", list[HttpEvent]()
    for method, pieces, chunks in sent:
        body = b"".join(pieces)
        framing = ("Transfer-Encoding", "chunked") if chunks else ("Content-Length", str(len(body)))
        client = h11.Connection(h11.CLIENT)
        head = h11.Request(method=method, target="/x", headers=[("Host", "a"), framing])
        for event in (head, *(h11.Data(data=piece) for piece in pieces), h11.EndOfMessage()):
            stream += client.send(event) or b""
        kept = {framing[0].lower().encode(): framing[1].encode()}
        expected += [Request(method.encode(), b"/x", kept, False), *filter(None, [body]), END]
    assert joined(fed(make(), [stream])) == expected


# percent-encoding


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        (b"123", b"123"),
        (b"a%40b", b"a@b"),
        (b"%3a%3A", b"::"),
        (b"%25", b"%"),
        (b"%2525", b"%25"),
        (b"%00%ff", b"\x00\xff"),
        (b"%E2%98%84", b"\xe2\x98\x84"),
        (b"%", b"%"),
        (b"%4", b"%4"),
        (b"%zz", b"%zz"),
        (b"%%41", b"%A"),
        (b"%4%31", b"%41"),
        (b"a+b", b"a+b"),
        (b"", b""),
    ],
)
def test_percent_decoded(encoded: bytes, decoded: bytes) -> None:
    """%XX is one byte, once; anything else stays as it is, + included."""
    assert percent_decoded(encoded) == decoded


@given(st.binary())
def test_percent_encoding_round_trips(raw: bytes) -> None:
    """Whatever is percent-encoded byte by byte comes back."""
    assert percent_decoded(b"".join(b"%%%02x" % byte for byte in raw)) == raw
    assert percent_decoded(b"".join(b"%%%02X" % byte for byte in raw)) == raw
