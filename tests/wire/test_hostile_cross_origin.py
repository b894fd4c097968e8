"""Whose requests are taken: of programs, of pages of the same origin, and of those that may."""

import pytest

from encke.wire.cross_origin import CrossOriginProtection
from encke.wire.http import KnownHeads, RequestParser
from encke.wire.request import END, Refusal, Request

from .http_samples import make, post, request
from .ways import three_ways

HERE = b"Host: 127.0.0.1:8000"
LOCAL = frozenset(("localhost",))
APP = "https://app.example"

STRICT = CrossOriginProtection(hosts=LOCAL, origins=())
"""On loopback without a key."""


def status(protection: CrossOriginProtection, data: bytes) -> int:
    """What becomes of the request `data`: 200, or the status of the refusal, fed in three ways."""
    events = three_ways(
        lambda: RequestParser(protection=protection).feed, data, request(b"Host: localhost")
    )
    if isinstance(events[-1], Refusal):
        assert len(events) == 1
        assert events[-1].detail.endswith(".")
        return events[-1].status
    assert isinstance(events[0], Request)
    assert events[-1] is END
    return 200


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        (b"127.0.0.1", True),
        (b"127.0.0.1:8000", True),
        (b"127.8.8.8:1", True),
        (b"localhost", True),
        (b"LOCALHOST:8000", True),
        (b"[::1]:8000", True),
        (b"evil.example", False),
        (b"evil.example:8000", False),
        (b"127.0.0.1.evil.example", False),
        (b"127.evil.example", False),
        (b"localhost.evil.example", False),
        (b"xlocalhost", False),
        (b"192.0.2.1", False),
        (b"127.0.0.1.", False),
        (b"[::2]", False),
        (b"::1", None),  # no Host at all
        (b"", False),
    ],
)
def test_hosts(host: bytes, taken: bool | None) -> None:
    """Only this machine's own names are taken: a name that was bent to it (DNS rebinding) is a
    stranger's."""
    expected = 400 if taken is None else 200 if taken else 403
    for data in (
        request(b"Host: " + host),
        post(b"Host: " + host, b"Content-Length: 1", body=b"x"),
        request(b"Host: " + host, line=b"GET /test/1 HTTP/1.0"),
        request(b"Host: " + host, b"Sec-Fetch-Site: same-origin", b"Origin: http://" + host),
    ):
        assert status(STRICT, data) == expected


def test_a_whole_target_is_whom_it_is_for() -> None:
    """What Host says doesn't matter then (RFC 9112, 3.2.2)."""
    for target, host, expected in (
        (b"http://localhost:8000/test/1", b"evil.example", 200),
        (b"http://evil.example/test/1", b"localhost", 403),
    ):
        line = b"GET %b HTTP/1.1" % target
        assert status(STRICT, request(b"Host: " + host, line=line)) == expected


def test_no_host() -> None:
    """HTTP/1.0 may say nothing; no browser does."""
    assert status(STRICT, request(line=b"GET /test/1 HTTP/1.0")) == 200


