"""By which link of which node a message came, and what follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.cluster.origins import MAX_NODES, Origins, Verdict
from encke.wire.subjects import Subjects

ONE, OTHER = "4be1c02f9a77", "00c1c02f9a00"


@pytest.fixture
def origins() -> Origins:
    return Origins(Subjects("my.encke"), ONE, "1" * 16)


@pytest.fixture
def other() -> Origins:
    return Origins(Subjects("my.encke"), OTHER, "2" * 16)


def test_what_a_node_says(origins: Origins) -> None:
    """Which link it is, counted from 1; and where it wants answers to come."""
    assert origins.ours == b"my.encke.link.4be1c02f9a77.1"
    assert origins.reply == b"my.encke.reply.4be1c02f9a77.1-1111111111111111-"
    origins.linked()
    assert origins.ours == b"my.encke.link.4be1c02f9a77.2"
    assert origins.reply == b"my.encke.reply.4be1c02f9a77.2-1111111111111111-"


def test_the_newest_link_is_remembered(origins: Origins, other: Origins) -> None:
    """What it says needn't be judged again."""
    assert origins.judge(other.ours) is Verdict.TAKE
    assert list(origins.newest) == []
    origins.announced(OTHER, other.number)
    assert list(origins.newest) == [other.ours]
    assert origins.judge(other.ours) is Verdict.TAKE


def test_what_comes_late(origins: Origins, other: Origins) -> None:
    """Once a node has announced another link, the one before is of the past, for messages and for
    questions; and what is remembered is the newest one alone."""
    before, question = other.ours, other.reply + b"7"
    assert origins.judge(before) is Verdict.TAKE
    assert origins.judge(question) is Verdict.ANSWER
    other.linked()
    assert origins.judge(other.ours) is Verdict.TAKE
    assert origins.judge(other.reply + b"8") is Verdict.ANSWER
    assert origins.judge(before) is Verdict.TAKE, "nothing newer has been announced yet"
    origins.announced(OTHER, 2)
    origins.announced(OTHER, 1)  # handed out late
    assert origins.judge(before) is Verdict.LATE
    assert origins.judge(question) is Verdict.LATE
    assert list(origins.newest) == [other.ours]


def test_our_own(origins: Origins) -> None:
    """It isn't taken, by whichever link it was sent."""
    before = [origins.ours, origins.reply + b"1"]
    origins.linked()
    for reply in [*before, origins.ours, origins.reply + b"2"]:
        assert origins.judge(reply) is Verdict.OURS


@given(st.binary(min_size=1) | st.text("my.encklipr0123456789af-", min_size=1).map(str.encode))
def test_whoever_else_publishes(reply: bytes) -> None:
    """Their reply subjects are taken for what they are."""
    assert Origins(Subjects("my.encke"), ONE, "1" * 16).judge(reply) is Verdict.ANSWER


def test_what_is_remembered_is_bounded(origins: Origins) -> None:
    """Who could invent nodes can't have us remember them all."""
    for number in range(MAX_NODES + 10):
        origins.announced(f"{number:012x}", 1)
    assert len(origins.newest) == MAX_NODES
    origins.announced(f"{12:012x}", 1)
    assert len(origins.newest) == MAX_NODES
