"""A user id with more streams than it may have."""

import contextlib

import pytest

from .node import Node, until
from .raw import Raw, request, send, stream


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_one_stream_too_many(gateways: str) -> None:
    """It's told so, the others stay; once one has gone there's room again."""
    flags = ("--gateways", gateways, "--connections-per-user", "5")
    with Node(*flags) as node, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(stream(node.address, "ben")) for _ in range(5)]
        with Raw(node.address) as late:
            late.send(request("GET", "/test/ben"))
            answer = late.answer()
            assert "--connections-per-user" in answer.problem(503)
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["connection"] == "close"
            assert late.rest() == b""
        with Raw(node.address) as page:  # an EventSource, which a 503 would end for good
            page.send(request("GET", "/events/ben", "Accept: text/event-stream"))
            answer = page.answer()
            assert (answer.status, answer.headers["content-type"][:17]) == (
                200,
                "text/event-stream",
            )
            assert b"--connections-per-user" in answer.body
            assert b"\nretry: 1" in answer.body
        node.until(lambda state: state.streams_refused == 2, "they're counted")
        assert send(node.address, "ben", "x") == 5
        stack.enter_context(stream(node.address, "cid"))
        streams[0].close()
        until(lambda: send(node.address, "ben", "x") == 4, "one has gone")
        stack.enter_context(stream(node.address, "ben"))
