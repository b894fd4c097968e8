"""The poller: which connections are ready, and which of them have no hurry."""

import socket
from collections.abc import Iterator

import pytest

from encke.gateway.life import READ, WRITE
from encke.gateway.poller import Poller


class Pairs:
    """Connected sockets: ours by descriptor, their peers."""

    def __init__(self) -> None:
        self.ours: dict[int, socket.socket] = {}
        self.peers: dict[int, socket.socket] = {}

    def __call__(self) -> int:
        ours, peer = socket.socketpair()
        self.ours[ours.fileno()], self.peers[ours.fileno()] = ours, peer
        return ours.fileno()

    def close(self) -> None:
        for end in (*self.ours.values(), *self.peers.values()):
            end.close()


@pytest.fixture
def connect() -> Iterator[Pairs]:
    pairs = Pairs()
    yield pairs
    pairs.close()


def descriptors(ready: list[tuple[int, int]]) -> list[int]:
    return [fd for fd, _ in ready]


def test_the_deferred_are_reported_apart(connect: Pairs) -> None:
    """What a deferred connection sends makes the poller not ready; it's told when asked."""
    poller, outer = Poller(), Poller()
    outer.add(poller.fileno())
    fd, other = connect(), connect()
    poller.add(fd)
    poller.add(other)
    poller.defer(fd)
    poller.defer(fd)  # twice is the same as once
    connect.peers[fd].send(b"x")
    assert outer.poll(0, 9) == []
    assert poller.poll(0, 9) == []
    assert descriptors(poller.deferred_ready(9)) == [fd]
    connect.peers[other].send(b"x")
    assert descriptors(outer.poll(0, 9)) == [poller.fileno()]
    assert descriptors(poller.poll(0, 9)) == [other]
    assert descriptors(poller.deferred_ready(9)) == [fd]


def test_the_recalled_are_as_before(connect: Pairs) -> None:
    """A recalled connection is reported with the others again; who isn't deferred stays."""
    poller, fd = Poller(), connect()
    poller.add(fd)
    poller.recall(fd)
    poller.defer(fd)
    poller.recall(fd)
    connect.peers[fd].send(b"x")
    assert descriptors(poller.poll(0, 9)) == [fd]
    assert poller.deferred_ready(9) == []
    assert not poller.deferred


def test_the_deferred_take_turns(connect: Pairs) -> None:
    """Of many that are ready each has its turn, however few are asked for at once."""
    poller, fds = Poller(), [connect() for _ in range(10)]
    for fd in fds:
        poller.add(fd)
        poller.defer(fd)
        connect.peers[fd].send(b"x")
    seen = [fd for _ in range(5) for fd in descriptors(poller.deferred_ready(2))]
    assert sorted(seen) == sorted(fds)


def test_what_is_waited_for_can_change_meanwhile(connect: Pairs) -> None:
    """Writing, and not reading, are possible for a deferred connection as for others."""
    poller, fd = Poller(), connect()
    poller.add(fd)
    poller.defer(fd)
    connect.peers[fd].send(b"x")
    poller.want(fd, WRITE)
    assert poller.deferred_ready(9) == [(fd, WRITE)]
    poller.want(fd, READ | WRITE)
    ((_, events),) = poller.deferred_ready(9)
    assert events & WRITE
    assert events & READ
    poller.want(fd, 0)
    assert poller.deferred_ready(9) == []
    poller.want(fd, READ)
    assert descriptors(poller.deferred_ready(9)) == [fd]
    assert poller.poll(0, 9) == []


def test_a_descriptors_next_owner_isnt_deferred(connect: Pairs) -> None:
    """Whoever gets the descriptor of a deferred connection that was closed starts anew."""
    poller, fd = Poller(), connect()
    poller.add(fd)
    poller.defer(fd)
    poller.forget(fd)
    connect.ours.pop(fd).close()
    connect.peers.pop(fd).close()
    assert connect() == fd  # the kernel gives the lowest that is free
    poller.add(fd)
    connect.peers[fd].send(b"x")
    assert descriptors(poller.poll(0, 9)) == [fd]
