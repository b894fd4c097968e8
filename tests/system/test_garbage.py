"""Gateways run without a collector: what they are done with must not be left in cycles."""

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from encke.gateway.gateway import Gateway
from encke.gateway.near import NearRouter
from encke.loading import load
from encke.node import sockets
from encke.reactor.loop import Reactor
from encke.scoreboard import FIRST_GATEWAY, Field, Scoreboard

from .raw import Raw, chunked, post, request, send, stream

Address = tuple[str, int]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Garbage stays, and is kept in gc.garbage by gc.collect()."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def requests(address: Address) -> None:
    """Requests of every kind, and every way in which a connection ends."""
    for transport in ("test", "events"):
        with stream(address, "1", transport) as listener:
            assert send(address, "1", "x") == 1
            assert listener.chunk()
        with Raw(address) as connection:
            connection.send(request("HEAD", f"/{transport}/1"))
            connection.head()
    for data in (
        post("/send/1", b"x") * 20,
        post("/send/1", b"\xff"),
        post("/send/1", b"x" * 2000),
        post("/send", b'{"id": "1", "data": "x"}\n' * 20),
        post("/send", b'{"id": "1", "data": "x"}\nnonsense\n'),
        post("/send/1", b"x", "Expect: 100-continue"),
        post("/send/1", b"x", "Connection: close"),
        post("/send/1", b"x", "Connection: Upgrade", "Upgrade: h2c"),
        post("/nowhere", b"x"),
        request("POST", "/send/1", "Transfer-Encoding: chunked") + chunked(b"a", b"b"),
        request("CONNECT", "a.example:80"),
        request("GET", "/test/" + "1" * 200),
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad : header\r\n\r\n",
    ):
        with Raw(address) as connection:
            connection.send(data)
            connection.head()
    for data in (b"GET", post("/send/1", b"xx")[:-1], post("/send", b'{"id": "1"')):
        with Raw(address) as connection:  # gone in the middle
            connection.send(data)
        with Raw(address) as connection:  # too slow
            connection.send(data)
            connection.rest()


def test_nothing_is_left_in_cycles(no_collector: None) -> None:
    """After requests of every kind, and every end of a connection, no object waits for a
    collector that never comes."""
    flags = {"listen": "127.0.0.1:0", "head_timeout": "0.5", "body_timeout": "0.5"}
    settings = load({**flags, "idle_timeout": "1", "body_limit": "1024"}, {})
    reactor, row = Reactor(), Scoreboard().row(FIRST_GATEWAY)
    router = NearRouter(reactor, settings)
    listener = sockets.public(settings)
    gateway = Gateway(
        settings,
        reactor,
        router,
        number=1,
        listener=listener,
        capacity=1000,
        row=row,
        full=lambda: False,
    )
    router.holder = gateway
    over = threading.Event()

    def clients() -> None:
        try:
            requests(listener.getsockname())
        finally:
            over.set()

    thread = threading.Thread(target=clients)
    give_up = time.monotonic() + 30

    def look() -> None:
        done = over.is_set() and row[Field.REQUESTS] and not row[Field.CONNECTIONS]
        if done or time.monotonic() > give_up:
            reactor.stop()

    reactor.every(0.1, look)
    thread.start()
    reactor.run()
    thread.join()
    listener.close()
    assert row[Field.REQUESTS] > 30
    assert row[Field.TIMEOUTS] > 1
    assert row[Field.CONNECTIONS] == 0
    gc.collect()
    left = [it for it in gc.garbage if type(it).__module__.startswith(("encke.", "httptools"))]
    assert left == []
