"""One message through a node with a router: which files it enters, and how many calls it takes.

    python docs/adr/measurements/message_calls.py [--list] [--key]

A gateway and a router, each a real process, are watched with sys.setprofile while one message of a
kept-alive connection goes from `POST /send/123` to the stream of 123 and back to the sender. What
is counted is calls of functions written in Encke, in both processes together; turns of the loop in
which nothing happens aren't. Of nine messages the one with the fewest calls is shown: no tick of
the clock came in between. With --list each call in its order; with --key of a server that asks for
an API key.
"""

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import encke
from encke.gateway import process as gateway_process
from encke.router import process as router_process
from encke.scoreboard import FIRST_GATEWAY, ROUTER, Field, Scoreboard
from encke.settings import Settings

PACKAGE = str(Path(encke.__file__).parent) + "/"
Call = tuple[float, str, str]


def watched(output: Path, run: Callable[[], None]) -> int:
    """Fork a process that runs `run`, and writes down its calls to `output` at each SIGUSR1."""
    pid = os.fork()
    if pid:
        return pid
    calls: list[Call] = []

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            name = frame.f_code.co_filename.removeprefix(PACKAGE)
            calls.append((time.monotonic(), name, frame.f_code.co_qualname))

    def write(_number: int, _frame: FrameType | None) -> None:
        sys.setprofile(None)
        now = calls.copy()
        calls.clear()
        with output.with_suffix(".new").open("w") as file:
            file.writelines(f"{at} {name} {function}\n" for at, name, function in now)
        output.with_suffix(".new").rename(output)
        sys.setprofile(profile)

    signal.signal(signal.SIGUSR1, write)
    sys.setprofile(profile)
    try:
        run()
    finally:
        os._exit(0)


def calls_of(pid: int, output: Path) -> list[Call]:
    """What the process has called since it was asked last."""
    output.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    while not output.exists():
        time.sleep(0.001)
    rows = (line.split(" ") for line in output.read_text().splitlines())
    return [(float(at), name, function) for at, name, function in rows]


def until(connection: socket.socket, end: bytes) -> bytes:
    """What comes until `end` has."""
    got = b""
    while end not in got:
        got += connection.recv(65536)
    return got


def one_message() -> list[Call]:
    """The calls of one message, in the order of time; of several the fewest."""
    key = "secret" if "--key" in sys.argv else ""
    settings = Settings(gateways=1, api_key=key)
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    board = Scoreboard()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        path = str(folder / "router")
        links = socket.socket(socket.AF_UNIX)
        links.bind(path)
        links.listen()
        public = socket.create_server(("127.0.0.1", 0))
        for listener in (links, public):
            listener.setblocking(False)
        lifeline, _writer = os.pipe()
        outputs = folder / "router.calls", folder / "gateway.calls"
        router = watched(
            outputs[0],
            lambda: router_process.run(
                settings,
                listener=links,
                scoreboard=board,
                row=board.row(ROUTER),
                expected=(),
                lifeline=lifeline,
            ),
        )
        gateway = watched(
            outputs[1],
            lambda: gateway_process.run(
                settings,
                number=1,
                listener=public,
                capacity=100,
                row=board.row(FIRST_GATEWAY),
                lifeline=lifeline,
                router_path=path,
            ),
        )
        try:
            while board.row(FIRST_GATEWAY)[Field.STATE] != 2:
                time.sleep(0.01)
            address = public.getsockname()
            stream, sender = (socket.create_connection(address) for _ in range(2))
            stream.sendall(b"GET /events/123 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(stream, b"\r\n\r\n")
            best: list[Call] = []
            for _ in range(9):
                for pid, output in zip((router, gateway), outputs, strict=True):
                    calls_of(pid, output)
                time.sleep(0.05)
                began = time.monotonic()
                sender.sendall(
                    b"POST /send/123 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                    b"%b\r\nHello" % authorization.encode()
                )
                until(stream, b"Hello")
                until(sender, b'{"delivered": 1}')
                time.sleep(0.02)
                ended = time.monotonic()
                calls = [
                    call
                    for pid, output in zip((router, gateway), outputs, strict=True)
                    for call in calls_of(pid, output)
                    if began <= call[0] <= ended
                ]
                if not best or len(calls) < len(best):
                    best = calls
        finally:
            for pid in (router, gateway):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    return sorted(best)


def main() -> None:
    """Print what was counted."""
    calls = one_message()
    ways = [name for _, name, _ in calls]
    entries = {
        name: sum(now == name != before for before, now in zip(["", *ways], ways, strict=False))
        for name in ways
    }
    if "--list" in sys.argv:
        for at, name, function in calls:
            print(f"{(at - calls[0][0]) * 1e6:7.0f} us  {name:30} {function}")
    for name in dict.fromkeys(ways):
        print(f"{ways.count(name):4} calls, entered {entries[name]:2} times  {name}")
    print(f"{len(calls)} calls, {len(entries)} files")


if __name__ == "__main__":
    main()
