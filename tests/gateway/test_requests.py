"""Requests of one connection, in process: a socket pair, no fork, a router that only takes."""

import socket
from collections.abc import Iterator, Mapping

import pytest

from encke.gateway.connections import Connections
from encke.gateway.life import ENDING, FREE, LINGERING, LOGGING_IN
from encke.gateway.poller import MAX_READY
from encke.gateway.port import Sender
from encke.gateway.requests import Requests
from encke.gateway.senders import Desk
from encke.gateway.streams import Streams
from encke.settings import Settings
from encke.wire.message import SEND, Messages, Order


class Router:
    """Takes everything and says nothing (port.Router)."""

    available = True
    users = 0
    counts: Mapping[int, int] = {}

    def __init__(self) -> None:
        self.full = False
        self.under_way = 0
        self.sent: list[Sender] = []

    def login(self, handle: int, id: bytes) -> None:
        pass

    def logout(self, handle: int) -> None:
        pass

    def send(self, sender: Sender, messages: Messages, order: Order = SEND) -> None:
        self.sent.append(sender)

    def flush(self) -> None:
        pass

    def tick(self) -> None:
        pass


class Gateway:
    """One connection, and all that serves it; `client` is its other end."""

    def __init__(self) -> None:
        self.router = Router()
        self.connections = Connections(Settings(), 1, self.router)
        streams = Streams(self.connections)
        self.desk = Desk(self.connections, streams)
        self.requests = Requests(self.connections, streams, self.desk)
        ours, self.client = socket.socketpair()
        ours.setblocking(False)
        self.client.setblocking(False)
        self.fd = ours.detach()
        self.connections.take(self.fd)

    @property
    def state(self) -> int:
        return self.connections.columns.state[self.fd]

    def ready(self) -> list[int]:
        """Who the poller says is ready."""
        poller = self.connections.poller
        return [fd for fd, _ in (*poller.poll(0, MAX_READY), *poller.deferred_ready(1))]

    def turn(self) -> None:
        """Read from whoever is ready, give the answers, write."""
        for fd in self.ready():
            self.requests.readable(fd)
        self.desk.answer()
        self.connections.outbox.flush()

    def close(self) -> None:
        self.connections.close(self.fd)
        self.client.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


def test_who_lingers_keeps_nobody_awake(gateway: Gateway) -> None:
    """What still comes after the last answer is dropped, also while the router takes no more: it
    isn't reported turn after turn."""
    gateway.client.send(b"nonsense\r\n\r\n")
    gateway.turn()
    assert gateway.state == LINGERING
    gateway.router.full = True
    gateway.client.send(b"and more of it")
    gateway.turn()
    assert gateway.state == LINGERING
    assert gateway.ready() == []


def test_who_is_ahead_of_the_router_is_not_read_from(gateway: Gateway) -> None:
    """While the router is full, what senders send waits in the kernel."""
    gateway.router.full = True
    gateway.client.send(b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
    gateway.turn()
    assert gateway.ready() == []
    assert not gateway.router.sent
    gateway.router.full = False
    gateway.connections.release(gateway.fd)
    gateway.turn()
    assert len(gateway.router.sent) == 1


def test_the_client_of_a_refused_body_is_told_at_once(gateway: Gateway) -> None:
    """Nobody waits for the rest of a body that isn't wanted."""
    gateway.client.send(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nx")
    gateway.requests.readable(gateway.fd)
    assert gateway.state == ENDING
    gateway.turn()
    assert gateway.client.recv(4096).startswith(b"HTTP/1.1 404 ")


def test_refusals_that_differ_are_not_kept(gateway: Gateway) -> None:
    """Of what is refused, only what is the same for very many is kept: it can't grow with what
    strangers write."""
    for length in range(200, 250):
        id = b"x" * length
        gateway.client.send(b"GET /test/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % id)
        gateway.turn()
        assert b"has %d characters" % length in gateway.client.recv(4096)
    assert len(gateway.desk.answers._refusals) <= 1


def test_who_ends_in_the_middle_of_a_body_is_told_of_what_came_before(gateway: Gateway) -> None:
    """A request that was cut off isn't answered; the whole ones before it are."""
    head = b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
    gateway.client.send(head + b"full" + head + b"ha")
    gateway.turn()
    gateway.client.shutdown(socket.SHUT_WR)
    gateway.turn()
    (sender,) = gateway.router.sent
    sender.settled(1, 5)
    gateway.turn()
    assert gateway.client.recv(4096).endswith(b'{"delivered": 5}')
    gateway.turn()
    assert gateway.client.recv(4096) == b""
    assert gateway.state == FREE


@pytest.mark.parametrize("failed", [False, True])
def test_lines_of_a_body_that_was_cut_off_have_no_answer(gateway: Gateway, failed: bool) -> None:
    """What becomes of them, in the same turn too, is told nobody; the connection ends."""
    line = b'{"id":"1","data":"x"}\n'
    gateway.client.send(
        b"POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n" + line
    )
    gateway.turn()
    gateway.client.shutdown(socket.SHUT_WR)
    gateway.requests.readable(gateway.fd)
    (sender,) = gateway.router.sent
    if failed:
        sender.failed(1)
    else:
        sender.settled(1, 1)
    gateway.turn()
    assert gateway.client.recv(4096) == b""


@pytest.mark.parametrize("pieces", [1, 3])
def test_hostile_senders_keep_nobody_from_asking(gateway: Gateway, pieces: int) -> None:
    """While the router is full a stream is opened all the same, however its head is cut."""
    gateway.router.full = True
    head = b"GET /test/1 HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 6000 + b"\r\n\r\n"
    for piece in range(pieces):
        size = len(head) // pieces + 1
        gateway.client.send(head[piece * size : (piece + 1) * size])
        for _ in range(4):
            gateway.turn()
    assert gateway.state == LOGGING_IN


def test_hostile_messages_behind_a_question_wait(gateway: Gateway) -> None:
    """Few of them are taken with it while the router is full."""
    gateway.router.full = True
    message = b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
    gateway.client.send(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n" + message * 1000)
    for _ in range(8):
        gateway.turn()
    assert len(gateway.router.sent) < 100
    assert gateway.ready() == []


@pytest.mark.parametrize("more", [b"", b"GET /test/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_hostile_silence_of_the_router_has_an_end(gateway: Gateway, more: bytes) -> None:
    """What is owed for too long is answered: it isn't known; what comes later changes nothing."""
    message = b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
    gateway.client.send(message + message + more)
    gateway.turn()
    first, second = gateway.router.sent
    first.settled(1, 1)
    gateway.turn()
    assert gateway.client.recv(4096).endswith(b'{"delivered": 1}')
    connections = gateway.connections
    connections.now += connections.patience[gateway.state] + 1
    assert 0 < connections.columns.deadline[gateway.fd] <= connections.now
    gateway.requests.expired(gateway.fd)
    gateway.turn()
    said = gateway.client.recv(4096)
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"--answer-timeout" in said
    second.settled(1, 1)
    gateway.turn()
    assert gateway.client.recv(4096) == b""
