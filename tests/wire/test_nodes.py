"""What nodes say to each other: read as it was written, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.errors import FrameError
from encke.wire import nodes
from encke.wire.nodes import Heartbeat, Reply

NODE = "4be1c02f9a77"
COUNTS = st.integers(0, 1 << 53)
HEARTBEATS = st.builds(
    Heartbeat,
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
    node=st.text("0123456789abcdef", min_size=12, max_size=12),
    name=st.text(max_size=64),
    version=st.text(max_size=9),
    linked=st.floats(0, 1e9),
    leaving=st.booleans(),
)


@given(HEARTBEATS)
def test_heartbeats_there_and_back(heartbeat: Heartbeat) -> None:
    """What is written is read."""
    assert nodes.heartbeat(nodes.encode(heartbeat)) == heartbeat


@given(st.builds(Reply, st.just(NODE), COUNTS, st.text()))
def test_answers_there_and_back(answer: Reply) -> None:
    """What is written is read."""
    assert nodes.reply(nodes.encode(answer)) == answer


def test_the_documented_form() -> None:
    """As other programs find it documented; what later versions add is passed over."""
    assert nodes.encode(Reply(NODE, 2)) == b'{"node":"4be1c02f9a77","delivered":2}'
    assert nodes.reply(b'{"delivered": 0, "node": "4be1c02f9a77", "new": [1]}') == Reply(NODE, 0)
    raw = (
        b'{"node": "4be1c02f9a77", "name": "web-1", "version": "0.2.0", "linked": 86400.1, '
        b'"users": 120, "connections": 131, "messages": 5123, "delivered": 4711}'
    )
    assert nodes.heartbeat(raw) == Heartbeat(
        120, 131, 5123, 4711, node=NODE, name="web-1", version="0.2.0", linked=86400.1
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"node": "\xff"}',
        b'{"node": 1, "delivered": 1}',
        b'{"node": "4be1c02f9a7", "delivered": 1}',
        b'{"node": "4be1c02f9a77x", "delivered": 1}',
        b'{"node": "4BE1C02F9A77", "delivered": 1}',
        b'{"node": "a.b", "delivered": 1}',
        b'{"node": "4be1c02f9a77", "delivered": -1, "users": -1}',
        b'{"node": "4be1c02f9a77", "delivered": 1.5, "users": 1.5}',
        b'{"node": "4be1c02f9a77", "delivered": 1e99, "users": 1e99}',
        b'{"node": "4be1c02f9a77", "delivered": 99999999999999999999, "users": 1e40}',
        b'{"node": "4be1c02f9a77", "delivered": "1", "name": "%b"}' % (b"x" * 257),
        b'{"node": "4be1c02f9a77", "delivered": 1, "linked": -1} x',
    ],
)
def test_what_no_node_says(raw: bytes) -> None:
    """It is refused, as both."""
    for read in (nodes.heartbeat, nodes.reply):
        with pytest.raises(FrameError):
            read(raw)
