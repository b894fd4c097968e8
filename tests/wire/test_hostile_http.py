"""Requests that are none of HTTP/1.1 (RFC 9112): however they come, they are refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encke.wire.http import METHODS, RequestParser
from encke.wire.request import END, HttpEvent, Refusal, Request

from .http_samples import HOST, NEXT, chunked, joined, make, post, request
from .ways import PLACES, cut, fed, three_ways

OTHER = b"POST /send/1 RTSP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
"""What llhttp reads as a request, and doesn't tell from one of HTTP."""


def refused(data: bytes, status: int = 400) -> list[HttpEvent]:
    """What came before the refusal that ends `data`, whichever way it's fed."""
    *before, refusal = three_ways(make(), data, NEXT, joined)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.status == status
    return before


@pytest.mark.parametrize(
    "version", [b"RTSP/1.0", b"RTSP/1.1", b"RTSP/2.0", b"ICE/1.0", b"rtsp/1.0"]
)
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"PUT", b"HEAD"])
@pytest.mark.parametrize("blanks", [b" ", b"  "])
def test_another_protocol(method: bytes, version: bytes, blanks: bytes) -> None:
    """A request line names HTTP (RFC 9112, 2.3)."""
    line = blanks.join((method, b"/send/1", version))
    assert refused(request(HOST, line=line)) == []
    assert refused(b"\r\n\r\n" + request(HOST, line=line)) == []


@pytest.mark.parametrize(
    "before",
    [
        request(),
        post(b"Content-Length: 5", body=b"hello"),
        post(b"Content-Length: 5", body=b"hello") * 2,
        chunked(b"5\r\nhello\r\n0\r\n\r\n"),
        chunked(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
        post(b"Content-Length: %d" % len(OTHER), body=OTHER),
    ],
)
def test_another_protocol_behind_http(before: bytes) -> None:
    """Also behind other requests on the connection, which are good."""
    good = three_ways(make(), before, NEXT, joined)
    assert refused(before + OTHER) == good


@pytest.mark.parametrize(
    "data",
    [
        post(b"Content-Length: %d" % len(OTHER), body=OTHER),
        post(b"X: %b" % OTHER.partition(b"\r\n")[0], b"Content-Length: 5", body=b"hello"),
        post(b"Content-Length: 6", body=b" RTSP/") + NEXT,
        chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(OTHER), OTHER)) + NEXT,
        chunked(b"1\r\na\r\n0\r\nX: %b\r\n\r\n" % OTHER.partition(b"\r\n")[0]) + NEXT,
        request(line=b"GET /RTSP/1.0 HTTP/1.1"),
        request(line=b"GET /?POST%20/x%20RTSP/1.0 HTTP/1.1"),
    ],
)
def test_what_only_speaks_of_it(data: bytes) -> None:
    """A message or a header may say anything."""
    assert three_ways(make(), data, NEXT, joined)[-1] is END


LINE = OTHER.partition(b"\r\n")[0]
MIXED = [
    NEXT,
    b"\r\n" + NEXT,
    post(b"Content-Length: 5", body=b"hello"),
    post(b"Content-Length: %d" % len(LINE), b"X: " + LINE, body=LINE),
    chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (len(OTHER), OTHER)),
    OTHER,
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(MIXED), max_size=4), PLACES)
def test_wherever_it_is_cut(requests: list[bytes], places: list[int]) -> None:
    """How the bytes are cut makes no difference to what is taken."""
    data = b"".join(requests)
    assert joined(fed(make(), cut(data, places))) == joined(fed(make(), [data]))


GOOD_HOSTS = [
    b"", b"a", b"A.Example", b"localhost:8000", b"127.0.0.1", b"127.0.0.1:8000", b"a:", b"[::1]",
    b"[::1]:8000", b"[fe80::1:2]:1", b"[::ffff:127.0.0.1]", b"a_b", b"a-b.c", b"%C3%A9.example",
    b"xn--bcher-kva.example", b"a!$&'()*+;=b", b"1.2.3.4.5", b"[v1.a:b]",
]  # fmt: skip

BAD_HOSTS = [
    b"a b", b"a/b", b"/", b"a?b", b"a#b", b"a@b", b"u:p@a", b"a,b", b"a, b", b"a\tb", b"http://a",
    b"\xe9", b"caf\xc3\xa9.example", b"a\x80", b"a:8\xb2", b"a:b", b"a:80:80", b"a:+80", b"::1",
    b"[::1", b"[::1]a", b"[a]", b"[]", b"[::1%25eth0]", b"[:::::::::::1]", b"%", b"%4", b"%zz",
    b"a\\b", b'"a"', b"<a>", b"a|b", b"a^b", b"{a}",
]  # fmt: skip


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_hosts(host: bytes) -> None:
    """A name or an address, and perhaps a port (RFC 9112, 3.2; RFC 3986, 3.2.2)."""
    for line in (b"GET /test/1 HTTP/1.1", b"GET /test/1 HTTP/1.0"):
        first, end = three_ways(make(), request(b"Host: " + host, line=line), NEXT)[:2]
        assert isinstance(first, Request)
        assert end is END


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_what_is_no_host(host: bytes) -> None:
    """Anything else is refused (RFC 9112, 3.2): whom it's for could be read in two ways."""
    assert refused(request(b"Host: " + host)) == []
    assert refused(NEXT + post(b"Host: " + host, b"Content-Length: 1", body=b"x"))[-1] is END
    assert refused(request(b"Host: " + host, line=b"GET / HTTP/1.0")) == []


@pytest.mark.parametrize(
    "target", [b"http://u@a/", b"http://u:p@a/x", b"http:///x", b"http://a:b/"]
)
def test_a_target_for_no_host(target: bytes) -> None:
    """A whole URI says whom it's for, whatever Host says (RFC 9112, 3.2.2; RFC 9110, 4.2)."""
    assert refused(request(line=b"GET %b HTTP/1.1" % target)) == []


@given(st.binary(max_size=12))
def test_any_host(host: bytes) -> None:
    """Nothing that comes as a Host makes the parser raise, and a taken one is ASCII."""
    for event in RequestParser().feed(request(b"Host: " + host)):
        if isinstance(event, Request):
            taken = host.partition(b"\r\n")[0].strip(b" \t")
            assert taken.isascii()
            assert not set(b' /?#@,"<>\\') & set(taken)


def test_methods_are_the_standards() -> None:
    """None of the other protocols that llhttp speaks."""
    for method in (b"SOURCE", b"DESCRIBE", b"SETUP", b"PLAY", b"PRI"):
        assert method not in METHODS
