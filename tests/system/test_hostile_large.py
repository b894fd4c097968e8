"""Large messages for many: what they take of the server's memory and of the others' time."""

import os
import signal
import socket
import struct
from collections.abc import Iterator
from typing import Self

import msgspec
import pytest

from encke.errors import BadSettings
from encke.loading import load
from encke.settings import Settings

from .node import Address, Node, memory, until
from .raw import Raw, post, request, send, stream

MiB = 1024 * 1024
SO_TIMESTAMPNS = 35  # Linux; the module doesn't name it
TINY = 4096
"""Of a client's receive buffer."""


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    flags = ("--connections-per-user", "0", "--heartbeat", "0")
    with Node("--gateways", str(request.param), *flags) as node:
        yield node


class Lazy:
    """Streams of one user whose clients have read their heads only."""

    def __init__(self, address: Address, path: str, number: int) -> None:
        self.streams: list[Raw] = []
        for _ in range(number):
            one = Raw(address, receive_buffer=TINY)
            self.streams.append(one)
            one.send(request("GET", path))
        for one in self.streams:
            assert one.head().status == 200

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for one in self.streams:
            one.close()


def memory_of(node: Node) -> int:
    """Of its gateways and its router."""
    return sum(memory(it.pid) for it in node.state().processes if it.name != "control")


@pytest.mark.parametrize("protocol", ["test", "events", "stream"])
def test_hostile_readers_of_a_large_message_share_it(node: Node, protocol: str) -> None:
    """However many don't read a large message, it's in the server's memory a few times."""
    before = memory_of(node)
    with Lazy(node.address, f"/{protocol}/many", 200):
        assert send(node.address, "many", b"x" * MiB) == 200
        node.until(lambda now: now.blocked == 200, "it waits for all")
        assert memory_of(node) - before < 40 * MiB
        assert node.state().queued_bytes < 20 * MiB
    node.until(lambda now: (now.streams, now.queued_bytes) == (0, 0), "they are gone")


GROWS = {b"\n": 7, b"\r": 7, b"\x01": 6, b'"': 2, b"x": 1}
"""What a byte takes on the stream on which it takes most."""


@pytest.mark.parametrize("byte", GROWS)
@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("way", ["send", "publish"])
def test_a_hostile_message_that_grows(node: Node, byte: bytes, over: int, way: str) -> None:
    """A message is as large as it is on the stream on which it takes most: the limit goes by
    that, and who sends one that's larger is told so; nobody gets it."""
    limit = Settings().body_limit
    size = limit // GROWS[byte]
    message = byte * size + b"x" * (limit - size * GROWS[byte] + over)
    with stream(node.address, "ada", "events") as ada, Raw(node.address) as sender:
        sender.send(post(f"/{way}/ada", message))
        if over:
            detail = sender.answer().problem(413)
            assert str(limit) in detail
            if byte != b"x":
                assert str(limit + 1) in detail
        else:
            assert sender.answer().json()["delivered"] == 1
            assert len(ada.chunk()) > size
        assert send(node.address, "ada", "next") == 1
        assert ada.chunk() == b"data: next\n\n"


