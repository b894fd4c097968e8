"""What strangers send is counted as what it is: alarms go by the 503s (docs/deployment.md)."""

import re
from collections.abc import Iterator

import pytest

from .node import Node, until
from .raw import Raw, ask, request, stream


@pytest.fixture(params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A server on which an id has one stream at most."""
    with Node("--gateways", str(request.param), "--connections-per-user", "1") as node:
        yield node


def counted(node: Node) -> tuple[int, int]:
    """The requests that were answered with 503, and those that were bad, as /metrics tells."""
    _, body = node.get("/metrics")
    unavailable, bad = (
        sum(
            float(it)
            for it in re.findall(rb"^encke_%b_total(?:{[^}]*})? (\S+)$" % name, body, re.MULTILINE)
        )
        for name in (b"unavailable", b"bad_requests")
    )
    return int(unavailable), int(bad)


def test_what_is_unavailable(node: Node) -> None:
    """501 and 505 are the sender's mistakes: only 503 is the node's."""
    bad = [
        (b"BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"GET /test/1 HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /test/1\r\n\r\n", 505),
        (
            b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            501,
        ),
        (request("GET", "/nothing"), 404),
        (b"\0", 400),
    ]
    for data, status in bad:
        ask(node.address, data).problem(status)
    until(lambda: counted(node) == (0, len(bad)), "they are counted as bad")
    with stream(node.address, "one"), Raw(node.address) as second:
        second.send(request("GET", "/test/one"))
        second.answer().problem(503)
        until(lambda: counted(node) == (1, len(bad)), "the 503 is counted apart")
