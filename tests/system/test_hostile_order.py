"""Senders who mix kinds of requests on one connection."""

from .node import Address
from .raw import Raw, post, stream


def test_waiting_and_not_waiting_on_one_connection(address: Address) -> None:
    """Pipelined requests of which every other waits for all nodes: in order, answers too."""
    with stream(address, "mixed") as listener, Raw(address) as sender:
        for start in range(0, 200, 40):
            sender.send(
                *[
                    post(f"/send/mixed{'?wait=cluster' * (number % 2)}", b"%d" % number)
                    for number in range(start, start + 40)
                ]
            )
            for _ in range(40):
                assert sender.answer().json() == {"delivered": 1}
        got = [listener.chunk().split(b"'")[1] for _ in range(200)]
        assert got == [b"%d" % number for number in range(200)]
