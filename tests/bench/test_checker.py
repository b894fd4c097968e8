"""The checker itself: that it finds each kind of broken promise, and no other."""

import socket
from collections.abc import Iterator

import pytest

from bench.checker import Request, Verdict, compare
from bench.crowd import End, Stream

A, B, C = b"1:1:ann", b"1:2:ann", b"1:1:bob"


@pytest.fixture
def ann() -> Iterator[Stream]:
    """A stream of the user ann."""
    with socket.socket() as unused:
        yield Stream("ann", unused, 0)


def told(delivered: int | None, *messages: bytes, began: float = 1.0) -> Request:
    """What a sender was told of these messages."""
    users = [(it.rpartition(b":")[2].decode(), it) for it in messages]
    return Request(users, began, delivered)


def broken(verdict: Verdict) -> list[str]:
    """The promises that were broken."""
    found = list(verdict.broken)
    assert verdict.is_clean == (not found)
    return found


def test_all_is_well(ann: Stream) -> None:
    """What was promised came, in order; to those who weren't there nothing was promised."""
    ann.messages += [A, B]
    verdict = compare([told(1, A), told(1, B), told(0, C)], [ann])
    assert broken(verdict) == []
    assert (verdict.attempted, verdict.acknowledged, verdict.delivered) == (3, 2, 2)


def test_lost(ann: Stream) -> None:
    """What was promised and didn't come is lost, also in a body of many."""
    assert broken(compare([told(1, A)], [ann])) == ["lost"]
    ann.messages.append(A)
    assert broken(compare([told(2, A, B)], [ann])) == ["lost"]


def test_lost_with_its_stream(ann: Stream) -> None:
    """It's excused if the stream ended after the message was sent, unless that's no excuse."""
    ann.end, ann.ended_at = End.CUT, 2.0
    assert broken(compare([told(1, A, began=1.0)], [ann])) == []
    assert broken(compare([told(1, A, began=3.0)], [ann])) == ["lost"]
    assert broken(compare([told(1, A, began=1.0)], [ann], deaths_excuse=False)) == ["lost"]


def test_doubled(ann: Stream) -> None:
    """The same message twice on a stream is once too often, whatever the sender was told."""
    ann.messages += [A, A]
    assert broken(compare([told(1, A)], [ann])) == ["doubled"]
    assert broken(compare([told(None, A)], [ann])) == ["doubled"]


def test_doubled_on_the_next_stream(ann: Stream) -> None:
    """So is once on a stream and once on the one that took its place."""
    with socket.socket() as unused:
        again = Stream("ann", unused, 0)
        ann.end, ann.ended_at = End.CUT, 2.0
        ann.messages.append(A)
        again.messages.append(A)
        assert broken(compare([told(1, A)], [ann, again])) == ["doubled"]


def test_two_streams_at_a_time(ann: Stream) -> None:
    """A user with streams in two places gets a message on both."""
    with socket.socket() as unused:
        other = Stream("ann", unused, 1)
        ann.messages.append(A)
        assert broken(compare([told(2, A)], [ann, other])) == ["lost"]
        other.messages.append(A)
        assert broken(compare([told(2, A)], [ann, other])) == []


def test_reordered(ann: Stream) -> None:
    """A sender's messages to a user come in the order in which they were sent."""
    ann.messages += [B, A]
    assert broken(compare([told(1, A), told(1, B)], [ann])) == ["reordered"]


def test_misled(ann: Stream) -> None:
    """Nobody gets what is somebody else's."""
    ann.messages.append(C)
    assert "misled" in broken(compare([told(None, C)], [ann]))


def test_denied(ann: Stream) -> None:
    """A sender isn't told that a message went to nobody when somebody got it."""
    ann.messages.append(A)
    assert broken(compare([told(0, A)], [ann])) == ["denied"]
    assert broken(compare([told(None, A)], [ann])) == []
    ann.end, ann.ended_at = End.CUT, 2.0
    assert broken(compare([told(0, A)], [ann])) == []


def test_a_count_of_some_streams(ann: Stream) -> None:
    """A count that is of one tag's streams promises nothing about those of another."""
    with socket.socket() as unused:
        other = Stream("ann", unused, 1)
        request = told(1, A)._replace(tag=0)
        ann.messages.append(A)
        assert broken(compare([request], [ann, other])) == []
        other.messages.append(A)
        assert broken(compare([request], [ann, other])) == []
        ann.messages.clear()
        assert broken(compare([request], [ann, other])) == ["lost"]


def test_what_was_not_handed_on(ann: Stream) -> None:
    """What a sender is told to have stayed on its node doesn't come on another."""
    with socket.socket() as unused:
        other = Stream("ann", unused, 1)
        ann.messages.append(A)
        other.messages.append(A)
        for forwarded, expected in ((0, ["denied"]), (1, []), (None, [])):
            request = told(1, A)._replace(tag=0, forwarded=forwarded)
            assert broken(compare([request], [ann, other])) == expected
