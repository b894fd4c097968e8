"""What the control process takes, in PSS: on Encke's reactor, and on plain Starlette and uvicorn.

A parent imports what a supervisor does, and forks a child for each way that serves until it
has answered once. Private is what only the child has. Needs the development environment.

    python docs/adr/measurements/control_port.py
"""

import gc
import os
import signal
import socket
import tempfile
from collections.abc import Callable

import encke.node.supervisor
from encke.control import process
from encke.scoreboard import CONTROL, NODE, Field, Scoreboard, State
from encke.settings import Settings

MIB = 1024
"""KiB."""


def on_the_reactor(listener: socket.socket) -> None:
    """Encke's control port as it is."""
    board = Scoreboard()
    board.row(NODE)[Field.STATE] = State.READY
    lifeline, _end = os.pipe()
    with tempfile.TemporaryDirectory() as data:
        process.run(Settings(data=data), board, listener, lifeline, CONTROL)


def on_uvicorn(listener: socket.socket) -> None:
    """A plain Starlette application with one resource, on plain uvicorn."""
    import asyncio

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ready"})

    gc.enable()
    app = Starlette(routes=[Route("/health", health)])
    config = uvicorn.Config(app, loop="asyncio", ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    asyncio.run(server.serve(sockets=[listener]))


def with_prometheus(listener: socket.socket) -> None:
    """The same, with the library that writes metrics."""
    import prometheus_client

    assert prometheus_client
    on_uvicorn(listener)


def with_nats(listener: socket.socket) -> None:
    """The same, with the NATS client by which it heard of other nodes."""
    import nats

    assert nats
    with_prometheus(listener)


def measure(what: str, serve: Callable[[socket.socket], None]) -> None:
    """Fork, ask once, print a line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pid = os.fork()
        if pid == 0:
            try:
                serve(listener)
            finally:
                os._exit(0)
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in client.recv(4096)
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            sizes = {line.split(":")[0]: int(line.split()[1]) for line in list(rollup)[1:]}
        private = sizes["Private_Clean"] + sizes["Private_Dirty"]
        print(f"{what:48} {sizes['Pss'] / MIB:5.1f} MiB PSS  {private / MIB:5.1f} MiB private")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    assert encke.node.supervisor
    gc.collect()
    gc.freeze()
    measure("the control port on the reactor", on_the_reactor)
    measure("Starlette on uvicorn, /health only", on_uvicorn)
    measure("the same, prometheus_client", with_prometheus)
    measure("the same, and nats-py", with_nats)
