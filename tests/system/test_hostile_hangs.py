"""Processes that are stopped instead of dying: who needs them is told in time, others notice
nothing.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from .node import Node, until
from .raw import Raw, post, request, send, stream

FLAGS = ("--gateways", "2", "--ack-timeout", "2", "--window", str(64 * 1024), "--hang-timeout", "0")
LINES = 10_000


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Inside, the process doesn't go on."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def node() -> Iterator[Node]:
    """Two gateways, with a stream each: `here` at the first, `there` at the other."""
    with Node(*FLAGS) as node:
        yield node


def test_a_stopped_gateway_costs_its_own_users_only(node: Node) -> None:
    """Its users' senders are told 503, others' messages arrive meanwhile, and streams open."""
    with contextlib.ExitStack() as stack:
        with node.only_gateway(0):
            here = stack.enter_context(stream(node.address, "here"))
            senders = [stack.enter_context(Raw(node.address)) for _ in range(4)]
            to_there, ordinary, bulk, caller = senders
            for sender in (to_there, ordinary, bulk):
                sender.send(post("/send/nobody", b"x"))
                sender.answer()
        with node.only_gateway(1):
            there = stack.enter_context(stream(node.address, "there"))
        with stopped(node.pid_of("gateway-1")):
            to_there.send(post("/send/there", b"0"))
            lines = b'{"id": "there", "data": "x"}\n' * LINES
            thread = threading.Thread(target=bulk.send, args=[post("/send", lines)])
            thread.start()
            for number in range(1, 51):
                ordinary.send(post("/send/here", b"%d" % number))
                assert ordinary.answer().json() == {"delivered": 1}
                assert here.chunk() == b"Recvd msg #%d: '%d'\n" % (number, number)
            caller.send(request("GET", "/test/new"))
            assert caller.head().status == 200
            to_there.answer().problem(503)
            refused = bulk.answer()
            refused.problem(503)
            assert refused.json()["delivered"] == 0
            thread.join()
            to_there.send(post("/send/there", b"1"))
            to_there.answer().problem(503)  # at once: nobody waits for it any more
            assert send(node.address, "here", "after") == 1
        assert there.chunk().startswith(b"Recvd msg #1: ")
        until(lambda: _delivered(to_there) == 1, "its users are reached again")


def _delivered(sender: Raw) -> int:
    sender.send(post("/send/there", b"again"))
    answer = sender.answer()
    return int(answer.json().get("delivered", 0)) if answer.status == 200 else 0


def test_a_stopped_router_is_said(node: Node) -> None:
    """Senders are told 503; once it goes on, so do they, and no stream was lost."""
    with stream(node.address, "here") as here, Raw(node.address) as sender:
        sender.send(post("/send/here", b"1"))
        assert sender.answer().json() == {"delivered": 1}
        with stopped(node.pid_of("router")):
            for _ in range(2):
                sender.send(post("/send/here", b"2"))
                sender.answer().problem(503)
        until(lambda: send_again(sender), "the router is back")
        assert here.chunk() == b"Recvd msg #1: '1'\n"
        assert here.chunk() == b"Recvd msg #2: '2'\n"  # it may have been delivered, it was said


def send_again(sender: Raw) -> bool:
    sender.send(post("/send/here", b"3"))
    return sender.answer().status == 200
