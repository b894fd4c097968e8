"""Real nats-server processes, on loopback and free ports, ended by their id."""

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec
from system.node import until

T = TypeVar("T")

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

PROGRAM = Path(sys.executable).parent / "nats-server"


class Ports(msgspec.Struct):
    """Where a server listens; what it writes into its file of ports."""

    nats: list[str] = []
    cluster: list[str] = []
    monitoring: list[str] = []


class Subscription(msgspec.Struct):
    """Of /subsz: one subscription."""

    subject: str


class Subscriptions(msgspec.Struct):
    """Of /subsz: the subscriptions that the server knows."""

    num_subscriptions: int
    subscriptions_list: list[Subscription] = []
    """Those that were asked for."""


class Route(msgspec.Struct):
    """Of /routez: a connection with another server."""

    remote_id: str


class Routes(msgspec.Struct):
    """Of /routez: other servers that this one is joined with."""

    num_routes: int
    routes: list[Route] = []


class Client(msgspec.Struct):
    """Of /connz: a client, by the name that it has given itself."""

    name: str = ""


class Clients(msgspec.Struct):
    """Of /connz."""

    connections: list[Client]


class NatsServer:
    """One server. It can be killed, and started again on the same port."""

    def __init__(
        self,
        directory: Path,
        config: str = "",
        *,
        routes: list[str] | None = None,
        host: str = "127.0.0.1",
        through: Sequence[str] = (),
    ) -> None:
        """`config` is added to its configuration; with `routes` it's one of a cluster.

        `through` begins its command, to run it somewhere else; then `host` is its address there.
        """
        self._directory = directory
        self._config = config
        self._host = host
        self._through = list(through)
        if routes is not None:
            self._config += f"""
                cluster {{ name: test, listen: "127.0.0.1:-1", routes: {routes},
                           pool_size: -1 }}"""
        self._starts = 0
        self.ports = Ports()
        self.start()

    def start(self) -> None:
        """Start it, on the port that it had before."""
        self._starts += 1
        directory = self._directory / str(self._starts)
        directory.mkdir()
        config = directory / "nats.conf"
        port = self.ports.nats[0].rpartition(":")[2] if self.ports.nats else -1
        config.write_text(
            f'listen: "{self._host}:{port}"\nhttp: "{self._host}:-1"\n{self._config}\n',
            encoding="ascii",
        )
        command = [*self._through, str(PROGRAM), "--config", str(config)]
        command += ["--ports_file_dir", str(directory)]
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log)
        self.pid = self.process.pid
        file = directory / f"nats-server_{self.pid}.ports"
        try:
            until(lambda: self._read_ports(file), "the server listens")
        except AssertionError:
            self.end()
            raise AssertionError(self.log()) from None

    def _read_ports(self, file: Path) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            self.ports = msgspec.json.decode(file.read_bytes(), type=Ports)
        except (OSError, msgspec.DecodeError):
            return False
        return bool(self.ports.nats) and "Server is ready" in self.log()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """kill -9, stopped or not."""
        self.process.kill()
        self.process.wait(timeout=10)

    def leave(self) -> None:
        """End as an administrator ends it (SIGTERM)."""
        self.process.terminate()
        self.process.wait(timeout=10)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It doesn't run (SIGSTOP) until the block is left."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            until(self._is_stopped, "none of its threads runs")
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @property
    def runs(self) -> bool:
        """Whether it hasn't ended."""
        return self.process.poll() is None

    def _is_stopped(self) -> bool:
        tasks = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)

    @property
    def address(self) -> str:
        """host:port"""
        return self.ports.nats[0].partition("://")[2]

    @property
    def url(self) -> str:
        return f"nats://{self.address}"

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def route(self) -> str:
        """Where other servers of its cluster reach it."""
        return self.ports.cluster[0]

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def subscriptions(self) -> int:
        """How many it has, as its monitoring says, its own among them."""
        return self._told("subsz", Subscriptions).num_subscriptions

    def subscriptions_to(self, subject: str) -> int:
        """How many it has to exactly this subject: for tests that share it with others, whose
        subscriptions may be about to end."""
        found = self._told(f"subsz?subs=1&test={subject}", Subscriptions).subscriptions_list
        return sum(it.subject == subject for it in found)

    def clients(self) -> list[str]:
        """The names of its clients, as its monitoring says."""
        return [client.name for client in self._told("connz", Clients).connections]

    def routes(self) -> int:
        """How many servers it's joined with, as its monitoring says."""
        return self._told("routez", Routes).num_routes

    def _told(self, what: str, kind: type[T]) -> T:
        with _direct.open(f"{self.ports.monitoring[0]}/{what}", timeout=10) as answer:
            return msgspec.json.decode(answer.read(), type=kind)

    def is_joined_to(self, others: int) -> bool:
        """Whether it has one route to each of so many servers. While a cluster forms, two
        servers may have two, of which they end one, with the messages on it."""
        routes = self._told("routez", Routes).routes
        return len(routes) == others == len({route.remote_id for route in routes})
