"""What both ends of the port share."""

from array import array

from encke.gateway.port import targets, tell
from encke.wire.message import Status

from .two_routers import Sender


def test_targets() -> None:
    """Each message's handles are the next of all, as many as it has."""
    handles = array("Q", [7, 8, 9])
    shares = [handles[:2], handles[:0], handles[2:]]
    assert targets(array("I", [2, 0, 1]), handles) == shares
    assert targets(array("I"), handles[:0]) == []


def test_tell() -> None:
    """What was delivered here counts, also if it couldn't be handed on; what failed is told apart,
    each reason once."""
    ok, kept, unknown, off = Status.OK, Status.UNFORWARDED, Status.UNKNOWN, Status.OFF
    sender = Sender(1)
    sender.open = 6
    tell(sender, [3, 2, 0, 0, 0, 0], [ok, kept, kept, unknown, off, unknown], 1)
    assert (sender.open, sender.delivered) == (0, 5)
    assert sender.failed_with == [kept, unknown, unknown, off]
