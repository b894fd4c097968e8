"""What isn't a message is none to any reader: strict ones show what ends with a blank line."""

import re
from collections.abc import Iterator

import httpx
import pytest
from httpx_sse import connect_sse

from .node import PATIENCE, Node
from .raw import Raw, ask, post, request, send, stream

BEAT = b":\n"


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A server that sends a heartbeat each quarter of a second."""
    with Node("--gateways", str(request.param), "--heartbeat", "0.25") as node:
        yield node


def test_httpx_sse_shows_messages_only(node: Node) -> None:
    """Neither the greeting nor a heartbeat is an event: not before messages, nor between."""
    with (
        stream(node.address, "phantom", "events") as beats,
        httpx.Client(timeout=PATIENCE) as client,
        connect_sse(client, "GET", f"{node.url}/events/phantom") as source,
    ):
        shown = source.iter_sse()
        for number in range(3):
            for _ in range(3):  # the other stream of this user has as many
                while not beats.chunk().startswith(b":"):
                    pass
            assert send(node.address, "phantom", f"message {number}") == 2
            event = next(shown)
            assert (event.event, event.data) == ("message", f"message {number}")
        ask(node.address, post("/publish/phantom", b"hello"))
        event = next(shown)
        assert (event.event, event.json()) == ("friend", {"from": "phantom", "data": "hello"})


def test_nothing_but_events_ends_with_a_blank_line(node: Node) -> None:
    """That's what makes an event of it, for readers that look at nothing else."""
    with Raw(node.address) as listener:
        listener.send(request("GET", "/events/blank"))
        assert listener.head().status == 200
        assert re.fullmatch(rb"retry: \d+\n", listener.chunk())
        assert listener.chunk() == BEAT
        assert send(node.address, "blank", "x") == 1
        while (event := listener.chunk()) == BEAT:
            pass
        assert event == b"data: x\n\n"
