"""The outbox: bytes to clients, over real sockets that take little at a time."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encke.gateway.life import IDLE, READ, STREAM, WRITE, interest
from encke.gateway.outbox import SHARED, Outbox
from encke.gateway.poller import MAX_READY, Poller

LIMIT = 1000
TOTAL = 1 << 20


class Gateway:
    """An outbox, and what a gateway does around it: closes what is lost or too slow."""

    def __init__(self, limit: int = LIMIT, total: int = TOTAL) -> None:
        self.peers: dict[int, socket.socket] = {}
        self.reading: set[int] = set()
        self.lost: list[int] = []
        self.slow: list[int] = []
        self.crowded: list[int] = []
        self.drained: list[int] = []
        self.closed: set[int] = set()
        self.poller = Poller()
        self.outbox = Outbox(
            limit,
            total,
            lost=self._lost,
            too_slow=self._too_slow,
            crowded_out=self._crowded_out,
            blocked=self._rearm,
            written=self._written,
            limited=self.reading.__contains__,
        )

    def connect(self, *, reads: bool = True, at: int | None = None) -> int:
        """A new connection, `at` a descriptor's number if it matters; its peer is in `peers`."""
        ours, peer = socket.socketpair()
        for end in (ours, peer):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least
        fd = ours.detach()
        if at is not None and at != fd:
            os.dup2(fd, at)
            os.close(fd)
            fd = at
        self.peers[fd] = peer
        self.closed.discard(fd)
        if reads:
            self.reading.add(fd)
        self.poller.add(fd)
        return fd

    def fill(self, fd: int) -> int:
        """Make the kernel's buffer of `fd` full; returns how many bytes that took."""
        size = 0
        for piece in (4096, 1):
            try:
                while True:
                    size += os.write(fd, b"-" * piece)
            except BlockingIOError:
                pass
        return size

    def read(self, fd: int, size: int = 1 << 20) -> bytes:
        """What the peer of `fd` can read now, at most `size` bytes; the outbox is told of the
        room that it makes, as a gateway's turn would."""
        try:
            data = self.peers[fd].recv(size)
        except BlockingIOError:
            data = b""
        for ready, events in self.poller.poll(0, MAX_READY):
            if events & WRITE:
                self.outbox.writable[ready] = None
        self.outbox.go_on(1 << 30)
        return data

    @property
    def waits(self) -> int:
        """Bytes that wait for all."""
        return sum(tail.size for tail in self.outbox.tails.values())

    def writable(self, fd: int) -> None:
        """It's reported that takes bytes again."""
        self.outbox.writable[fd] = None
        self.outbox.go_on(1 << 30)

    def read_all(self, fd: int) -> bytes:
        """All that the peer of `fd` gets."""
        got = b""
        while data := self.read(fd):
            got += data
        return got

    def close(self, fd: int) -> None:
        if fd not in self.closed:
            self.closed.add(fd)
            self.outbox.forget(fd)
            self.poller.forget(fd)
            os.close(fd)

    def end(self) -> None:
        for fd, peer in self.peers.items():
            self.close(fd)
            peer.close()

    def _lost(self, fd: int) -> None:
        self.lost.append(fd)
        self.close(fd)

    def _rearm(self, fd: int) -> None:
        state = STREAM if fd in self.reading else IDLE
        unwritten = fd in self.outbox.tails
        self.poller.want(fd, interest(state, unwritten=unwritten, held=False))

    def _written(self, fd: int) -> None:
        self._rearm(fd)
        self.drained.append(fd)

    def _too_slow(self, fd: int) -> None:
        self.slow.append(fd)
        self.close(fd)

    def _crowded_out(self, fd: int) -> None:
        self.crowded.append(fd)
        self.close(fd)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.end()


