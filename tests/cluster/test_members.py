"""Who is there, and since when nothing was heard of them."""

from encke.cluster.members import Members
from encke.wire.nodes import Heartbeat

ONE = Heartbeat(node="0000000000a1")
TWO = Heartbeat(node="0000000000b2")


def test_forgiven_is_not_heard() -> None:
    """Who is forgiven their silence isn't forgotten, but nobody is told that they spoke."""
    members = Members()
    members.heard(ONE, 1.0)
    members.heard(TWO, 2.0)
    members.forgive(10.0)
    assert members.silent(11.0) == []
    assert members.seen() == [(1.0, ONE), (2.0, TWO)]
    members.heard(ONE, 12.0)
    assert members.seen() == [(12.0, ONE), (2.0, TWO)]
    members.left(ONE.node)
    assert members.seen() == [(2.0, TWO)]
    assert members.silent(14.0) == [TWO.node]
    assert members.seen() == []
