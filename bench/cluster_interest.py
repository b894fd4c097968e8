"""How long until a user who has just seen the head can be reached from another node?

On the same NATS server: at once, since the head isn't sent before it has processed the
subscription. Over several servers interest has to spread from one to the others, and that
is what is measured: from the head's last byte on, messages are sent through the other
node, one after the other, and the first one that comes says how long it took.
"""

import re
import select
import socket
import time

import msgspec

from .servers.encke import Encke
from .servers.processes import BenchError

STEP = 0.0002
"""Seconds between two messages: what can't be told more precisely."""

PATIENCE = 5.0
"""Seconds after which it's given up."""

_message = re.compile(rb"Recvd msg #1: '(\d+)'").search


class Interest(msgspec.Struct, frozen=True):
    """Seconds from the head to the sending of the first message that came."""

    rounds: int
    at_once: int
    """Rounds in which the very first message came."""
    p50: float
    p99: float
    max: float


def propagation(here: Encke, there: Encke, rounds: int) -> Interest:
    """Users log in at `here`, one after the other, and are sent to through `there`.

    Raises BenchError if one can't be reached.
    """
    took, at_once = [], 0
    with socket.create_connection(("127.0.0.1", there.port)) as sender:
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(rounds):
            user = b"interest%d" % number
            with socket.create_connection(("127.0.0.1", here.port)) as listener:
                began = _open(listener, user)
                sent, message = _until_reached(sender, listener, user)
            took.append((message - began) / 1e9)
            at_once += message == sent[0]
            _read_answers(sender, len(sent))
    took.sort()
    last = len(took) - 1
    return Interest(rounds, at_once, took[last // 2], took[round(last * 0.99)], took[-1])


def _open(listener: socket.socket, user: bytes) -> int:
    """Open a stream; when its head had come, ns."""
    listener.settimeout(PATIENCE)
    listener.sendall(b"GET /test/%b HTTP/1.1\r\nHost: bench\r\n\r\n" % user)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = listener.recv(4096)
        head += data
        if not data or not head.startswith(b"HTTP/1.1 200 "[: len(head)]):
            raise BenchError(f"A stream was refused: {head[:300]!r}")
    return time.perf_counter_ns()


def _until_reached(
    sender: socket.socket, listener: socket.socket, user: bytes
) -> tuple[list[int], int]:
    """Send until something comes: when each message was sent, and the one that came first."""
    sent: list[int] = []
    came = b""
    give_up = time.monotonic() + PATIENCE
    while (found := _message(came)) is None:
        if time.monotonic() > give_up:
            raise BenchError(f"Who logged in on one node isn't reached within {PATIENCE:g} s.")
        sent.append(time.perf_counter_ns())
        body = b"%d" % sent[-1]
        head = b"POST /send/%b HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%b"
        sender.sendall(head % (user, len(body), body))
        ready, _, _ = select.select([listener], [], [], STEP)
        if ready:
            came += listener.recv(65536)
    return sent, int(found[1])


def _read_answers(sender: socket.socket, count: int) -> None:
    """Read so many answers."""
    sender.settimeout(PATIENCE)
    answers = b""
    while answers.count(b"\r\n\r\n{") < count or not answers.endswith(b"}"):
        data = sender.recv(65536)
        if not data:
            raise BenchError("A node closed a sender's connection.")
        answers += data
