"""The largest messages that a server can be told to take."""

import pytest

from encke.sizes import MAX_MESSAGE

from .node import Node
from .raw import Raw, post, stream


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_the_largest_message_passes(gateways: str) -> None:
    """From gateway to router to gateways: the link carries it, to several connections too."""
    flags = ("--gateways", gateways, "--body-limit", str(MAX_MESSAGE))
    message = b"x" * MAX_MESSAGE
    with Node(*flags) as node, Raw(node.address) as sender:
        with stream(node.address, "large") as listener, stream(node.address, "large") as other:
            for number in (1, 2):
                sender.send(post("/send/large", message))
                assert sender.answer().json() == {"delivered": 2}
                for each in (listener, other):
                    assert each.chunk() == b"Recvd msg #%d: '%b'\n" % (number, message)
        sender.send(post("/send/large", message + b"y"))
        sender.answer().problem(413)
        assert not any("link-lost" in line or "process-died" in line for line in node.log)
