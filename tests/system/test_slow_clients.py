"""Slow clients: what may wait for them, when they are closed, and that only they are."""

import threading
from collections.abc import Iterator

import pytest

from .node import Address, Node
from .raw import Raw, post, request, send, stream

LIMIT = 16 * 1024
TINY = 4096
MESSAGE = b"x" * 8000
HUGE = b"y" * 8 * 1024 * 1024
"""More than the kernel's buffers take."""


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A server that lets 16 KiB wait for a client, and takes messages of 8 MiB."""
    flags = ("--queue-limit", str(LIMIT), "--body-limit", str(len(HUGE)), "--heartbeat", "0")
    with Node("--gateways", str(request.param), *flags) as node:
        yield node


def lazy(address: Address, path: str) -> Raw:
    """A stream whose client has a tiny receive buffer, and has read the head only."""
    connection = Raw(address, receive_buffer=TINY)
    connection.send(request("GET", path))
    assert connection.head().status == 200
    return connection


def test_a_client_that_does_not_read_is_closed(node: Node) -> None:
    """Once more than the limit waits for a client it's closed, and counted; others go on."""
    before = node.state().slow_clients
    with lazy(node.address, "/test/stuck") as stuck, stream(node.address, "stuck") as good:
        bystander = stream(node.address, "bystander")
        with Raw(node.address) as sender:
            for sent in range(1, 5000):
                sender.send(post("/send/stuck", b"%d" % sent + MESSAGE))
                delivered = sender.answer().json()["delivered"]
                expected = b"Recvd msg #%d: '%d%b'\n" % (sent, sent, MESSAGE)
                assert good.chunk() == expected
                if delivered == 1:
                    break
                assert delivered == 2
                assert send(node.address, "bystander", "x") == 1
                assert bystander.chunk() == b"Recvd msg #%d: 'x'\n" % sent
            else:
                raise AssertionError("it is never closed")
        bystander.close()
        node.until(lambda state: state.slow_clients == before + 1, "it is counted")
        node.until(lambda state: state.queued_bytes == 0, "nothing waits any more")
        assert send(node.address, "stuck", "only one left") == 1
        received = stuck.everything()
        assert not received.endswith(b"0\r\n\r\n")
        chunks = received.split(b"Recvd msg #")[1:]
        for number, chunk in enumerate(chunks, 1):
            assert chunk.startswith(b"%d: '%d" % (number, number))
        assert len(chunks) < sent


def test_one_large_message_may_wait(node: Node) -> None:
    """One message much larger than the limit still arrives whole at a client that reads slowly."""
    before = node.state().slow_clients
    with lazy(node.address, "/test/large") as slow:
        assert send(node.address, "large", HUGE) == 1
        node.until(lambda state: state.queued_bytes > 10 * LIMIT, "most of it waits")
        slow.gather(100_000, step=500)
        assert slow.chunk() == b"Recvd msg #1: '%b'\n" % HUGE
        assert send(node.address, "large", "next") == 1
        assert slow.chunk() == b"Recvd msg #2: 'next'\n"
    assert node.state().slow_clients == before


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_what_waits_comes_in_order(gateways: str) -> None:
    """Messages that had to wait come in order, whole, and once, when the client reads again."""
    flags = ("--queue-limit", str(2 * len(HUGE)), "--body-limit", str(len(HUGE)))
    with Node("--gateways", gateways, *flags) as node, lazy(node.address, "/test/tail") as slow:
        assert send(node.address, "tail", HUGE) == 1
        for number in range(100):
            assert send(node.address, "tail", f"small {number}") == 1
        node.until(lambda state: state.queued_bytes > LIMIT, "they wait")
        assert slow.chunk() == b"Recvd msg #1: '%b'\n" % HUGE
        for number in range(100):
            assert slow.chunk() == b"Recvd msg #%d: 'small %d'\n" % (number + 2, number)
        node.until(lambda state: state.queued_bytes == 0, "nothing waits any more")
        assert node.state().slow_clients == 0


def test_events_wait_in_order_too(node: Node) -> None:
    """The same for /events, where a message may be encoded once for many."""
    with lazy(node.address, "/events/tail") as slow, stream(node.address, "tail", "events") as good:
        slow.chunk()
        for number in range(300):
            size = 5000 if number % 10 == 0 else 5
            message = f"{number} ".encode() + b"e" * size
            delivered = send(node.address, "tail", message)
            assert good.chunk() == b"data: %b\n\n" % message
            if number % 3 == 2:
                for earlier in (number - 2, number - 1, number):
                    assert slow.chunk().startswith(b"data: %d e" % earlier)
            assert delivered == 2


def test_a_slow_sender_is_no_slow_client(node: Node) -> None:
    """Who sends much and reads its answers late isn't closed for it, only read from no more."""
    before, count = node.state().slow_clients, 20_000
    with Raw(node.address, receive_buffer=TINY) as connection:
        writer = threading.Thread(target=connection.send, args=[request("GET", "/") * count])
        writer.start()
        node.until(lambda it: it.queued_bytes > 0 or it.slow_clients > before, "answers wait")
        for _ in range(count):
            connection.answer().problem(404)
        writer.join()
    assert node.state().slow_clients == before