def test_what_was_queued_leaves_at_the_flush(gateway: Gateway) -> None:
    """Nothing leaves before `flush`; then all that gathered for a connection does, in order."""
    fd, other = gateway.connect(), gateway.connect()
    for message in (b"a", b"b", b"c"):
        assert gateway.outbox.queue(fd, message)
    assert gateway.outbox.queue(other, b"d")
    assert gateway.outbox.waiting(fd)
    assert gateway.read(fd) == b""
    gateway.outbox.flush()
    assert not gateway.outbox.waiting(fd)
    assert (gateway.read(fd), gateway.read(other)) == (b"abc", b"d")
    assert gateway.outbox.bytes_out == 4
    gateway.outbox.flush()
    assert gateway.read(fd) == b""


def test_flush_one(gateway: Gateway) -> None:
    """One connection's bytes can leave before the turn's end, and don't leave again then."""
    fd, other = gateway.connect(), gateway.connect()
    gateway.outbox.queue(fd, b"a")
    gateway.outbox.queue(other, b"b")
    gateway.outbox.flush_one(fd)
    gateway.outbox.flush_one(fd)
    assert (gateway.read(fd), gateway.read(other)) == (b"a", b"")
    gateway.outbox.flush()
    assert (gateway.read(fd), gateway.read(other)) == (b"", b"b")


def test_a_short_write_goes_on_as_the_client_reads(gateway: Gateway) -> None:
    """What the kernel doesn't take waits, leaves in order as there is room, and is reported
    once when it is out."""
    fd = gateway.connect()
    data = bytes(range(256)) * 200
    gateway.outbox.queue(fd, data)
    gateway.outbox.flush()
    assert gateway.outbox.waiting(fd)
    assert 0 < gateway.waits < len(data)
    assert gateway.waits + gateway.outbox.bytes_out == len(data)
    assert gateway.drained == []
    assert gateway.read_all(fd) == data
    assert gateway.drained == [fd]
    assert not gateway.outbox.waiting(fd)
    assert gateway.waits == 0
    assert gateway.outbox.bytes_out == len(data)


def test_nothing_overtakes_a_tail(gateway: Gateway) -> None:
    """What is queued behind a tail leaves behind it, by each of the ways out."""
    fd = gateway.connect()
    filled = gateway.fill(fd)
    gateway.outbox.queue(fd, b"a" * 10)
    gateway.outbox.flush()
    gateway.outbox.queue(fd, b"b" * 10)
    gateway.outbox.flush()
    gateway.outbox.queue(fd, b"c" * 10)
    gateway.outbox.flush_one(fd)
    gateway.outbox.queue(fd, b"d" * 10)
    assert gateway.read_all(fd) == b"-" * filled + b"a" * 10 + b"b" * 10 + b"c" * 10 + b"d" * 10


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit(gateway: Gateway, over: int) -> None:
    """A client with exactly the limit waiting gets another message, one with a byte more is
    too slow: told once, and nothing of the message is kept."""
    fd = gateway.connect()
    gateway.fill(fd)
    gateway.outbox.queue(fd, b"x" * (LIMIT + over))
    gateway.outbox.flush()
    assert gateway.waits == LIMIT + over
    assert gateway.outbox.queue(fd, b"y") == (not over)
    gateway.outbox.flush()
    assert gateway.slow == [fd] * over
    assert gateway.waits == (0 if over else LIMIT + 1)
    assert gateway.lost == []


def test_the_limit_within_a_turn(gateway: Gateway) -> None:
    """Many messages in one turn are held to the limit as well as over many turns."""
    fd = gateway.connect()
    gateway.fill(fd)
    queued = 0
    while gateway.outbox.queue(fd, b"x" * 100):
        queued += 100
        assert queued <= LIMIT + 100
    assert gateway.slow == [fd]
    assert queued > LIMIT


def test_a_tail_is_at_most_the_limit_and_one_message(gateway: Gateway) -> None:
    """What waits for a client stays within the limit and one message, whatever was queued
    in which turn."""
    fd = gateway.connect()
    gateway.fill(fd)
    for messages in (1, 2, 2):
        for _ in range(messages):
            if fd not in gateway.closed:
                gateway.outbox.queue(fd, b"x" * LIMIT)
        gateway.outbox.flush()
        assert gateway.waits <= 2 * LIMIT


