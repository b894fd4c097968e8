"""What pages of other origins may do and see (CORS): those of allowed ones, and nobody else's."""

from collections.abc import Iterator

import pytest

from encke.wire.protocols import PROTOCOLS

from .node import Node
from .raw import Answer, Raw, ask, chunked, post, request, send, stream

ONE, TWO = "https://one.example", "http://two.example:8080"
KEY = "Authorization: Bearer secret"
STREAMS = [f"/{protocol.name.decode()}/1" for protocol in PROTOCOLS]
SENDERS = ["/send/1", "/send", "/publish/1", "/publish", "/send/1?wait=cluster"]


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A server that lets pages of two origins in; senders need a key."""
    flags = ("--allow-origin", ONE, "--allow-origin", TWO, "--body-limit", "1024")
    environment = {"ENCKE_API_KEY": "secret"}
    with Node("--gateways", str(request.param), *flags, environment=environment) as node:
        yield node


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[Node]:
    """A server that lets pages of all origins in, and of one with cookies."""
    with Node("--allow-origin", f"*,{ONE}", environment={"ENCKE_API_KEY": "secret"}) as node:
        yield node


def head_of(node: Node, data: bytes) -> Answer:
    """The head of the answer to `data`, on a connection of its own."""
    with Raw(node.address) as connection:
        connection.send(data)
        return connection.head()


def assert_readable(answer: Answer, origin: str) -> None:
    """A page of `origin` may read it, with cookies sent or not."""
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", [ONE, TWO])
@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_streams(node: Node, method: str, path: str, origin: str) -> None:
    """The head of a stream says which page may read it."""
    answer = head_of(node, request(method, path, f"Origin: {origin}"))
    assert answer.status == 200
    assert_readable(answer, origin)


@pytest.mark.parametrize("origin", [ONE, TWO])
def test_senders(node: Node, origin: str) -> None:
    """So does what a sender is answered, be it one message or many."""
    with Raw(node.address) as connection:
        for path, body in (("/send/1", b"x"), ("/publish/1", b"x"), ("/send/1?wait=cluster", b"")):
            connection.send(post(path, body, KEY, f"Origin: {origin}"))
            answer = connection.answer()
            assert answer.json()["delivered"] == 0
            assert_readable(answer, origin)
        for path in ("/send", "/publish"):
            connection.send(post(path, b'{"id": "1", "data": "x"}\n', KEY, f"Origin: {origin}"))
            answer = connection.answer()
            assert answer.json()["accepted"] == 1
            assert_readable(answer, origin)


def test_each_answer_has_its_own(node: Node) -> None:
    """Of requests that come in one go each is answered for its own page, or for none."""
    origins = [ONE, "", TWO, "https://evil.example", ONE, ""] * 5
    with Raw(node.address) as connection:
        heads = [[f"Origin: {origin}"] if origin else [] for origin in origins]
        connection.send(*(post("/send/1", b"x", KEY, *head) for head in heads))
        for origin in origins:
            answer = connection.answer()
            assert answer.json() == {"delivered": 0}
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (origin if origin in (ONE, TWO) else None)


ERRORS = {
    "an unknown path": (request("GET", "/nothing", f"Origin: {ONE}"), 404),
    "a bad id": (request("GET", "/events/a%20b", f"Origin: {ONE}"), 400),
    "a bad id of a sender": (post("/send/a%20b", b"x", KEY, f"Origin: {ONE}"), 400),
    "a wrong method": (request("DELETE", "/events/1", f"Origin: {ONE}"), 405),
    "no key": (post("/send/1", b"x", f"Origin: {ONE}"), 401),
    "a large message": (post("/send/1", b"x" * 1025, KEY, f"Origin: {ONE}"), 413),
    "a large message in chunks": (
        request("POST", "/send/1", KEY, f"Origin: {ONE}", "Transfer-Encoding: chunked")
        + chunked(b"x" * 1000, b"x" * 25),
        413,
    ),
    "no text": (post("/send/1", b"\xff", KEY, f"Origin: {ONE}"), 400),
    "a bad line": (post("/send", b"x\n", KEY, f"Origin: {ONE}"), 400),
    "an expectation": (post("/send/1", b"x", KEY, "Expect: more", f"Origin: {ONE}"), 417),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(node: Node, name: str) -> None:
    """A page may read what's wrong, too."""
    data, status = ERRORS[name]
    answer = ask(node.address, data)
    answer.problem(status)
    assert_readable(answer, ONE)


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_one_stream_too_many(gateways: str) -> None:
    """Also if it's known only after the router was asked."""
    flags = ("--allow-origin", TWO, "--connections-per-user", "1", "--gateways", gateways)
    with Node(*flags) as node, stream(node.address, "crowd"):
        answer = ask(node.address, request("GET", "/test/crowd", f"Origin: {TWO}"))
        answer.problem(503)
        assert_readable(answer, TWO)
        answer = ask(node.address, request("GET", "/test/crowd"))
        answer.problem(503)
        assert not {"vary", "access-control-allow-origin"} & set(answer.headers)


