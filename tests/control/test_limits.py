"""What a stranger may do to the control port: each limit at its edge, by real sockets."""

import contextlib
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from bench.servers.processes import PATIENCE, until
from encke.control.connection import PIPELINED
from encke.settings import Settings

from .alone import Alone

LOAD = (
    b"POST /subscriptions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/x-ndjson\r\n\r\n"
)
LIMIT = 1024
TIMEOUT = 1.5


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """A control process with small limits."""
    settings = Settings(
        head_limit=LIMIT,
        head_timeout=TIMEOUT,
        body_timeout=TIMEOUT,
        control_connections=4,
        data=str(tmp_path_factory.mktemp("data")),
    )
    with Alone(settings) as control:
        yield control


@contextlib.contextmanager
def connected(control: Alone) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", control.port), PATIENCE) as connection:
        yield connection


def until_end(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass  # it had more to read
    return received


def get(control: Alone) -> int:
    """The status of a good request on a connection of its own."""
    return httpx.get(f"http://127.0.0.1:{control.port}/health", timeout=PATIENCE).status_code


def head(size: int) -> bytes:
    """A request's head of so many bytes."""
    start, end = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: ", b"\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


def test_the_largest_head(strict: Alone) -> None:
    """A head may have --head-limit bytes, however it comes; one more is 431."""
    for pieces in (1, 7):
        with connected(strict) as connection:
            whole = head(LIMIT)
            step = -(-len(whole) // pieces)
            for at in range(0, len(whole), step):
                connection.sendall(whole[at : at + step])
            assert until_end(connection).startswith(b"HTTP/1.1 200 ")
    with connected(strict) as connection:
        connection.sendall(head(LIMIT + 1))
        answer = until_end(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer
    assert b"larger than 1024 bytes" in answer


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",  # an endless target
        b"GET / HTTP/1.1\r\nX: ",  # an endless field
        LOAD + b"0\r\nX: ",  # an endless trailer
        LOAD + b"1;",  # an endless chunk's head
    ],
)
def test_what_never_ends_is_refused(strict: Alone, start: bytes) -> None:
    """Of target, field, trailer and chunk's head no more is kept than a head may have."""
    with connected(strict) as connection:
        connection.sendall(start)
        time.sleep(0.1)  # what comes in one piece with a head isn't counted
        with contextlib.suppress(ConnectionError):  # it is refused before its end
            for _ in range(2 * LIMIT // 64):
                connection.sendall(b"a" * 64)
        answer = until_end(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert get(strict) == 200


def test_no_second_answer(strict: Alone) -> None:
    """What is wrong behind a request that was answered ends the connection, and no more."""
    request = LOAD.replace(b"/subscriptions", b"/health") + b"0\r\nX: "
    with connected(strict) as connection:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"}"):  # of the body
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 405 ")
        connection.sendall(b"a" * LIMIT)
        assert until_end(connection) == b""


def test_many_trailers_are_refused(strict: Alone) -> None:
    """Trailers count together."""
    with connected(strict) as connection:
        connection.sendall(LOAD + b"0\r\n")
        connection.sendall(b"X: y\r\n" * (LIMIT // 6))
        assert until_end(connection).startswith(b"HTTP/1.1 431 ")


def test_a_slow_head(strict: Alone) -> None:
    """A head that isn't whole in time is 408, also where bytes keep coming."""
    began = time.monotonic()
    with connected(strict) as connection:
        connection.settimeout(0.05)
        answer = b""
        for byte in b"GET /health HTTP/1.1\r\nX-Slow: " + b"a" * 1000:
            try:
                connection.sendall(bytes((byte,)))
                answer = connection.recv(65536)
                break
            except TimeoutError:
                assert time.monotonic() < began + PATIENCE
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert TIMEOUT - 0.05 < time.monotonic() - began < TIMEOUT + PATIENCE / 2


def test_a_silent_connection(strict: Alone) -> None:
    """Who says nothing is told nothing."""
    with connected(strict) as connection:
        assert until_end(connection) == b""


def test_a_body_that_stalls(strict: Alone) -> None:
    """A body may take any time, but no pause may be longer than --body-timeout."""
    with connected(strict) as connection:
        connection.sendall(LOAD)
        began = time.monotonic()
        line = b'{"subscriber": "1", "publisher": "2"}\n'
        for _ in range(4):
            time.sleep(TIMEOUT / 3)
            connection.sendall(b"%x\r\n%b\r\n" % (len(line), line))
        last = time.monotonic()
        answer = until_end(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert last - began > TIMEOUT
    assert time.monotonic() - last > TIMEOUT - 0.1


def test_too_many_connections(strict: Alone) -> None:
    """One more than --control-connections is told so, and the others go on."""
    with connected(strict) as one, connected(strict) as two, connected(strict) as three:
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with connected(strict) as four, connected(strict) as five:
            answer = until_end(five)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1\r\n" in answer
            for connection in (one, two, three, four):
                connection.sendall(request)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    until(lambda: _there_is_room(strict), "there is room")


def _there_is_room(control: Alone) -> bool:
    return get(control) == 200


def test_too_much_at_once(strict: Alone) -> None:
    """Some requests may wait on a connection; who sends a flood of them is cut off."""
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(strict) as connection:
        connection.sendall(
            request * PIPELINED + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        assert until_end(connection).count(b"HTTP/1.1 200 ") == PIPELINED + 1
    with connected(strict) as connection:
        connection.sendall(request * 200)
        assert b"HTTP/1.1 400 " in until_end(connection)
    assert get(strict) == 200


def test_no_http(strict: Alone) -> None:
    """What isn't HTTP is 400, and says so."""
    with connected(strict) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")  # TLS
        answer = until_end(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"not a well-formed HTTP/1.1 request" in answer