def test_one_large_message_may_always_wait(gateway: Gateway) -> None:
    """A message far over the limit reaches a client that reads it, only none behind it."""
    fd = gateway.connect()
    large = bytes(range(256)) * 400
    assert gateway.outbox.queue(fd, large)
    gateway.outbox.flush()
    assert gateway.waits > 10 * LIMIT
    assert gateway.read_all(fd) == large
    assert gateway.outbox.queue(fd, b"next")
    gateway.outbox.flush()
    assert gateway.read_all(fd) == b"next"
    assert gateway.slow == []


def test_a_client_that_keeps_up_is_never_too_slow(gateway: Gateway) -> None:
    """In one turn much more than the limit may pass, if the kernel takes it."""
    fd = gateway.connect()
    for _ in range(3):
        assert gateway.outbox.queue(fd, b"x" * (LIMIT + 1))
    gateway.outbox.flush()
    assert gateway.read_all(fd) == b"x" * 3 * (LIMIT + 1)


def test_one_slow_client_does_not_hold_up_others(gateway: Gateway) -> None:
    """A full socket keeps its own bytes waiting, nobody else's."""
    slow, quick = gateway.connect(), gateway.connect()
    gateway.fill(slow)
    for fd in (slow, quick):
        gateway.outbox.queue(fd, b"a")
    gateway.outbox.flush()
    assert gateway.read(quick) == b"a"
    assert gateway.outbox.waiting(slow)


def test_forget(gateway: Gateway) -> None:
    """Of a connection that is about to be closed nothing waits any more, queued or begun."""
    queued, begun = gateway.connect(), gateway.connect()
    gateway.fill(begun)
    gateway.outbox.queue(begun, b"b")
    gateway.outbox.flush()
    gateway.outbox.queue(queued, b"a")
    for fd in (queued, begun):
        gateway.outbox.forget(fd)
        assert not gateway.outbox.waiting(fd)
    gateway.outbox.flush()
    gateway.writable(begun)
    assert gateway.read(queued) == b""
    assert set(gateway.read_all(begun)) == {ord("-")}
    assert gateway.drained == []


def test_nothing_reaches_who_took_over_a_descriptor(gateway: Gateway) -> None:
    """Bytes for a connection that was closed don't go to the next one with its number."""
    old = gateway.connect()
    gateway.fill(old)
    gateway.outbox.queue(old, b"a tail")
    gateway.outbox.flush()
    gateway.outbox.queue(old, b"and more")
    gateway.close(old)
    gateway.peers.pop(old).close()
    new = gateway.connect(at=old)
    gateway.outbox.flush()
    gateway.outbox.flush_one(new)
    gateway.writable(new)
    assert gateway.read(new) == b""
    gateway.outbox.queue(new, b"for the new one")
    gateway.outbox.flush()
    assert gateway.read(new) == b"for the new one"


def test_a_broken_peer_is_lost_once(gateway: Gateway) -> None:
    """A write that fails reports the connection once, and the others are written to."""
    broken, whole = gateway.connect(), gateway.connect()
    gateway.peers[broken].close()
    for fd in (broken, whole):
        gateway.outbox.queue(fd, b"a")
        gateway.outbox.queue(fd, b"b")
    gateway.outbox.flush()
    gateway.outbox.flush()
    assert gateway.lost == [broken]
    assert gateway.read(whole) == b"ab"
    assert gateway.outbox.bytes_out == 2


def test_a_peer_that_breaks_with_a_tail_waiting(gateway: Gateway) -> None:
    """A tail that can't be written any more is dropped with its connection, once."""
    fd = gateway.connect()
    gateway.fill(fd)
    gateway.outbox.queue(fd, b"a")
    gateway.outbox.flush()
    gateway.peers[fd].close()
    gateway.writable(fd)
    gateway.writable(fd)
    assert gateway.lost == [fd]
    assert gateway.waits == 0


