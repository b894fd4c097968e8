"""A link's end: frames over a real Unix socket."""

import socket
import struct
from array import array
from collections.abc import Iterator

import pytest

from encke.reactor.channel import SOCKET_BUFFER, Channel
from encke.reactor.loop import Reactor
from encke.wire.link import Frame, Hello, Result, Send, Synced
from encke.wire.message import SEND, Messages

from .turning import run_until


def encode(frame: Frame) -> bytes:
    return frame.encode()


def send(number: int, message: bytes) -> Send:
    return Send(number, Messages([b"1"], [message]), SEND)


class End:
    """A channel, and what came of it."""

    def __init__(self, reactor: Reactor, connection: socket.socket) -> None:
        self.frames: list[Frame] = []
        self.turns = 0
        self.closed = 0
        self.channel = Channel(reactor, connection, self._received, self._closed)

    def _received(self, frames: list[Frame]) -> None:
        self.frames += frames
        self.turns += 1

    def _closed(self) -> None:
        self.closed += 1
        assert not self.channel.open


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def pair(reactor: Reactor) -> Iterator[tuple[End, End]]:
    """Both ends of a link."""
    ours, theirs = socket.socketpair()
    left, right = End(reactor, ours), End(reactor, theirs)
    yield left, right
    left.channel.close()
    right.channel.close()


@pytest.fixture
def with_peer(reactor: Reactor) -> Iterator[tuple[End, socket.socket]]:
    """One end of a link, and a plain socket as the other."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    end = End(reactor, ours)
    yield end, theirs
    end.channel.close()
    theirs.close()


def test_frames_arrive_in_order_and_both_ways(reactor: Reactor, pair: tuple[End, End]) -> None:
    """What is sent arrives as it was, in order, in both directions."""
    left, right = pair
    for number in range(100):
        left.channel.send(Hello(number))
        right.channel.send(Result(number, array("I", [number])))
    left.channel.flush()
    right.channel.flush()
    run_until(reactor, lambda: len(left.frames) == len(right.frames) == 100)
    assert right.frames == [Hello(number) for number in range(100)]
    assert left.frames == [Result(number, array("I", [number])) for number in range(100)]


def test_nothing_leaves_before_flush(
    reactor: Reactor, with_peer: tuple[End, socket.socket]
) -> None:
    """Frames gather until `flush`, and leave with it in one write."""
    end, peer = with_peer
    for number in range(10):
        end.channel.send(Hello(number))
    with pytest.raises(BlockingIOError):
        peer.recv(1)
    end.channel.flush()
    assert peer.recv(1 << 20) == b"".join(encode(Hello(number)) for number in range(10))
    end.channel.flush()  # nothing to do
    with pytest.raises(BlockingIOError):
        peer.recv(1)


def test_several_megabytes_pass(reactor: Reactor, pair: tuple[End, End]) -> None:
    """What the kernel doesn't take at once follows as the peer reads, whole and in order,
    also what is sent meanwhile."""
    left, right = pair
    big = [send(number, bytes([number]) * 1024 * 1024) for number in range(8)]
    for frame in big:
        left.channel.send(frame)
    left.channel.flush()
    left.channel.send(Hello(1))
    left.channel.flush()
    left.channel.send(Hello(2))  # flushed only later
    reactor.after_turn(left.channel.flush)
    run_until(reactor, lambda: len(right.frames) == 10)
    assert sum(len(encode(frame)) for frame in big) > 4 * SOCKET_BUFFER
    assert right.frames == [*big, Hello(1), Hello(2)]
    assert right.turns > 2  # it came in several pieces


def test_a_slow_peer_costs_no_turns(reactor: Reactor, with_peer: tuple[End, socket.socket]) -> None:
    """While the peer doesn't read, the loop rests: it isn't woken in vain, and isn't either
    once everything is out."""
    end, peer = with_peer
    end.channel.send(send(1, b"x" * 16 * SOCKET_BUFFER))
    end.channel.flush()
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1

    reactor.after_turn(count)
    ticks: list[None] = []
    reactor.every(0.02, lambda: ticks.append(None))
    run_until(reactor, lambda: len(ticks) == 3)
    assert turns <= 6  # a tick may come a moment early for the clock, never a spin
    received = 0
    expected = len(encode(send(1, b"x" * 16 * SOCKET_BUFFER)))

    def drain(_: int = 0) -> None:
        nonlocal received
        try:
            while data := peer.recv(1 << 20):
                received += len(data)
        except BlockingIOError:
            pass

    reactor.after_turn(drain)
    run_until(reactor, lambda: received == expected)
    before = turns
    ticks.clear()
    run_until(reactor, lambda: len(ticks) == 3)
    assert turns - before <= 6


def test_both_ends_may_send_more_than_fits(reactor: Reactor, pair: tuple[End, End]) -> None:
    """Two ends that both have megabytes to send don't wait for each other forever."""
    left, right = pair
    frame = send(1, b"x" * 4 * SOCKET_BUFFER)
    left.channel.send(frame)
    right.channel.send(frame)
    left.channel.flush()
    right.channel.flush()
    run_until(reactor, lambda: left.frames == right.frames == [frame])