def test_hostile_lines_that_grow(node: Node) -> None:
    """The same of a line of NDJSON: those before it are sent, and the answer says which it was."""
    limit = Settings().line_limit
    fits = msgspec.json.encode({"id": "ada", "data": "\n" * (limit // 7)})
    grows = msgspec.json.encode({"id": "ada", "data": "\n" * (limit // 7 + 1)})
    with stream(node.address, "ada", "events") as ada, Raw(node.address) as sender:
        sender.send(post("/send", b"\n".join([fits, grows, fits])))
        answer = sender.answer()
        assert answer.status == 400
        said = answer.json()
        assert (said["line"], said["accepted"], said["delivered"]) == (2, 1, 1)
        assert str(limit) in str(said["detail"])
        assert len(ada.chunk()) > limit // 7 * 6
        assert send(node.address, "ada", "next") == 1
        assert ada.chunk() == b"data: next\n\n"


def arrival(connection: Raw, end: bytes) -> tuple[int, int]:
    """When the last byte of what ends so came: told by the kernel, so it's no matter when the test
    looks (socket(7): SO_TIMESTAMPNS, seconds and nanoseconds)."""
    data, stamp = b"", (0, 0)
    while not data.endswith(end):
        more, [(_, _, told)], _, _ = connection.socket.recvmsg(65536, 64)
        data, stamp = data + more, struct.unpack("2q", told)
    return stamp


def test_others_do_not_wait_for_a_hostile_message(node: Node) -> None:
    """A message to one connection comes, and is answered, while a large one that was there before
    is written to very many."""
    message, gateways = b"x" * MiB, [it.pid for it in node.gateways()]
    with (
        Raw(node.address) as large,
        Raw(node.address) as small,
        stream(node.address, "other") as other,
    ):
        for each in (large, small, other):
            each.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        many = Lazy(node.address, "/events/many", 1000)
        large.send(post("/send/many", message)[:-1])
        until(lambda: large.at_the_server()[1] == 0, "all but its end is read")
        for pid in gateways:
            os.kill(pid, signal.SIGSTOP)
        large.send(message[-1:])
        small.send(post("/send/other", b"Hello"))
        for pid in gateways:
            os.kill(pid, signal.SIGCONT)
        answered = arrival(large, b'{"delivered": 1000}')
        assert arrival(other, b"Hello'\n\r\n") < answered
        assert arrival(small, b'{"delivered": 1}') < answered
        many.close()


FLAGS = ("--gateways", "1", "--queue-limit", str(MiB), "--queue-total", str(4 * MiB))


def test_what_hostile_readers_have_waiting_in_all() -> None:
    """Above --queue-total those are closed that have taken nothing for longest, and that's logged
    once; those who read are not among them."""
    message = b"x" * MiB
    with Node(*FLAGS) as node, stream(node.address, "good") as good:
        slow: list[Raw] = []
        for number in range(8):
            slow += Lazy(node.address, f"/test/slow{number}", 1).streams
            assert send(node.address, f"slow{number}", message) == 1
            assert send(node.address, "good", "x") == 1
            assert good.chunk() == b"Recvd msg #%d: 'x'\n" % (number + 1)
        node.until(lambda now: now.slow_clients == 5, "those who are over it are closed")
        state = node.state()
        assert state.streams == 1 + 3
        assert 3 * MiB < state.queued_bytes <= 4 * MiB
        for number in range(8):
            assert send(node.address, f"slow{number}", "next") == (number >= 5)
        slow[5].gather(MiB, step=MiB)
        assert slow[5].chunk() == b"Recvd msg #1: '%b'\n" % message
        assert slow[5].chunk() == b"Recvd msg #2: 'next'\n"
        assert sum("event=queue-full" in line for line in node.log) == 1
        for each in slow:
            each.close()


def test_who_takes_something_stays_before_hostile_readers() -> None:
    """Who has waited long, but takes bytes, is no slower than who came later and takes none."""
    message = b"x" * MiB
    with Node(*FLAGS) as node, Raw(node.address, receive_buffer=TINY) as reader:
        reader.send(request("GET", "/test/reader"))
        assert reader.head().status == 200
        assert send(node.address, "reader", message) == 1
        for number in range(6):
            with Lazy(node.address, f"/test/slow{number}", 1):
                assert send(node.address, f"slow{number}", message) == 1
                reader.gather((number + 1) * 140_000, step=TINY)
                node.until(lambda now: now.queued_bytes <= 4 * MiB, "it's within the total")
        assert reader.chunk() == b"Recvd msg #1: '%b'\n" % message


def test_a_total_that_is_too_small_for_one() -> None:
    """A server whose limits contradict each other doesn't start: one client may have a message
    waiting, and --queue-limit beside it."""
    settings = Settings()
    least = settings.queue_limit + settings.body_limit
    load({"queue_total": least})
    with pytest.raises(BadSettings, match=f"--queue-total .* {least} bytes"):
        load({"queue_total": least - 1})


def test_a_heartbeat_is_no_hostile_message() -> None:
    """A client that reads a large message slowly isn't too slow for a heartbeat."""
    flags = ("--gateways", "1", "--queue-limit", str(TINY), "--heartbeat", "0.25")
    with Node(*flags) as node, Lazy(node.address, "/events/slow", 1) as lazy:
        [slow] = lazy.streams
        assert slow.chunk().startswith(b"retry: ")
        assert send(node.address, "slow", b"x" * MiB) == 1
        sent = node.state().bytes_out
        with stream(node.address, "other", "events") as other:
            for _ in range(4):
                assert other.chunk() == b":\n"
        assert node.state().bytes_out > sent
        message = slow.chunk()
        while message == b":\n":
            message = slow.chunk()
        assert message == b"data: %b\n\n" % (b"x" * MiB)
        assert node.state().slow_clients == 0


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_hostile_messages_keep_their_order(gateways: str) -> None:
    """Large and small messages to many come in order, whole and once, to all kinds of streams."""
    sizes = [MiB, 3, 200_000, 1, MiB // 2, 0, MiB - 1, 17]
    flags = ("--gateways", gateways, "--queue-limit", str(8 * MiB))
    with Node(*flags) as node, Raw(node.address) as sender:
        streams = [
            stream(node.address, "many", protocol)
            for protocol in ("test", "events", "stream")
            for _ in range(10)
        ]
        bodies = [bytes([97 + number]) * size for number, size in enumerate(sizes)]
        for body in bodies:
            sender.send(post("/send/many", body))
        for place, one in enumerate(streams):
            for number, body in enumerate(bodies, 1):
                expected = (
                    b"Recvd msg #%d: '%b'\n" % (number, body),
                    b"data: %b\n\n" % body,
                    b'{"data":"%b"}\n' % body,
                )
                assert one.chunk() == expected[place // 10]
        for _ in bodies:
            assert sender.answer().json() == {"delivered": len(streams)}
        for one in streams:
            one.close()


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_a_hostile_message_does_not_keep_a_server_from_ending(gateways: str) -> None:
    """What is being written to very many when the server is told to end still comes, whole, and
    after it the stream's end; and its sender is answered."""
    message = b"x" * MiB
    with Node("--gateways", gateways) as node:
        streams = [stream(node.address, "many", "events") for _ in range(100)]
        with Raw(node.address) as sender:
            sender.send(post("/send/many", message))
            assert streams[0].line() == b"%x" % (MiB + 8)
            node.signal(signal.SIGTERM)
            for place, one in enumerate(streams):
                if place:
                    assert one.line() == b"%x" % (MiB + 8)
                assert one.read(MiB + 8) == b"data: %b\n\n" % message
            for one in streams:
                assert one.rest() == b"\r\n0\r\n\r\n"
                one.close()
            assert sender.answer().json() == {"delivered": 100}
        assert node.wait() == 0
