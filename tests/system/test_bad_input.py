"""Bad input: what is refused, how, and that nobody else suffers from it."""

import random
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from .node import Address, Node, cpu_seconds, memory, until
from .raw import Raw, chunked, post, request, send, stream

MIB = 1024 * 1024


class Bad(NamedTuple):
    """A bad request: its answer's status, and whether the connection may be used again."""

    data: bytes
    status: int
    kept: bool
    allow: str = ""


HOST = b"Host: localhost\r\n"
SEND = b"POST /send/1 HTTP/1.1\r\n" + HOST

REQUESTS = {
    # paths and methods
    "root": Bad(request("GET", "/"), 404, True),
    "unknown path": Bad(request("GET", "/nope"), 404, True),
    "unknown path, HEAD": Bad(request("HEAD", "/nope"), 404, True),
    "stream without id": Bad(request("GET", "/test"), 404, True),
    "unknown transport": Bad(request("GET", "/tests/1"), 404, True),
    "OPTIONS *": Bad(request("OPTIONS", "*"), 404, True),
    "POST to a stream": Bad(request("POST", "/test/1"), 405, True, "GET, HEAD"),
    "PUT to events": Bad(request("PUT", "/events/1"), 405, True, "GET, HEAD"),
    "GET of send": Bad(request("GET", "/send/1"), 405, True, "POST"),
    "GET of send, NDJSON": Bad(request("GET", "/send"), 405, True, "POST"),
    "HEAD of send": Bad(request("HEAD", "/send/1"), 405, True, "POST"),
    "DELETE of send": Bad(request("DELETE", "/send/1"), 405, True, "POST"),
    "PUT with a body": Bad(request("PUT", "/send/1", body=b"x"), 405, False, "POST"),
    "unknown method": Bad(request("BREW", "/send/1"), 501, False),
    "unknown method like GET": Bad(request("GETT", "/test/1"), 501, False),
    "lower-case method": Bad(request("get", "/test/1"), 501, False),
    "CONNECT": Bad(request("CONNECT", "example.org:443"), 404, False),
    # ids
    "empty id": Bad(request("GET", "/test/"), 400, True),
    "empty id, send": Bad(request("POST", "/send/"), 400, True),
    "one dot as id": Bad(request("GET", "/events/."), 400, True),
    "two dots as id": Bad(request("POST", "/send/..", body=b"x"), 400, False),
    "two dots as id, without a body": Bad(request("POST", "/send/.."), 400, True),
    "two dots as id, escaped": Bad(request("GET", "/test/%2e%2E"), 400, True),
    "slash in id": Bad(request("GET", "/test/a/b"), 400, True),
    "blank in id": Bad(request("GET", "/events/a%20b"), 400, True),
    "cut escape": Bad(request("GET", "/test/a%4"), 400, True),
    "no escape": Bad(request("GET", "/test/a%zz"), 400, True),
    "UTF-8 in id": Bad(request("GET", "/test/%E2%98%84"), 400, True),
    # framing
    "length and chunked": Bad(
        SEND + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, False
    ),
    "two lengths": Bad(SEND + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400, False),
    "the same length twice": Bad(
        SEND + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, False
    ),
    "list of lengths": Bad(SEND + b"Content-Length: 5, 5\r\n\r\nhello", 400, False),
    "negative length": Bad(SEND + b"Content-Length: -1\r\n\r\n", 400, False),
    "signed length": Bad(SEND + b"Content-Length: +5\r\n\r\nhello", 400, False),
    "hexadecimal length": Bad(SEND + b"Content-Length: 0x5\r\n\r\nhello", 400, False),
    "huge length": Bad(SEND + b"Content-Length: 99999999999999999999\r\n\r\n", 400, False),
    "length is no number": Bad(SEND + b"Content-Length: five\r\n\r\nhello", 400, False),
    "gzip": Bad(SEND + b"Transfer-Encoding: gzip\r\n\r\n", 400, False),
    "chunked, then gzip": Bad(SEND + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 400, False),
    "bad chunk size": Bad(SEND + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, False),
    "negative chunk size": Bad(SEND + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400, False),
    "huge chunk size": Bad(
        SEND + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400, False
    ),
    "chunk too long": Bad(SEND + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n", 400, False),
    "chunk ends with LF": Bad(SEND + b"Transfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", 400, False),
    # headers
    "bare LF after a header": Bad(b"GET /test/1 HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400, False),
    "bare LF after the request": Bad(b"GET /test/1 HTTP/1.1\nHost: localhost\r\n\r\n", 400, False),
    "only LF": Bad(b"GET /test/1 HTTP/1.1\nHost: x\n\n", 400, False),
    "bare CR": Bad(b"GET /test/1 HTTP/1.1\r\nHost: localhost\rA: b\r\n\r\n", 400, False),
    "folded header": Bad(
        b"GET /test/1 HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", 400, False
    ),
    "blank before colon": Bad(b"GET /test/1 HTTP/1.1\r\nHost : x\r\n\r\n", 400, False),
    "no colon": Bad(b"GET /test/1 HTTP/1.1\r\nHost\r\n\r\n", 400, False),
    "empty name": Bad(b"GET /test/1 HTTP/1.1\r\n: x\r\n\r\n", 400, False),
    "NUL in a header": Bad(b"GET /test/1 HTTP/1.1\r\nHost: \0\r\n\r\n", 400, False),
    "blank in a name": Bad(b"GET /test/1 HTTP/1.1\r\nA b: x\r\n\r\n", 400, False),
    # whom it is for
    "blank in the host": Bad(b"GET /test/1 HTTP/1.1\r\nHost: a b\r\n\r\n", 400, False),
    "path in the host": Bad(b"GET /test/1 HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, False),
    "bytes beyond ASCII in the host": Bad(
        b"GET /test/1 HTTP/1.1\r\nHost: \xe9\r\n\r\n", 400, False
    ),
    "user in the target": Bad(request("GET", "http://a@b/test/1"), 400, False),
    # request lines
    "no version": Bad(b"GET /test/1\r\n\r\n", 505, False),
    "HTTP/2.0": Bad(b"GET /test/1 HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, False),
    "HTTP/1.1 misspelt": Bad(b"GET /test/1 HTTQ/1.1\r\nHost: localhost\r\n\r\n", 400, False),
    "RTSP": Bad(b"GET /test/1 RTSP/1.0\r\nHost: localhost\r\n\r\n", 400, False),
    "RTSP with a message": Bad(
        SEND.replace(b"HTTP", b"RTSP") + b"Content-Length: 0\r\n\r\n", 400, False
    ),
    "blank in the target": Bad(b"GET /test/1 2 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, False),
    "no target": Bad(b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, False),
    "TLS": Bad(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, False),
    "garbage": Bad(b"\x00\xff\xfe\r\n\r\n", 400, False),
    "SSH": Bad(b"SSH-2.0-OpenSSH_9.2\r\n", 501, False),
    "HTTP/2 preface": Bad(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, False),
    # limits
    "long header": Bad(request("GET", "/test/1", "A: " + "x" * 17_000), 431, False),
    "many headers": Bad(request("GET", "/test/1", *["A: x"] * 3000), 431, False),
    "long target": Bad(request("GET", "/test/" + "x" * 17_000), 431, False),
    "long name": Bad(request("GET", "/test/1", "x" * 17_000 + ": y"), 431, False),
    "endless header": Bad(b"GET /test/1 HTTP/1.1\r\nA: " + b"x" * 17_000, 431, False),
    "endless target": Bad(b"GET /" + b"x" * 17_000, 431, False),
    "large body": Bad(SEND + b"Content-Length: 1048577\r\n\r\n", 413, False),
    "unknown expectation": Bad(request("POST", "/send/1", "Expect: 200-ok"), 417, True),
}


@pytest.mark.parametrize("bad", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("pieces", ["whole", "cut"])
def test_bad_request(address: Address, bad: Bad, pieces: str) -> None:
    """A bad request is refused with the right status and a sentence on what to do.

    Where what follows can't be told apart the connection ends, properly; else it goes on.
    """
    with Raw(address, seconds=5) as connection:
        step = len(bad.data) if pieces == "whole" else max(1, len(bad.data) // 7)
        for start in range(0, len(bad.data), step):
            connection.send(bad.data[start : start + step])
        if bad.data.startswith(b"HEAD"):
            answer = connection.head()
            assert answer.status == bad.status
            assert answer.headers["content-type"] == "application/problem+json"
        else:
            answer = connection.answer()
            answer.problem(bad.status)
        assert answer.headers.get("allow", "") == bad.allow
        assert answer.headers.get("connection", "") == ("" if bad.kept else "close")
        if bad.kept:
            connection.send(post("/send/1", b"x"))
            assert connection.answer().json() == {"delivered": 0}
        else:
            connection.end()
            assert connection.rest() == b""


def test_largest_head(address: Address) -> None:
    """A head of 16 KiB is taken, also cut into pieces and behind another request."""
    padding = 16 * 1024 - len(request("HEAD", "/test/1", "A: "))
    data = request("HEAD", "/test/1", "A: " + "x" * padding)
    assert len(data) == 16 * 1024
    with Raw(address) as connection:
        connection.send(data, data[:100])
        assert connection.head().status == 200
        connection.send(data[100:9000])
        connection.send(data[9000:], post("/send/1", b"x") + data)
        assert connection.head().status == 200
        assert connection.answer().json() == {"delivered": 0}
        assert connection.head().status == 200


def test_empty_lines_before_a_request(address: Address) -> None:
    """Empty lines before a request are ignored (RFC 9112, 2.2)."""
    with Raw(address) as connection:
        for _ in range(3):
            connection.send(b"\r\n", post("/send/1", b"x"), b"\r\n")
            assert connection.answer().json() == {"delivered": 0}


def test_a_large_upload_reads_why_it_is_refused(address: Address) -> None:
    """Who is still sending 20 MiB when it's refused can read the 413: no reset destroys it."""
    for _ in range(5):
        with Raw(address) as connection:
            connection.send(SEND + b"Content-Length: %d\r\n\r\n" % (20 * MIB))
            refused = threading.Event()

            def upload(connection: Raw = connection, refused: threading.Event = refused) -> None:
                for _ in range(20):
                    if not refused.is_set():
                        connection.send(b"x" * MIB)

            sender = threading.Thread(target=upload)
            sender.start()
            sender.join(0.2)
            answer = connection.answer()
            refused.set()
            answer.problem(413)
            assert answer.headers["connection"] == "close"
            sender.join()
            connection.end()
            assert connection.rest() == b""


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def hasty(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A server with little patience: 1 s for a head, a body's next 5 bytes, the next request."""
    flags = ("--head-timeout", "1", "--body-timeout", "1", "--idle-timeout", "1")
    with Node("--gateways", str(request.param), *flags, "--body-rate", "5") as node:
        yield node


HALF = {
    "half a head": b"GET /test/1 HTTP/1.1\r\nHost: ",
    "no end of the head": b"GET /test/1 HTTP/1.1\r\nHost: localhost\r\n",
    "half a body": SEND + b"Content-Length: 10\r\n\r\nhalf",
    "no body": SEND + b"Content-Length: 10\r\n\r\n",
    "half a chunk": SEND + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "no last chunk": SEND + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
    "half an NDJSON body": b"POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
    b'{"id": "1"',
    "half of the second": post("/send/1", b"x") + b"POST /send/1 HT",
}


def test_slow_requests(hasty: Node) -> None:
    """Who doesn't finish a request is told so after the timeout (408), and closed."""
    began = time.monotonic()
    slow = {name: Raw(hasty.address, seconds=5) for name in HALF}
    for name, connection in slow.items():
        connection.send(HALF[name])
    for connection in slow.values():
        answer = connection.answer()
        if answer.status == 200:
            answer = connection.answer()
        assert 0.5 < time.monotonic() - began < 5
        answer.problem(408)
        assert answer.headers["connection"] == "close"
        assert connection.rest() == b""
        connection.close()


def test_a_head_in_drops(hasty: Node) -> None:
    """Sending a byte now and then doesn't win more time: the head as a whole is timed."""
    began = time.monotonic()
    with Raw(hasty.address) as connection:
        connection.send(b"GET /test/1 HTTP/1.1\r\n")
        while not select.select([connection.socket], [], [], 0.1)[0]:
            connection.send(b"A: b\r\n")
            assert time.monotonic() - began < 10
        connection.answer().problem(408)


@pytest.mark.parametrize("path", ["/test/bytes", "/events/bytes"])
def test_a_head_byte_by_byte(node: Node, path: str) -> None:
    """Who sends each byte of a head by itself, and has time, is served; so are their further
    requests, whether they come in one piece or not."""
    head = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
    with Raw(node.address) as connection:
        for data in (post("/send/bytes", b"1"), post("/send/bytes", b"2")):
            for at in range(len(data)):
                connection.send(data[at : at + 1])
            assert connection.answer().json() == {"delivered": 0}
            connection.send(post("/send/bytes", b"3"))
            assert connection.answer().json() == {"delivered": 0}
        for at in range(len(head)):
            connection.send(head[at : at + 1])
        assert connection.head().status == 200
        assert send(node.address, "bytes", "x") == 1


def test_who_leaves_in_the_middle_of_a_head(node: Node) -> None:
    """A client that goes away between two bytes of a head is noticed."""
    with Raw(node.address) as connection:
        for at in range(9):
            connection.send(b"GET /test"[at : at + 1])
            node.until(lambda state: state.connections == 1, "it's there")
    node.until(lambda state: state.connections == 0, "it's gone")


def test_a_body_in_drops_is_allowed(hasty: Node) -> None:
    """A body may take longer than the timeout as long as it gets on at the least rate."""
    with stream(hasty.address, "drops") as listener, Raw(hasty.address) as connection:
        connection.send(
            b"POST /send/drops HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n"
        )
        for _ in range(19):
            connection.send(b"x")
            # 2 s in all: twice the timeout
            assert not select.select([connection.socket], [], [], 0.1)[0]
        connection.send(b"x")
        assert connection.answer().json() == {"delivered": 1}
        assert listener.chunk() == b"Recvd msg #1: 'xxxxxxxxxxxxxxxxxxxx'\n"


def test_silent_connections_are_closed(hasty: Node) -> None:
    """Who connects and says nothing is closed after the head timeout."""
    began = time.monotonic()
    silent = [Raw(hasty.address) for _ in range(20)]
    for connection in silent:
        assert connection.rest() == b""
        connection.close()
    assert 0.5 < time.monotonic() - began < 5


def test_idle_connections_are_closed(hasty: Node) -> None:
    """A kept connection whose next request doesn't come is closed, without an answer."""
    with Raw(hasty.address) as connection:
        connection.send(post("/send/1", b"x"))
        assert connection.answer().status == 200
        began = time.monotonic()
        assert connection.rest() == b""
        assert 0.5 < time.monotonic() - began < 5


def test_streams_have_no_timeout(hasty: Node) -> None:
    """A stream may be silent for longer than every timeout."""
    with stream(hasty.address, "quiet") as listener, Raw(hasty.address) as silent:
        silent.rest()  # closed after the timeout, and the stream is older
        with Raw(hasty.address) as silent_too:
            silent_too.rest()
        assert send(hasty.address, "quiet", "x") == 1
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"


def test_timeouts_are_counted(hasty: Node) -> None:
    """Those who took too long are counted."""
    before = hasty.state().timeouts
    with Raw(hasty.address) as connection:
        connection.send(b"GET /")
        connection.answer().problem(408)
    hasty.until(lambda state: state.timeouts > before, "it is counted")


def held(gateways: list[int]) -> int:
    """Memory of all gateways, in bytes."""
    return sum(map(memory, gateways))


def push(connection: Raw, data: bytes, most: int) -> int:
    """Send `data` again and again until nobody takes it any more, or `most` bytes are out."""
    connection.socket.settimeout(0.5)
    sent = 0
    try:
        while sent < most:
            sent += connection.socket.send(data[sent % len(data) :])
    except OSError:  # it's full, or was closed: both are a limit
        pass
    return sent


FLOODS = {
    "messages": post("/send/1", b"x"),
    "large messages": post("/send/1", b"x" * 10_000),
    "bad requests": request("GET", "/nope"),
    "heads": request("HEAD", "/test/1"),
    "NDJSON": post("/send", b'{"id": "1", "data": "x"}\n' * 10),
}


FLOOD_MEMORY = 16 * MIB
"""Bytes of a gateway that is flooded: the worst are the shortest lines of NDJSON, of which it
reads 1 MiB in a turn; each is some 200 bytes until the turn is over."""


@pytest.mark.parametrize("data", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_that_never_reads(node: Node, data: bytes) -> None:
    """Who sends and sends, and never reads an answer, is held back: memory stays bounded."""
    gateways = [it.pid for it in node.gateways()]
    before = held(gateways)
    floods = [Raw(node.address) for _ in range(5)]
    threads = [threading.Thread(target=push, args=[it, data * 200, 16 * MIB]) for it in floods]
    for thread in threads:
        thread.start()
    highest = before
    while any(thread.is_alive() for thread in threads):
        highest = max(highest, held(gateways))
        assert send(node.address, "bystander", "x") == 0
    for flood in floods:
        flood.close()
    assert highest - before < FLOOD_MEMORY * len(gateways)


ENDLESS = {
    "trailer": SEND + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: ",
    "trailer's name": SEND + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
    "chunk extension": SEND + b"Transfer-Encoding: chunked\r\n\r\n1;a=",
    "header": b"GET /test/1 HTTP/1.1\r\nA: ",
    "chunk size": SEND + b"Transfer-Encoding: chunked\r\n\r\n",
    "target": b"GET /",
    "method": b"",
}


@pytest.mark.parametrize("start", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_never_ends_takes_no_memory(node: Node, start: bytes) -> None:
    """No part of a request may go on for ever and be kept: memory stays bounded."""
    gateways = [it.pid for it in node.gateways()]
    before = held(gateways)
    with Raw(node.address) as connection:
        connection.send(start)
        push(connection, (b"0" if start.endswith(b"\r\n\r\n") else b"A") * 65536, 16 * MIB)
        assert held(gateways) - before < 4 * MIB


def test_tiny_chunks_cost_in_proportion(node: Node) -> None:
    """A body in one-byte chunks costs in proportion to its length, not to its square."""

    def cost(count: int) -> float:
        before = sum(cpu_seconds(it.pid) for it in node.gateways())
        with Raw(node.address) as connection:
            connection.send(request("POST", "/send/1", "Transfer-Encoding: chunked"))
            connection.send(b"1\r\nx\r\n" * count + b"0\r\n\r\n")
            assert connection.answer().json() == {"delivered": 0}
        return sum(cpu_seconds(it.pid) for it in node.gateways()) - before

    assert cost(400_000) < 8 * max(cost(100_000), 0.05)


def test_garbage_from_many(node: Node) -> None:
    """Random bytes from 1,000 connections: each is refused, and the server is as before."""
    before = [it.pid for it in node.gateways()]
    dice = random.Random(4)
    methods = (b"", b"GET /test/1 HTTP/1.1\r\n", SEND + b"Transfer-Encoding: chunked\r\n\r\n")
    connections = []
    for number in range(1000):
        connection = Raw(node.address)
        connection.send(methods[number % 3], dice.randbytes(dice.randrange(1, 400)), b"\r\n\r\n")
        connection.end()
        connections.append(connection)
    for connection in connections:
        try:
            answer = connection.rest()
        except ConnectionResetError:
            answer = b""
        found = re.match(rb"HTTP/1.1 (\d+) ", answer)
        assert found is None or 400 <= int(found[1]) < 600, answer
        connection.close()
    assert [it.pid for it in node.gateways()] == before
    node.until(lambda state: state.connections == 0, "all of them are gone")
    with stream(node.address, "after") as listener:
        assert send(node.address, "after", "x") == 1
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"


def test_a_reset_is_no_harm(node: Node) -> None:
    """Clients that reset their connections, in whatever state, leave nothing behind."""
    before = [it.pid for it in node.gateways()]
    states = [b"", b"GET /te", request("GET", "/test/r"), SEND + b"Content-Length: 9\r\n\r\nx",
              post("/send/r", b"x") * 50, chunked(b"x")]  # fmt: skip
    for number in range(300):
        with Raw(node.address) as connection:
            connection.send(states[number % len(states)])
            linger = b"\x01\0\0\0\0\0\0\0"  # SO_LINGER on, 0 s: closing sends a reset
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    node.until(lambda state: state.connections == 0 and state.streams == 0, "all are gone")
    assert [it.pid for it in node.gateways()] == before
    until(lambda: send(node.address, "r", "x") == 0, "nobody is logged in")
