"""Who has no key is kept apart from foreign pages and foreign names, on both ports, all paths."""

import http.client
from collections.abc import Iterator, Mapping

import httpx
import pytest

import encke
from encke.wire.protocols import PROTOCOLS

from .node import Node
from .raw import ask, chunked, post, request, send, stream

PUBLIC = [request("GET", f"/{protocol.name.decode()}/1") for protocol in PROTOCOLS] + [
    post("/send/1", b"x"),
    post("/publish/1", b"x"),
    post("/send", b'{"id": "1", "data": "x"}\n'),
    request("POST", "/send", "Transfer-Encoding: chunked") + chunked(b'{"id": "1", "data": "x"}\n'),
    request("HEAD", "/test/1"),
    request("OPTIONS", "/send/1", "Access-Control-Request-Method: POST"),
    request("GET", "/nothing"),
]
CONTROL = [
    request("GET", "/"),
    request("GET", "/health"),
    request("GET", "/state"),
    request("GET", "/metrics"),
    request("GET", "/users/1/subscriptions"),
    request("PUT", "/users/1/subscriptions/2"),
    request("DELETE", "/users/1/subscriptions/2"),
    post("/subscriptions", b"1\t2\n", "Content-Type: text/tab-separated-values"),
]
FOREIGN = {
    "another site": ("Sec-Fetch-Site: cross-site", "--allow-origin"),
    "another port": ("Sec-Fetch-Site: same-site", "--allow-origin"),
    "another origin": ("Origin: https://evil.example", "--allow-origin"),
    "no origin that it would tell": ("Origin: null", "--allow-origin"),
    "another name": ("Host: evil.example:8000", "--allow-host"),
    "another address": ("Host: 192.0.2.1", "--allow-host"),
    "any address": ("Host: 0.0.0.0:8000", "--allow-host"),
}


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """A server on loopback, without a key."""
    data = str(tmp_path_factory.mktemp("data"))
    with Node("--gateways", str(request.param), "--data", data) as node:
        yield node


def with_header(data: bytes, header: str) -> bytes:
    """The request `data` with one more header, or another Host."""
    if header.startswith("Host:"):
        return data.replace(b"Host: localhost", header.encode())
    return data.replace(b"\r\n\r\n", f"\r\n{header}\r\n\r\n".encode(), 1)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_requests(node: Node, name: str) -> None:
    """All of them are refused, with a sentence on what to set, and nothing of them arrives."""
    header, flag = FOREIGN[name]
    with stream(node.address, "1") as listener:
        for address, requests in ((node.address, PUBLIC), (node.control, CONTROL)):
            for data in requests:
                answer = ask(address, with_header(data, header))
                detail = answer.problem(403)
                assert flag in detail
                assert "API key" in detail
                assert not any(it.startswith("access-control") for it in answer.headers)
        assert send(node.address, "1", "genuine") == 1
        assert listener.chunk() == b"Recvd msg #1: 'genuine'\n"
    _, subscriptions = node.get("/users/1/subscriptions")
    assert b'"count":0' in subscriptions


def test_own_pages_and_programs(node: Node) -> None:
    """Programs say nothing of all that, pages of the same origin say that they are."""
    host, port = node.address
    for base in (node.url, f"http://localhost:{port}"):
        headers: Mapping[str, str]
        for headers in (
            {},
            {"Origin": base},
            {"Sec-Fetch-Site": "same-origin", "Origin": base},
            {"Sec-Fetch-Site": "none"},
        ):
            answer = httpx.post(f"{base}/send/1", content="x", headers=headers)
            assert answer.json() == {"delivered": 0}
    with encke.connect(node.url) as client:
        assert client.send("1", "x") == 0
    connection = http.client.HTTPConnection(host, port)
    connection.request("POST", "/send/1", b"x")
    assert connection.getresponse().status == 200
    connection.close()


def answered(node: Node, key: str, header: str = "") -> list[int]:
    """The statuses of a message, and of something to read, that are asked for with a header."""
    own = [f"Authorization: Bearer {key}"] if key else []
    sends, reads = post("/send/1", b"x", *own), request("GET", "/nothing")
    return [
        ask(node.address, with_header(it, header) if header else it).status for it in (sends, reads)
    ]


NAME, PAGE = "Host: push.example:8000", "Origin: https://evil.example"
OK, REFUSED = [200, 404], [403, 403]
"""404: who gets in, for there's nothing."""


@pytest.mark.parametrize(
    ("flags", "key", "name", "page"),
    [
        ((), "", REFUSED, REFUSED),
        ((), "secret", OK, OK),
        (("--insecure",), "", OK, REFUSED),
        (("--allow-host", "push.example"), "", OK, REFUSED),
        (("--allow-host", "other.example"), "", REFUSED, REFUSED),
        (("--allow-host", "other.example"), "secret", REFUSED, OK),
        (("--allow-host", "*"), "", OK, REFUSED),
        (("--allow-origin", "https://evil.example"), "", REFUSED, OK),
        (("--allow-origin", "*"), "", REFUSED, [403, 404]),
    ],
)
def test_what_lets_them_in(
    flags: tuple[str, ...], key: str, name: list[int], page: list[int]
) -> None:
    """A key, or what is allowed; --insecure lets any name in, but no page: whoever reaches the
    port by themselves may send, not what they look at."""
    environment = {"ENCKE_API_KEY": key} if key else {}
    with Node(*flags, "--gateways", "1", environment=environment) as node:
        assert answered(node, key, NAME) == name
        assert answered(node, key, PAGE) == page
        assert answered(node, key) == OK
