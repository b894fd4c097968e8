"""Users spread over three nodes, messages from all three: are all delivered, and how fast?

Each node is at a NATS server of its own; the three servers are joined. `encke flood` holds the
streams of all nodes, an `encke generate` sends to each node, to users wherever they are: two
of three messages cross.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from encke.tools.load.usage import cpu_seconds, process_tree

from . import counts
from .cluster_interest import Interest, propagation
from .meter import Meter
from .servers.encke import ROOM, Encke
from .servers.nats import nats_cluster
from .servers.processes import BenchError
from .stage import ARRIVAL, SENDERS
from .tools import Flooded, Generated, flood, generate

NODES = 3


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; CPU in seconds, of all processes of that kind."""

    users: int
    seconds_to_open: float
    """All streams, at all nodes."""
    interest: Interest
    sent: list[Generated]
    """To each node: what its sender says."""
    came: Flooded
    """What the clients have seen."""
    wrong: counts.Difference
    seconds: float
    """Until the last message had come."""
    nodes_cpu: float
    nats_cpu: float
    flood_cpu: float
    others_cpu: float

    @property
    def messages(self) -> int:
        return sum(it.sent for it in self.sent)

    @property
    def rate(self) -> float:
        """Messages accepted a second, by all nodes together."""
        return sum(it.rate for it in self.sent)

    @property
    def refused(self) -> int:
        return sum(it.failed for it in self.sent)

    @property
    def generate_cpu(self) -> float:
        return sum(it.cpu_seconds for it in self.sent)

    @property
    def faulty(self) -> bool:
        """Whether a message was refused, lost, doubled or not the next one, or a stream ended."""
        return any((self.refused, self.wrong, self.came.violations, self.came.closed))


def measure(
    users: int, rate: float, seconds: float, interest_rounds: int, directory: Path
) -> Spread:
    """`rate` messages a second in all. Raises BenchError."""
    with ExitStack() as stack:
        servers = stack.enter_context(nats_cluster(NODES, directory))
        room = ("--max-connections", str(users // NODES + ROOM))
        nodes = [
            stack.enter_context(Encke(*room, "--nats", it.url, "--node-name", f"node-{number}"))
            for number, it in enumerate(servers)
        ]
        clients = stack.enter_context(
            flood(
                *("--urls", str(_addresses(nodes, users, directory))),
                *("--counts", str(directory / "got"), "--verify", "--retry"),
            )
        )
        opened = clients.until(lambda it: it.event == "connected", 60 + users / 1000)
        assert opened.seconds_to_connect is not None
        interest = propagation(nodes[0], nodes[-1], interest_rounds)
        meter = Meter(
            lambda: sum(it.cpu_seconds() for it in servers),
            lambda: sum(it.cpu_seconds() for it in nodes),
            lambda: cpu_seconds(process_tree(clients.pid)),
        )
        said, wrong, took = _send(nodes, users, rate, seconds, directory)
        nats_cpu, nodes_cpu, flood_cpu, others_cpu = meter.used()
        return Spread(
            users=users,
            seconds_to_open=opened.seconds_to_connect,
            interest=interest,
            sent=said,
            came=clients.end(),
            wrong=wrong,
            seconds=took,
            nats_cpu=nats_cpu,
            nodes_cpu=nodes_cpu,
            flood_cpu=flood_cpu,
            others_cpu=max(0.0, others_cpu - sum(it.cpu_seconds for it in said)),
        )


def _addresses(nodes: Sequence[Encke], users: int, directory: Path) -> Path:
    """A file with the address of each user's stream: user k is at node k modulo their number."""
    file = directory / "urls"
    lines = (f"{nodes[user % len(nodes)].url}/test/{user}\n" for user in range(1, users + 1))
    file.write_text("".join(lines), encoding="ascii")
    return file


def _send(
    nodes: Sequence[Encke], users: int, rate: float, seconds: float, directory: Path
) -> tuple[list[Generated], counts.Difference, float]:
    """Send to each node, to all users; what was said and what came, and how long it took."""
    each = rate / len(nodes) * 1.01  # one in a hundred more, as in stage.send_paced
    messages = max(1, int(each * seconds))
    sent = [directory / f"sent-{number}" for number in range(len(nodes))]
    began = time.monotonic()
    with ExitStack() as stack:
        tools = [
            stack.enter_context(
                generate(
                    server.url,
                    *("--senders", str(SENDERS), "--max-id", str(users)),
                    *("--counts", str(file), "--stamp"),
                    *("--rate", str(each), "--count", str(messages)),
                )
            )
            for server, file in zip(nodes, sent, strict=True)
        ]
        said = [tool.result(60 + 3 * seconds) for tool in tools]
        for tool, figures in zip(tools, said, strict=True):
            if figures.sent != messages:
                raise BenchError(f"Only {figures.sent:,} were sent. {tool.complaints}")
    wrong = counts.wait_for(counts.total(sent), directory / "got", ARRIVAL)
    return said, wrong, time.monotonic() - began
