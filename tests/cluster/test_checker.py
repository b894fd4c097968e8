"""The checker of several nodes itself: what it excuses, and what it doesn't."""

import socket
from collections.abc import Iterator

import pytest

from bench.checker import Request
from bench.crowd import End, Stream

from .checker import LATE, compare_nodes

A = b"1:1:ann"

TROUBLE = [(10.0, 20.0)]


@pytest.fixture
def streams() -> Iterator[list[Stream]]:
    """Two streams of the user ann, at node 0 and at node 1."""
    with socket.socket() as unused:
        both = [Stream("ann", unused, tag) for tag in (0, 1)]
        for stream in both:
            stream.opened_at = 1.0
        yield both


def waited(delivered: int | None, began: float = 5.0) -> Request:
    """What a sender was told who waited for all nodes."""
    return Request([("ann", A)], began, delivered)


def sent(delivered: int, forwarded: int, began: float = 5.0) -> Request:
    """What a sender at node 0 was told who didn't."""
    return Request([("ann", A)], began, delivered, 0, forwarded)


def broken(request: Request, streams: list[Stream], *came: int) -> list[str]:
    """The promises that were broken, if the message came to these nodes."""
    for stream in streams:
        stream.messages = [A] * came.count(stream.tag)
    return list(compare_nodes([request], streams, TROUBLE).broken)


def test_all_is_well(streams: list[Stream]) -> None:
    """A message that came everywhere, and was told to be delivered here, or everywhere."""
    assert broken(waited(2), streams, 0, 1) == []
    assert broken(sent(1, 1), streams, 0, 1) == []


def test_who_waits_is_promised_all_nodes(streams: list[Stream]) -> None:
    """Also in a time of trouble what was acknowledged must have come."""
    assert "lost" in broken(waited(2), streams, 0)
    assert broken(waited(2, 15.0), streams, 0) == ["lost"]
    streams[1].end, streams[1].ended_at = End.CUT, 16.0
    assert broken(waited(2, 15.0), streams, 0) == []
    assert broken(waited(2, 17.0), streams, 0) == ["lost"]


def test_who_does_not_wait_is_promised_one_node(streams: list[Stream]) -> None:
    """What was handed on may be lost in a time of trouble, what was delivered here may not."""
    assert broken(sent(1, 1, 15.0), streams, 0) == []
    assert broken(sent(1, 1, 15.0), streams, 1) == ["lost"]
    streams[1].end, streams[1].ended_at = End.CUT, 16.0
    assert broken(sent(1, 1, 15.0), streams, 1) == ["lost"], "that stream is elsewhere"


def test_missing(streams: list[Stream]) -> None:
    """Without any trouble it must come to all streams that are there all the time."""
    assert broken(sent(1, 1), streams, 0) == ["missing"]
    assert broken(waited(1), streams, 0) == ["missing"]
    streams[1].opened_at = 5.0 - LATE / 2
    assert broken(sent(1, 1), streams, 0) == []
    streams[1].opened_at = 1.0
    streams[1].end, streams[1].ended_at = End.CUT, 9.0
    assert broken(sent(1, 1), streams, 0) == []


def test_what_promises_nothing(streams: list[Stream]) -> None:
    """A request that broke off may have come or not, but not twice."""
    assert broken(waited(None), streams) == []
    assert broken(waited(None), streams, 0, 1) == []
    assert broken(waited(None), streams, 0, 0) == ["doubled"]


def test_what_was_not_handed_on(streams: list[Stream]) -> None:
    """It doesn't come elsewhere, and isn't missed there."""
    assert broken(sent(1, 0), streams, 0) == []
    assert broken(sent(1, 0), streams, 0, 1) == ["denied"]
    assert broken(sent(1, 0, 15.0), streams, 0, 1) == ["denied"]


def test_a_count_that_was_too_small(streams: list[Stream]) -> None:
    """It's excused for who waits in a time of trouble, and for nobody else."""
    assert broken(waited(1), streams, 0, 1) == ["denied"]
    assert broken(waited(1, 15.0), streams, 0, 1) == []
    assert broken(sent(0, 1, 15.0), streams, 0) == ["denied"]
