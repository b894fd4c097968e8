"""Who sends much is served last, by turns, and leaves room: in process, turn by turn, beside a
router that only takes."""

import contextlib
from collections.abc import Iterator

import pytest

from encke.gateway.heavy import BYTES_A_TURN, LINES_A_TURN, PIECE, POLITE_WINDOW
from encke.gateway.poller import POLLED
from encke.gateway.requests import MANY, MESSAGE_SIZE, READ_A_TURN, READ_SIZE
from encke.hub.limits import LATELY
from encke.settings import Settings
from encke.wire.message import OVERHEAD, SEND, Messages

from .harness import Client, Server, running
from .router import Sent

WINDOW = Settings().window
HEAD = b"POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
SHORT = b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
LINE = b'{"id": "1", "data": "%b"}\n'
LONG = LINE % (b"x" * 1000)
TINY = LINE % b""


class Nobody:
    """Whose messages are under way."""

    lane = -1

    def settled(self, messages: int, delivered: int, forwarded: int = 0) -> None:
        raise AssertionError("nobody answers")

    def failed(self, messages: int, why: object = None) -> None:
        raise AssertionError("nobody answers")


class House:
    """A gateway whose router only takes; its clients by the descriptors of their connections."""

    def __init__(self, server: Server) -> None:
        self.server, self.gateway, self.router = server, server.gateway, server.router
        self.clients: dict[int, Client] = {}
        self.left: dict[int, bytes] = {}
        """By descriptor: what of a piece the kernel hasn't taken yet."""

    def connect(self) -> int:
        """A new connection."""
        client = self.server.connect()
        self.clients[client.fd] = client
        return client.fd

    def heavy(self, count: int, piece: bytes) -> list[int]:
        """So many connections that send NDJSON, of which the gateway has seen the beginning."""
        fds = [self.connect() for _ in range(count)]
        for fd in fds:
            self.clients[fd].send(HEAD + piece)
        self.turn()
        return fds

    def fill(self, fds: list[int], piece: bytes) -> None:
        """Send as much as the kernel takes: what was left the last time, then such pieces."""
        for fd in fds:
            with contextlib.suppress(BlockingIOError):
                while True:
                    data = self.left.pop(fd, b"") or piece * (PIECE // len(piece))
                    self.left[fd] = data
                    self.left[fd] = data[self.clients[fd].send(data) :]

    def turn(self, under_way: int = 0) -> list[tuple[int, int, int]]:
        """Let a turn of the loop pass, with so many bytes under way before; what was sent in it:
        whose, how many messages, of how many bytes."""
        sent = self.router.sent
        sent.clear()
        if under_way:
            sent.append(Sent(Nobody(), Messages([b""], [bytes(under_way - OVERHEAD)]), SEND))
        self.server.reactor.turn()
        if under_way:
            sent.popleft()
        each = [(it.sender.lane, it.messages.data) for it in sent]
        return [(lane, len(data), sum(map(len, data))) for lane, data in each]

    def end(self) -> None:
        """All clients go; what they had sent is taken."""
        for client in self.clients.values():
            client.close()
        self.router.full = False
        for _ in range(1000):
            if not self.server.rows:
                return
            self.turn()
        raise AssertionError("they stay")

    def pause(self) -> None:
        """Nobody sends for a while."""
        self.server.reactor.now += 2 * LATELY


@pytest.fixture
def house() -> Iterator[House]:
    with running() as server:
        house = House(server)
        yield house
        house.end()


def test_heavy_senders_are_served_last(house: House) -> None:
    """Whoever was there first, and however much the others have sent: short messages go first."""
    heavy = house.heavy(3, LONG)
    ordinary = [house.connect() for _ in range(20)]
    house.fill(heavy, LONG)
    for _ in range(3):
        for fd in ordinary:
            house.clients[fd].send(SHORT)
        sent = [lane for lane, _, _ in house.turn()]
        assert sorted(sent[: len(ordinary)]) == sorted(ordinary)
        assert set(sent[len(ordinary) :]) <= set(heavy)


def test_heavy_senders_take_turns(house: House) -> None:
    """Each of them has as many turns as any other, all the time."""
    heavy = house.heavy(7, LONG)
    seen: list[int] = []
    for _ in range(20):
        house.fill(heavy, LONG)
        seen += [lane for lane, _, _ in house.turn()]
    for at in range(len(seen) - 7):
        assert set(seen[at : at + 7]) == set(heavy)


def test_what_is_read_of_heavy_senders_in_a_turn(house: House) -> None:
    """Bytes are bounded, and lines too: those of a turn, and one read more."""
    heavy, requests = house.heavy(20, LONG), house.gateway._requests
    for piece, length in ((LONG, len(LONG)), (TINY, len(TINY)), (b"\n" * 1000, 1)):
        for _ in range(3):
            house.fill(heavy, piece)
            sent = house.turn()
            size, lines = requests.bytes_read, house.gateway._desk.lines_read
            assert size <= BYTES_A_TURN
            assert lines < LINES_A_TURN + PIECE // length + 2
            assert size == BYTES_A_TURN or lines >= LINES_A_TURN
            assert sum(messages for _, messages, _ in sent) <= lines


def test_what_is_read_of_all_others_in_a_turn(house: House) -> None:
    """Long bodies that come in one go, on many connections: bytes are bounded, and everybody has
    a turn before anybody has another."""
    body = b"x" * (MESSAGE_SIZE - 200)
    head = b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    fds = [house.connect() for _ in range(5 * POLLED)]
    assert len(fds) * len(body) > 2 * READ_A_TURN
    for fd in fds:
        house.clients[fd].send(head + body)
    seen: list[int] = []
    while len(seen) < len(fds):
        sent = house.turn()
        assert 0 < sum(size for _, _, size in sent) <= READ_A_TURN + POLLED * MESSAGE_SIZE
        seen += [lane for lane, _, _ in sent]
        house.clients[seen[0]].send(head + body)
    assert set(seen) == set(fds)


def test_the_reserve_of_the_window(house: House) -> None:
    """Three quarters of the window are the most that heavy senders take; the rest is for those who
    send short messages, until that's gone too."""
    (heavy,) = house.heavy(1, LONG)
    ordinary = house.connect()
    reserve = WINDOW // 4
    for under_way, taken in ((WINDOW - reserve - 1, True), (WINDOW - reserve, False), (0, True)):
        house.fill([heavy], LONG)
        assert {lane for lane, _, _ in house.turn(under_way)} == ({heavy} if taken else set())
    house.clients[ordinary].send(SHORT)
    assert house.turn(WINDOW - 1) == [(ordinary, 1, 1)]
    house.router.full = True
    house.clients[ordinary].send(SHORT)
    assert house.turn() == []


def test_heavy_senders_are_polite_while_others_send(house: House) -> None:
    """In a turn in which somebody has sent a short message they have one short piece read, and in
    none if more is under way than others should wait for."""
    (heavy,) = house.heavy(1, LONG)
    ordinary = house.connect()
    most = POLITE_WINDOW - OVERHEAD - 1  # beside the short message
    for under_way, pieces in ((0, 1), (most - 1, 1), (most, 0)):
        house.fill([heavy], LONG)
        house.clients[ordinary].send(SHORT)
        short, *sent = house.turn(under_way)
        assert short == (ordinary, 1, 1)
        assert len(sent) == pieces
        assert sum(messages for _, messages, _ in sent) * len(LONG) <= READ_SIZE + len(LONG)
    house.pause()
    assert sum(size for _, _, size in house.turn()) > READ_SIZE


def test_who_is_heavy(house: House) -> None:
    """Who sends long bodies, many messages at once, or NDJSON in pieces is, until something short
    comes; a stream never is."""
    fd = house.connect()
    client, heavy = house.clients[fd], house.gateway._poller.heavy
    long = b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % MESSAGE_SIZE
    lines = b"POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    chunked = b"POST /send HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for sent, is_heavy in (
        (SHORT * 30, False),
        (SHORT * 60, True),
        (SHORT, False),
        (long + b"x" * READ_SIZE, True),
        (b"x" * (MESSAGE_SIZE - READ_SIZE), False),
        (long + b"x" * (READ_SIZE - 1), False),
        (b"x", True),
        (b"x" * (MESSAGE_SIZE - READ_SIZE), False),
        (lines % (MANY * len(TINY)) + TINY * MANY, False),
        (lines % (MANY * len(TINY) + 1) + TINY * MANY + b"\n", True),
        (SHORT, False),
        (chunked, True),
        (b"1\r\n\n\r\n", True),
        (b"0\r\n\r\n", False),
        (chunked, True),
        (b"0\r\n\r\nGET /test/1 HTTP/1.1\r\nHost: localhost\r\n\r\n", False),
    ):
        assert client.send(sent) == len(sent)
        for _ in range(3):
            house.turn()
        assert (fd in heavy) == is_heavy, sent[:99]
