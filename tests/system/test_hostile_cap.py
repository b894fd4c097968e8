"""As many connections as may be, and more: nobody stands at the door without a word."""

import os
import signal
import threading

import msgspec
import pytest

from bench.crowd import Crowd

from .node import Node, until
from .raw import Raw, ask, request, send, stream

CAPACITY = 30
RETRY = 10_000
"""Milliseconds after which a page may come back at the earliest."""


class Health(msgspec.Struct):
    status: str


def full(*flags: str) -> Node:
    """A node of few connections."""
    return Node(*flags, "--max-connections", str(CAPACITY))


def fill(node: Node, crowd: Crowd) -> None:
    """Streams on every place, as many on each gateway as it takes."""
    crowd.open(f"u{number}" for number in range(CAPACITY))
    node.until(lambda state: state.status == "full", "it's full")


def page(user: str) -> bytes:
    """What an EventSource asks for."""
    return request("GET", f"/events/{user}", "Accept: text/event-stream")


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_who_comes_to_a_full_node(gateways: str) -> None:
    """Senders are served, pages are told to come back, and others get 503."""
    with full("--gateways", gateways) as node, Crowd(node.address) as crowd:
        fill(node, crowd)
        for number in range(CAPACITY):
            assert send(node.address, f"u{number}", "x") == 1
        answer = ask(node.address, page("late"))
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        detail, retry, rest = answer.body.split(b"\n")
        assert detail.startswith(b": There are as many connections as may be here")
        assert RETRY <= int(retry.removeprefix(b"retry: ")) <= 2 * RETRY
        assert not rest
        answer = ask(node.address, request("GET", "/stream/late"))
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) == 10
        crowd.poll()
        assert all(it.is_open for it in crowd.streams)


def test_it_is_said() -> None:
    """In /state and /health, which doesn't send senders away; by metrics; once in the log."""
    with full("--gateways", "1") as node, Crowd(node.address) as crowd:
        assert b"encke_full 0.0\n" in node.get("/metrics")[1]
        fill(node, crowd)
        code, body = node.get("/health")
        assert (code, msgspec.json.decode(body, type=Health)) == (200, Health("full"))
        for number in range(3):
            assert ask(node.address, page(f"late{number}")).status == 200
        node.until(lambda state: state.streams_refused == 3, "they're counted")
        metrics = node.get("/metrics")[1]
        for metric in (b"encke_full 1.0", b"encke_ready 1.0", b"encke_streams_refused_total 3.0"):
            assert metric + b"\n" in metrics
        crowd.drop(crowd.streams[0])
        node.until(lambda state: state.status == "ready", "there's room")
        assert msgspec.json.decode(node.get("/health")[1], type=Health) == Health("ready")
        crowd.open(["again"])
        node.until(lambda state: state.status == "full", "it's full again")
        (line,) = (line for line in node.log if "event=full" in line)
        assert f"max_connections={CAPACITY}" in line
        assert "level=warning" in line


def test_one_gateway_has_room() -> None:
    """Nobody is refused by a gateway that's full, as long as another one isn't."""
    with full("--gateways", "2") as node, Crowd(node.address) as crowd:
        with node.only_gateway(0):
            crowd.open(f"a{number}" for number in range(CAPACITY // 2))
        crowd.open(f"b{number}" for number in range(CAPACITY // 2))
        node.until(lambda state: state.status == "full", "now it's full")
        assert [it.connections for it in node.gateways()] == [CAPACITY // 2] * 2
        assert node.state().streams_refused == 0


def test_the_other_gateway_hangs() -> None:
    """Who doesn't serve anybody has no room."""
    flags = ("--gateways", "2", "--hang-timeout", "0")
    with full(*flags) as node, Crowd(node.address) as crowd:
        with node.only_gateway(0):
            crowd.open(f"a{number}" for number in range(CAPACITY // 2))
        os.kill(node.pid_of("gateway-1"), signal.SIGSTOP)
        try:
            until(lambda: ask(node.address, page("late")).body[:1] == b":", "it's refused", 60)
            assert send(node.address, "a1", "x") == 1
        finally:
            os.kill(node.pid_of("gateway-1"), signal.SIGCONT)


def test_a_crowd_that_wants_streams() -> None:
    """However many ask at the same time, senders get in; and no descriptor stays taken."""
    over = threading.Event()

    def ask_for_streams(address: tuple[str, int], name: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            with Raw(address) as late:
                late.send(page(f"late{name}.{number}"))
                assert late.answer().status == 200

    with full("--gateways", "1") as node, Crowd(node.address) as crowd:
        fill(node, crowd)
        threads = [
            threading.Thread(target=ask_for_streams, args=(node.address, name)) for name in range(4)
        ]
        for thread in threads:
            thread.start()
        try:
            for number in range(200):
                assert send(node.address, f"u{number % CAPACITY}", "x") == 1
        finally:
            over.set()
            for thread in threads:
                thread.join()
        node.until(lambda state: state.connections == CAPACITY, "only the streams stay")
        assert node.state().streams == CAPACITY


def test_who_sleeps_makes_room() -> None:
    """Connections between two requests are no reason to refuse a stream."""
    with full("--gateways", "1") as node:
        asleep = [Raw(node.address) for _ in range(CAPACITY)]
        for each in asleep:
            each.send(request("GET", "/"))
            assert each.answer().status == 404
        node.until(lambda state: state.status == "full", "it's full")
        streams = [stream(node.address, str(number)) for number in range(CAPACITY)]
        assert ask(node.address, request("GET", "/stream/late")).status == 503
        for each in (*asleep, *streams):
            each.close()
