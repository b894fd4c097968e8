"""Strangers who mean no good: nothing crashes, waits or grows, and others are served."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from system.node import cpu_seconds, memory

from bench.servers.processes import PATIENCE
from encke.control.connection import PIPELINED
from encke.settings import Settings

from .alone import Alone
from .test_refused import CHANGE, GOOD, POST, answers, until_clean_end

GROWTH = 4 << 20
"""Bytes that a process may write more than before: it's forked off a large one, and shares fewer
of its pages as time goes by. What is sent is many times as much."""
CHUNKED = b"Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
FANS = 1000
LONG = 128
"""Characters of a fan's id."""


@pytest.fixture
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """A control process that has answered everything once, with a page that is a large one."""
    data = str(tmp_path_factory.mktemp("data"))
    with Alone(Settings(data=data, head_timeout=20, body_timeout=2)) as control:
        body = b"".join(b"%b\tstar\n" % str(n).rjust(LONG, "x").encode() for n in range(FANS))
        lines = {"Content-Type": "text/tab-separated-values"}
        assert control.client.post("/subscriptions", content=body, headers=lines).status_code == 200
        for path in ("/health", "/state", "/metrics", "/users/star/subscribers"):
            assert control.get(path).status_code == 200
        control.client.close()
        control.client = httpx.Client(base_url=control.client.base_url, timeout=PATIENCE)
        control.get("/health")
        yield control


def test_dribbled_heads(control: Alone) -> None:
    """Heads that come byte by byte on many connections at once hold up nobody, and are good."""
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(control.connect()) for _ in range(50)]
        for at in range(len(GOOD)):
            for connection in crowd:
                connection.sendall(GOOD[at : at + 1])
            if at % 10 == 0:
                assert control.get("/health").status_code == 200
        for connection in crowd:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /health HTTP/1.1\r\n" + CHUNKED, 405),
        (b"GET /state HTTP/1.1\r\n" + CHUNKED, 200),
        (b"POST /nothing HTTP/1.1\r\n" + CHUNKED, 404),
        (b"POST /subscriptions HTTP/1.1\r\n" + CHUNKED, 415),
        (CHANGE[:-2] + b"Content-Length: 99999999999\r\n\r\n", 201),
    ],
)
def test_an_endless_body_that_nobody_wants(control: Alone, head: bytes, status: int) -> None:
    """The answer comes at once, the connection ends, and nothing is kept of the body."""
    before = memory(control.pid)
    with control.connect() as connection:
        connection.sendall(head)
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nConnection: close" in answer
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            while True:
                connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
    assert memory(control.pid) - before < GROWTH
    assert control.get("/health").status_code == 200


def test_a_short_body_that_nobody_wants(control: Alone) -> None:
    """It's dropped, and the connection is good for another request."""
    with control.connect() as connection:
        connection.sendall(CHANGE[:-2] + b"Content-Length: 4\r\n\r\nGET " + GOOD)
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        assert [status for status, _, _ in answers(answer)] == [201, 200]


def test_a_body_that_waits_for_leave(control: Alone) -> None:
    """Expect: 100-continue: leave is given where a body is taken, else the answer comes."""
    body = b"7\t8\n"
    expect = b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    with control.connect() as connection:
        connection.sendall(POST + expect)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert b'"accepted":1' in connection.recv(65536)
    with control.connect() as connection:
        connection.sendall(CHANGE[:-2] + expect)
        ((status, _, _),) = answers(until_clean_end(connection))
        assert status in (201, 204)


def test_a_huge_pipeline(control: Alone) -> None:
    """Of very many requests at once a few are answered; the rest is refused, unread."""
    before = memory(control.pid)
    for _ in range(5):
        with control.connect() as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(GOOD * 200_000)
            received = b""
            with contextlib.suppress(ConnectionError):
                while data := connection.recv(65536):
                    received += data
        statuses = [status for status, _, _ in answers(received)]
        assert statuses[-1] == 400
        assert set(statuses[:-1]) == {200}
    assert memory(control.pid) - before < GROWTH
    assert control.get("/health").status_code == 200


def page(size: int = FANS) -> bytes:
    return b"GET /users/star/subscribers?limit=%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % size


def deaf(control: Alone) -> socket.socket:
    """A client with room for little."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", control.port))
    return connection


def test_who_does_not_read(control: Alone) -> None:
    """One answer waits for who doesn't read, and no more is made; then they are closed."""
    idle = control.descriptors()
    before = memory(control.pid)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(deaf(control)) for _ in range(20)]
        for connection in crowd:
            connection.sendall(page() * PIPELINED)
        for _ in range(20):
            assert control.get("/health").status_code == 200
        assert memory(control.pid) - before < (len(crowd) * 1.5 * LONG * FANS) + GROWTH
        control.until(lambda: control.descriptors() <= idle)


def test_who_reads_slowly_gets_everything(control: Alone) -> None:
    """Pipelined answers come whole and in order, however slowly they are taken."""
    sizes = [FANS, 1, FANS - 1, 2] * 3
    with deaf(control) as connection:
        connection.sendall(b"".join(map(page, sizes)))
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(3000):
            received += data
    assert [body.count(b'"') for _, _, body in answers(received)] == [
        2 * size + 4 + (2 + 2) * (size < FANS) for size in sizes
    ]


def test_who_has_ended_their_side(control: Alone) -> None:
    """A half-closed client gets its answers; half a request is refused."""
    for sent, statuses in (
        (GOOD + page() + GOOD, [200, 200, 200]),
        (GOOD[:-1], [400]),
        (GOOD + GOOD[:20], [200, 400]),
        (POST + b"Content-Length: 9\r\n\r\n1\t2\n", [400]),
        (POST + b"Content-Length: 4\r\n\r\n1\t2\n", [200]),
        (b"", []),
    ):
        with control.connect() as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            got = answers(until_clean_end(connection))
        assert [status for status, _, _ in got] == statuses


def test_who_resets(control: Alone) -> None:
    """Connections that are torn off anywhere leave nothing behind."""
    idle = control.descriptors()
    for sent in (b"", b"G", GOOD, page() * 10, CHANGE, POST + b"Content-Length: 9\r\n\r\n1\t2\n"):
        for _ in range(20):
            with deaf(control) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(sent)
    control.until(lambda: control.descriptors() <= idle)
    assert control.get("/health").status_code == 200


def test_who_says_nothing(control: Alone) -> None:
    """Hundreds of silent connections cost nobody anything, and no time."""
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(control.connect())
        before = cpu_seconds(control.pid)
        for _ in range(100):
            assert control.get("/health").status_code == 200
        assert cpu_seconds(control.pid) - before < 2


def test_who_stays(tmp_path: Path) -> None:
    """A connection that is kept for another request is closed after --idle-timeout."""
    with Alone(Settings(data=str(tmp_path), idle_timeout=0.5)) as control:
        with control.connect() as connection:
            connection.sendall(GOOD + GOOD)
            got = answers(until_clean_end(connection))
        assert [status for status, _, _ in got] == [200, 200]