def test_a_broken_peer_is_lost_in_the_middle_of_a_turn(gateway: Gateway) -> None:
    """A write before the turn's end that fails says so to who queues, and reports once."""
    fd = gateway.connect()
    gateway.peers[fd].close()
    assert gateway.outbox.queue(fd, b"x" * (LIMIT + 1))
    assert not gateway.outbox.queue(fd, b"y")
    gateway.outbox.flush()
    assert gateway.lost == [fd]
    other = gateway.connect()
    gateway.peers[other].close()
    gateway.outbox.queue(other, b"x")
    gateway.outbox.flush_one(other)
    assert gateway.lost == [fd, other]


@pytest.mark.parametrize("reads", [True, False])
def test_who_has_a_tail_is_read_from_if_it_is_a_stream(gateway: Gateway, reads: bool) -> None:
    """While a tail waits, a stream's end is still noticed; a request's sender isn't heard
    before it took its answer, and is again afterwards."""
    fd = gateway.connect(reads=reads)
    gateway.fill(fd)
    gateway.outbox.queue(fd, b"a")
    gateway.outbox.flush()
    gateway.peers[fd].send(b"hello")
    events = dict(gateway.poller.poll(0, MAX_READY)).get(fd, 0)
    assert bool(events & READ) == reads
    assert gateway.read_all(fd).endswith(b"a")
    assert gateway.drained == [fd]
    assert dict(gateway.poller.poll(0, MAX_READY)) == {
        fd: READ & dict(gateway.poller.poll(0, MAX_READY))[fd]
    }


def test_writable_without_a_tail(gateway: Gateway) -> None:
    """A report for who has nothing waiting is passed over."""
    fd = gateway.connect()
    gateway.writable(fd)
    gateway.outbox.queue(fd, b"a")
    gateway.writable(fd)
    assert gateway.read(fd) == b""
    assert gateway.drained == []


# ---- what waits for all ----------------------------------------------------------------


def test_a_large_piece_is_kept_once(gateway: Gateway) -> None:
    """However many wait for the same bytes, they're in memory once, until the last one has got
    them, or is gone; short ones are each client's own."""
    fds = [gateway.connect() for _ in range(5)]
    for fd in fds:
        gateway.fill(fd)
    data = b""
    for size in (SHARED, 5 * SHARED, SHARED - 1):
        data = bytes(size)
        for fd in fds:
            assert gateway.outbox.write(fd, (data,))
        if size >= SHARED:
            assert gateway.outbox.held == size
            assert all(gateway.outbox.tails[fd].pieces[0] is data for fd in fds)
        else:
            assert gateway.outbox.held == 5 * size
        assert gateway.waits == 5 * size
        for fd in fds[1:]:
            gateway.read_all(fd)
        assert gateway.outbox.held == size
        gateway.read_all(fds[0])
        assert gateway.outbox.held == 0
        for fd in fds:
            gateway.fill(fd)
    for number, fd in enumerate(fds):
        gateway.outbox.write(fd, (data,))
        gateway.outbox.queue(fd, b"x" * number)
    for fd in fds:
        gateway.close(fd)
    assert gateway.outbox.held == 0


def test_pieces_are_written_in_order(gateway: Gateway) -> None:
    """What's large is written from where it is, what's short is joined; the client can't tell."""
    fd = gateway.connect()
    filled = gateway.fill(fd)
    sent = b"first"
    gateway.outbox.write(fd, (b"fi", b"rst"))
    for number, size in enumerate((1, 2, SHARED, 3, 5 * SHARED, 0, SHARED - 1, 4, 3, 2, 1)):
        pieces = (b"<", bytes([65 + number]) * size, b">")
        gateway.outbox.finish(fd, pieces[0])
        gateway.outbox.finish(fd, pieces[1] + pieces[2])
        sent += b"".join(pieces)
    assert len(gateway.outbox.tails[fd].pieces) < 12
    assert gateway.read_all(fd) == b"-" * filled + sent
    assert gateway.outbox.held == 0


