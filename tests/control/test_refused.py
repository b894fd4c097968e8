"""What the public port refuses, the control port refuses too: with an answer, in its turn."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from encke.settings import Settings

from .alone import Alone

GOOD = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CHANGE = b"PUT /users/1/subscriptions/2 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POST = (
    b"POST /subscriptions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: text/tab-separated-values\r\n"
)

REFUSED = {
    "no Host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /health\r\n\r\n", 505),
    "HTTP/2.0": (b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    "gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "gzip": (POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400),
    "an unknown method": (b"BREW /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "a lower-case method": (b"get /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "length and coding": (
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a bare line feed": (b"GET /health HTTP/1.1\nHost: localhost\r\n\r\n", 400),
    "a blank before the colon": (b"GET /health HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "a chunk that is none": (POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    "a Host with a blank": (b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "a Host with a path": (b"GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a Host beyond ASCII": (b"GET /health HTTP/1.1\r\nHost: caf\xc3\xa9\r\n\r\n", 400),
    "a target with a user": (b"GET http://a@b/health HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    "RTSP": (b"GET /health RTSP/1.0\r\nHost: localhost\r\n\r\n", 400),
    "RTSP, a body": (POST.replace(b"HTTP/1.1", b"RTSP/1.1") + b"Content-Length: 0\r\n\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    with Alone(Settings(data=str(tmp_path_factory.mktemp("data")))) as control:
        yield control


def until_clean_end(connection: socket.socket) -> bytes:
    """All that comes; ConnectionResetError if it doesn't end cleanly."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def answers(raw: bytes) -> list[tuple[int, bytes, bytes]]:
    """Status, head and body of each."""
    found = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        size = re.search(rb"\r\nContent-Length: (\d+)", head)
        length = int(size[1]) if size is not None else 0
        found.append((int(head[9:12]), head, raw[:length]))
        raw = raw[length:]
    return found


def assert_refusal(answer: tuple[int, bytes, bytes], status: int) -> None:
    """A problem, with which the connection ends."""
    got, head, body = answer
    assert got == status
    assert b"\r\nConnection: close" in head
    assert b"\r\nContent-Type: application/problem+json" in head
    assert msgspec.json.decode(body, type=dict[str, str | int])["status"] == status


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_an_answer(control: Alone, name: str) -> None:
    """A problem, and a clean end: no reset that might destroy it."""
    request, status = REFUSED[name]
    with control.connect() as connection:
        connection.sendall(request)
        (answer,) = answers(until_clean_end(connection))
    assert_refusal(answer, status)
    assert control.get("/health").status_code == 200


@pytest.mark.parametrize("name", REFUSED)
def test_behind_good_ones_it_is_refused_in_its_turn(control: Alone, name: str) -> None:
    """The good requests before it are answered first, also those that wait for the store."""
    request, status = REFUSED[name]
    if name == "no HTTP":
        status = 501  # who has spoken HTTP before has a method of their own
    with control.connect() as connection:
        connection.sendall(GOOD + CHANGE + GOOD + request)
        *good, refusal = answers(until_clean_end(connection))
    assert [status for status, _, _ in good] in ([200, 201, 200], [200, 204, 200])
    assert_refusal(refusal, status)


def test_who_goes_on_sending_reads_the_answer(control: Alone) -> None:
    """What comes behind a refusal is dropped, and doesn't make a reset of it."""
    with control.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"x" * 10_000)
        connection.shutdown(socket.SHUT_WR)
        (answer,) = answers(until_clean_end(connection))
    assert_refusal(answer, 400)


@pytest.mark.parametrize(
    "ending", [b"Connection: close\r\n", b"Upgrade: x\r\nConnection: upgrade\r\n"]
)
def test_the_last_request_is_answered(control: Alone, ending: bytes) -> None:
    """Who says that the connection ends, or wants another protocol, gets an answer and an end."""
    with control.connect() as connection:
        connection.sendall(GOOD.replace(b"\r\n\r\n", b"\r\n" + ending + b"\r\n") + GOOD)
        ((status, head, _),) = answers(until_clean_end(connection))
    assert status == 200
    assert b"\r\nConnection: close" in head


def test_http_10(control: Alone) -> None:
    """HTTP/1.0 needs no Host, and its connection ends with the answer."""
    with control.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        ((status, _, _),) = answers(until_clean_end(connection))
    assert status == 200


def test_one_too_many_may_read_it(tmp_path: Path) -> None:
    """Who comes on top of --control-connections reads 503, though they have sent something."""
    with Alone(Settings(control_connections=1, data=str(tmp_path))) as control:
        with control.connect() as one:
            one.sendall(GOOD)
            assert one.recv(65536).startswith(b"HTTP/1.1 200 ")
            with control.connect() as two:
                two.sendall(GOOD)
                ((status, head, _),) = answers(until_clean_end(two))
                assert status == 503
                assert b"\r\nRetry-After: 1" in head
        control.until(lambda: control.get("/health").status_code == 200)