def test_the_peers_end_closes_once(reactor: Reactor, with_peer: tuple[End, socket.socket]) -> None:
    """`closed` is called once when the peer goes, after the frames that it sent last."""
    end, peer = with_peer
    peer.sendall(encode(Hello(7)) + encode(Synced())[:-1])
    peer.close()
    run_until(reactor, lambda: end.closed > 0)
    assert end.frames == [Hello(7)]
    end.channel.close()
    end.channel.send(Hello(1))
    end.channel.flush()
    assert end.closed == 1


def test_closing_closes_once_and_the_peer_sees_it(reactor: Reactor, pair: tuple[End, End]) -> None:
    """`close` ends the link at once, calls `closed` once, and the peer reads the end."""
    left, right = pair
    left.channel.close()
    left.channel.close()
    assert left.closed == 1
    run_until(reactor, lambda: right.closed == 1)


def test_a_write_to_a_dead_peer_closes(
    reactor: Reactor, with_peer: tuple[End, socket.socket]
) -> None:
    """A write that fails ends the link like a read that does, once."""
    end, peer = with_peer
    peer.close()
    end.channel.send(Hello(1))
    end.channel.flush()
    assert end.closed == 1
    end.channel.flush()
    assert end.closed == 1


def test_a_peer_that_dies_with_a_write_unfinished(
    reactor: Reactor, with_peer: tuple[End, socket.socket]
) -> None:
    """What couldn't be written is dropped with the link, and the loop goes on."""
    end, peer = with_peer
    end.channel.send(send(1, b"x" * 16 * SOCKET_BUFFER))
    end.channel.flush()
    peer.close()
    run_until(reactor, lambda: end.closed == 1)
    turns: list[None] = []
    reactor.every(0.0, lambda: turns.append(None))
    run_until(reactor, lambda: len(turns) > 2)
    assert end.closed == 1


@pytest.mark.parametrize(
    "garbage", [struct.pack("=IB", 0, 99), struct.pack("=IB", 2**31, 1), b"\xff" * 100]
)
def test_garbage_closes(
    reactor: Reactor, with_peer: tuple[End, socket.socket], garbage: bytes
) -> None:
    """Bytes that are no frame end the link: nothing after them can be trusted."""
    end, peer = with_peer
    peer.sendall(encode(Hello(7)))
    run_until(reactor, lambda: end.frames == [Hello(7)])
    peer.sendall(garbage)
    run_until(reactor, lambda: end.closed == 1)
    assert end.frames == [Hello(7)]
    assert peer.recv(1) == b""


def test_a_receiver_may_close(reactor: Reactor) -> None:
    """Who gets frames may end the link right then; nothing more comes of it."""
    ours, theirs = socket.socketpair()
    got: list[list[Frame]] = []
    closed: list[None] = []

    def receive(frames: list[Frame]) -> None:
        got.append(frames)
        channel.close()

    channel = Channel(reactor, ours, receive, lambda: closed.append(None))
    with theirs:
        theirs.sendall(encode(Hello(1)))
        run_until(reactor, lambda: bool(closed))
        assert theirs.recv(1) == b""
    assert got == [[Hello(1)]]
    assert len(closed) == 1