def test_allowed_hosts() -> None:
    """Other names may be allowed, as a proxy in front passes them on; or all."""
    some = CrossOriginProtection(hosts=LOCAL | {"push.example", "192.0.2.1"}, origins=())
    for host in (b"push.example", b"Push.Example:443", b"192.0.2.1:8000", b"localhost"):
        assert status(some, request(b"Host: " + host)) == 200
    for host in (b"evil.example", b"a.push.example", b"192.0.2.2"):
        assert status(some, request(b"Host: " + host)) == 403
    anyone = CrossOriginProtection(hosts=None, origins=())
    assert status(anyone, request(b"Host: evil.example")) == 200


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ([], True),  # a program
        ([b"Sec-Fetch-Site: same-origin"], True),
        ([b"Sec-Fetch-Site: none"], True),  # typed by the user
        ([b"Sec-Fetch-Site: cross-site"], False),
        ([b"Sec-Fetch-Site: same-site"], False),  # another port of this machine
        ([b"Sec-Fetch-Site: Same-Origin"], False),
        ([b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Site: cross-site"], False),
        ([b"Sec-Fetch-Site:"], False),
        ([b"Origin: http://127.0.0.1:8000"], True),
        ([b"Origin: https://127.0.0.1:8000"], True),  # a proxy in front speaks TLS
        ([b"Origin: http://127.0.0.1:8080"], False),
        ([b"Origin: http://localhost:8000"], False),
        ([b"Origin: https://evil.example"], False),
        ([b"Origin: http://127.0.0.1:8000.evil.example"], False),
        ([b"Origin: null"], False),
        ([b"Origin:"], False),
        ([b"Origin: 127.0.0.1:8000"], False),
        ([b"Origin: http://127.0.0.1:8000", b"Origin: http://evil.example"], False),
        # a proxy in front that passes on another Host: the browser knows better
        ([b"Origin: https://example.org", b"Sec-Fetch-Site: same-origin"], True),
        ([b"Origin: http://127.0.0.1:8000", b"Sec-Fetch-Site: cross-site"], False),
    ],
)
@pytest.mark.parametrize("line", [b"GET /test/1", b"POST /send/1", b"OPTIONS /send/1", b"PUT /x"])
def test_pages(line: bytes, fields: list[bytes], taken: bool) -> None:
    """A page of another origin is refused, whatever it asks for; a program has no origin."""
    data = request(HERE, *fields, line=line + b" HTTP/1.1")
    assert status(STRICT, data) == (200 if taken else 403)
    assert status(CrossOriginProtection(hosts=None, origins=()), data) == (200 if taken else 403)
    keyed = CrossOriginProtection(hosts=LOCAL, origins=(), pages=False)
    assert status(keyed, data) == 200


def test_allowed_origins() -> None:
    """Pages of allowed origins may do everything."""
    some = CrossOriginProtection(hosts=LOCAL, origins=(APP,))
    for line in (b"GET /events/1", b"POST /send/1", b"OPTIONS /send/1"):
        for site in (b"cross-site", b"same-site", b"same-origin"):
            fields = HERE, b"Origin: " + APP.encode(), b"Sec-Fetch-Site: " + site
            assert status(some, request(*fields, line=line + b" HTTP/1.1")) == 200
        fields = HERE, b"Origin: https://other.example", b"Sec-Fetch-Site: cross-site"
        assert status(some, request(*fields, line=line + b" HTTP/1.1")) == 403
    foreign = request(b"Host: evil.example", b"Origin: " + APP.encode())
    assert status(some, foreign) == 403


@pytest.mark.parametrize(
    "fields", [[b"Origin: null"], [b"Origin: *"], [b"Sec-Fetch-Site: cross-site"]]
)
def test_all_origins_may_listen(fields: list[bytes]) -> None:
    """Where all pages may listen, no page may send by that alone."""
    every = CrossOriginProtection(hosts=LOCAL, origins=("*", APP))
    for line, expected in ((b"GET", 200), (b"HEAD", 200), (b"OPTIONS", 200), (b"POST", 403)):
        assert status(every, request(HERE, *fields, line=line + b" /events/1 HTTP/1.1")) == expected
    sends = request(HERE, b"Origin: " + APP.encode(), line=b"POST /send/1 HTTP/1.1")
    assert status(every, sends) == 200


def test_known_heads_are_those_that_were_taken() -> None:
    """A head that is refused isn't remembered; one that is known was checked."""
    known = KnownHeads()
    good = post(HERE, b"Content-Length: 5", body=b"hello")
    bad = post(HERE, b"Origin: https://evil.example", b"Content-Length: 5", body=b"hello")
    for _ in range(3):
        for data, kind in ((good, Request), (bad, Refusal)):
            events = RequestParser(known=known, protection=STRICT).feed(data)
            assert isinstance(events[0], kind)
    assert len(known) == 1


def test_behind_good_ones() -> None:
    """On a connection of good requests a foreign one is refused in its turn."""
    good = post(HERE, b"Content-Length: 5", body=b"hello")
    bad = post(b"Host: evil.example", b"Content-Length: 5", body=b"hello")
    events = RequestParser(protection=STRICT).feed(good + good + bad + good)
    assert [type(event) for event in events[:-1]] == [
        type(event) for event in make()()(good + good)
    ]
    assert isinstance(events[-1], Refusal)
    assert events[-1].status == 403