def test_who_took_nothing_for_longest_is_crowded_out() -> None:
    """Above the total those go that have taken nothing for longest: not those who came first, but
    take something, and no more than must."""
    gateway = Gateway(total=4 * SHARED)
    fds = [gateway.connect() for _ in range(6)]
    for fd in fds:
        gateway.fill(fd)
    for fd in fds[:4]:
        gateway.outbox.queue(fd, bytes(SHARED))
    gateway.outbox.flush()
    assert gateway.crowded == []
    gateway.read(fds[0], 1 << 20)
    assert gateway.outbox.tails[fds[0]].size > 0
    gateway.outbox.queue(fds[4], bytes(SHARED))
    gateway.outbox.flush()
    assert gateway.crowded == [fds[1]]
    gateway.outbox.queue(fds[5], bytes(2 * SHARED))
    gateway.outbox.flush()
    assert gateway.crowded == fds[1:4]
    assert gateway.outbox.held == 4 * SHARED
    assert gateway.slow == []
    gateway.end()


def test_crowding_out_who_shares_frees_nothing_before_the_last() -> None:
    """What is kept once is given back with the last who waits for it: until then others go too."""
    gateway = Gateway(total=4 * SHARED)
    fds = [gateway.connect() for _ in range(5)]
    shared = bytes(3 * SHARED)
    for fd in fds:
        gateway.fill(fd)
    for fd in fds[:4]:
        gateway.outbox.write(fd, (shared,))
    gateway.outbox.write(fds[4], (bytes(2 * SHARED),))
    gateway.outbox.fit()
    assert gateway.crowded == fds[:4]
    assert gateway.outbox.held == 2 * SHARED
    gateway.end()


def test_tails_have_turns(gateway: Gateway) -> None:
    """Of those that take bytes again so many are written to as there's room for; who has waited
    longest comes first."""
    fds = [gateway.connect() for _ in range(4)]
    for fd in fds:
        gateway.fill(fd)
        gateway.outbox.write(fd, (bytes(10 * SHARED),))
        gateway.peers[fd].recv(1 << 20)
    outbox = gateway.outbox
    outbox.writable.update(dict.fromkeys(fds))
    before = outbox.bytes_out
    outbox.go_on(1)
    assert list(outbox.writable) == fds[1:]
    assert outbox.bytes_out > before
    outbox.writable[fds[0]] = None
    outbox.go_on(1)
    assert list(outbox.writable) == [*fds[2:], fds[0]]
    gateway.close(fds[2])
    outbox.go_on(1)
    assert list(outbox.writable) == [fds[0]]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), st.integers(0, 3 * LIMIT)),
        st.tuples(st.just("queue"), st.just(20 * LIMIT)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("flush one"), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 5 * LIMIT)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_order_is_kept_over_short_writes(steps: list[tuple[str, int]]) -> None:
    """However queueing, flushing and reading follow each other, the client gets what was
    accepted, in order; up to some byte if it was too slow."""
    gateway = Gateway()
    fd = gateway.connect()
    accepted = got = b""
    for number, (step, size) in enumerate(steps):
        if step == "read":
            got += gateway.read(fd, size)
        elif fd in gateway.closed:
            continue
        elif step == "queue":
            data = bytes([number]) * size
            if gateway.outbox.queue(fd, data):
                accepted += data
        elif step == "flush":
            gateway.outbox.flush()
        else:
            gateway.outbox.flush_one(fd)
    gateway.outbox.flush()
    got += gateway.read_all(fd)
    if gateway.slow:
        assert accepted.startswith(got)
    else:
        assert got == accepted
    assert len(gateway.slow) <= 1
    assert gateway.lost == []
    assert gateway.waits == 0
    gateway.end()
