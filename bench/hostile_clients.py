"""Child process of ``python -m bench hostile``: hostile clients of one kind.

``python -m bench.hostile_clients PLAN`` connects them to the server, each with its script. It says
its Outcome once all have connected, and again once a line comes on standard input; then all go.

It runs at idle priority: the attack shall bother the server, not the good clients on this
machine. Its own ends of the connections have small buffers, since the kernel's memory is measured.
"""

import asyncio
import contextlib
import os
import resource
import socket
import sys
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from .raw import chunked, post, request

PAUSE = 1.0
"""Seconds until one that was thrown out comes back."""

STAY = 5.0
"""Seconds after which one that doesn't read comes anew: it doesn't see when it's thrown out."""

BUFFER = 32 * 1024
"""Of each end of a connection here; the kernel makes twice as much of it."""

PIECE = 64 * 1024
"""Bytes of a chunk of NDJSON, and of junk."""

MIB = 1024 * 1024

EACH = 100
"""Streams of one user id: the default --connections-per-user."""


class Script(NamedTuple):
    """What one of them sends at first, and over and over as fast as it's taken; if it reads."""

    first: bytes
    again: bytes = b""
    reads: bool = True


def _chunk(data: bytes) -> bytes:
    return chunked(data).removesuffix(b"0\r\n\r\n")


def _bulk(line: bytes) -> list[Script]:
    head = request("POST", "/send", "Transfer-Encoding: chunked")
    return [Script(head, _chunk(line * (PIECE // len(line))))]


def _unread(protocol: str, count: int, *messages: bytes) -> list[Script]:
    """Streams of a few users that aren't read, and one who sends to all of them."""
    users = [f"unread{it}" for it in range(-(-count // EACH))]
    gets = [request("GET", f"/{protocol}/{users[it // EACH]}") for it in range(count)]
    sends = b"".join(post(f"/send/{it}", message) for message in messages for it in users)
    return [*(Script(it, reads=False) for it in gets), Script(sends, sends)]


def _junk(number: int) -> Script:
    if number % 2:
        return Script(request("GET", f"/events/junk{number}"), b"x" * PIECE)
    head = request("GET", f"/test/junk{number}", "Transfer-Encoding: chunked")
    return Script(head, _chunk(b"x" * PIECE))


def _idle(number: int) -> Script:
    id = f"idle{number}"
    return Script(request("GET", f"/events/{id}") if number % 2 else post(f"/send/{id}", b"x"))


KINDS: dict[str, Callable[[int], list[Script]]] = {
    # one sender of NDJSON without an end
    "bulk": lambda _: _bulk(b'{"id": "nobody", "data": "xxxxxxxxxxxxxxxxxxxxxxxx"}\n'),
    # streams that aren't read; as many newlines as are taken (7 bytes there), and as much else
    "large": lambda count: _unread("events", count, b"\n" * (MIB // 7 - 10), b"x" * (MIB - 10)),
    # senders that stop one byte before the end
    "bodies": lambda count: [Script(post("/send/short", b"x" * MIB)[:-1])] * count,
    # GETs with an endless body, streams whose client sends without an end
    "junk": lambda count: list(map(_junk, range(count))),
    # streams that aren't read, and ordinary messages
    "unread": lambda count: _unread("test", count, b"x" * 8 * 1024),
    # one sender of NDJSON of nothing but empty lines
    "empty": lambda _: _bulk(b"\n"),
    # more than the server has room for: streams, and senders that keep their connection
    "cap": lambda count: list(map(_idle, range(count))),
}
"""The scripts of so many clients of a kind."""


class Plan(msgspec.Struct, frozen=True):
    """Whom to bother, how, and by how many."""

    kind: str
    port: int
    count: int

    @property
    def scripts(self) -> list[Script]:
        return KINDS[self.kind](self.count)


class Outcome(msgspec.Struct):
    """What has become of them; `sent` in bytes."""

    opened: int = 0
    gone: int = 0
    sent: int = 0
    answers: dict[str, int] = {}
    """How many, by status."""


async def _play(script: Script, port: int, outcome: Outcome) -> None:
    """Be one of them, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        outcome.opened += 1
        with contextlib.suppress(OSError, TimeoutError, EOFError), socket.socket() as connection:
            connection.setblocking(False)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                connection.setsockopt(socket.SOL_SOCKET, option, BUFFER)
            await loop.sock_connect(connection, ("127.0.0.1", port))
            reading = loop.create_task(_read(connection, script, outcome))
            try:
                await _send(connection, script, outcome)
                await reading
            finally:
                reading.cancel()
        outcome.gone += 1
        await asyncio.sleep(PAUSE)


async def _send(connection: socket.socket, script: Script, outcome: Outcome) -> None:
    loop, rest = asyncio.get_running_loop(), memoryview(script.first)
    while rest:
        await loop.sock_sendall(connection, piece := rest[:PIECE])
        outcome.sent += len(piece)
        rest = rest[PIECE:] or memoryview(script.again)
        await asyncio.sleep(0)  # others too


async def _read(connection: socket.socket, script: Script, outcome: Outcome) -> None:
    if not script.reads:
        await asyncio.sleep(STAY)
    while script.reads and (data := await asyncio.get_running_loop().sock_recv(connection, PIECE)):
        if data.startswith(b"HTTP/1.1 "):
            status = data[9:12].decode()
            outcome.answers[status] = outcome.answers.get(status, 0) + 1
    connection.shutdown(socket.SHUT_RDWR)  # who sends ends too


async def _bother(plan: Plan) -> None:
    loop, outcome = asyncio.get_running_loop(), Outcome()
    them = [loop.create_task(_play(it, plan.port, outcome)) for it in plan.scripts]
    for read in (lambda: "", sys.stdin.readline):
        await loop.run_in_executor(None, read)
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.flush()
    for one in them:
        one.cancel()


def main() -> None:
    """Carry out the plan in argv."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(_bother(msgspec.json.decode(sys.argv[1], type=Plan)))


if __name__ == "__main__":
    main()