@pytest.mark.parametrize(
    ("path", "methods"),
    [(path, {"GET", "HEAD"}) for path in STREAMS] + [(path, {"POST"}) for path in SENDERS],
)
@pytest.mark.parametrize("origin", [ONE, TWO])
def test_preflights(node: Node, path: str, methods: set[str], origin: str) -> None:
    """A browser's question before an unusual request is answered, without a key: what may be done
    here, and that it needn't ask again for a while."""
    asks = [f"Origin: {origin}", "Access-Control-Request-Method: POST"]
    asks.append("Access-Control-Request-Headers: authorization,content-type")
    with Raw(node.address) as connection:
        connection.send(request("OPTIONS", path, *asks), post("/send/1", b"x", KEY))
        answer = connection.head()
        assert answer.status == 204
        assert_readable(answer, origin)
        assert set(answer.headers["access-control-allow-methods"].split(", ")) == methods
        headers = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"authorization", "content-type", "last-event-id", "cache-control"} <= set(headers)
        assert int(answer.headers["access-control-max-age"]) > 0
        assert "content-length" not in answer.headers
        assert "content-type" not in answer.headers
        assert connection.answer().json() == {"delivered": 0}  # the connection is good for more


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "", "https://one.example.evil", f"{ONE}:443"]
)
def test_other_origins(node: Node, origin: str) -> None:
    """Nobody else is told that they may."""
    for data in (
        request("GET", "/events/2", f"Origin: {origin}"),
        post("/send/1", b"x", KEY, f"Origin: {origin}"),
        post("/send/1", b"x", f"Origin: {origin}"),
        request("OPTIONS", "/send/1", f"Origin: {origin}", "Access-Control-Request-Method: POST"),
        request("OPTIONS", "/events/1", f"Origin: {origin}", "Access-Control-Request-Method: GET"),
    ):
        answer = head_of(node, data)
        assert not any(name.startswith("access-control") for name in answer.headers)
        if data.startswith(b"OPTIONS"):
            assert answer.status >= 400


def test_a_cache_keeps_them_apart(node: Node) -> None:
    """What depends on the origin says so to who asked without one (Fetch standard, 3.3.5)."""
    assert head_of(node, request("HEAD", "/events/1")).headers["vary"] == "Origin"


def test_all_origins(open_to_all: Node) -> None:
    """With * every page may listen, but without cookies: to say it of each origin with
    credentials would open every user's streams to every page, and browsers refuse * with them."""
    for origin in ("https://any.example", "null"):
        answer = head_of(open_to_all, request("HEAD", "/events/1", f"Origin: {origin}"))
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        answer = ask(open_to_all.address, post("/send/1", b"x", KEY, f"Origin: {origin}"))
        assert answer.json() == {"delivered": 0}
        assert answer.headers["access-control-allow-origin"] == "*"
    assert_readable(head_of(open_to_all, request("HEAD", "/events/1", f"Origin: {ONE}")), ONE)


def test_without_allowed_origins(lasting: Node) -> None:
    """Nothing of all that, and OPTIONS is a method as others, where no origin is allowed."""
    for data in (request("HEAD", "/events/1"), post("/send/1", b"x")):
        answer = head_of(lasting, data)
        assert answer.status == 200
        assert not {"vary", "access-control-allow-origin"} & set(answer.headers)
    ask(lasting.address, request("OPTIONS", "/events/1")).problem(405)
    assert send(lasting.address, "1", "x") == 0
