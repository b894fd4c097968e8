"""`encke nodes`: the cluster's nodes, as a node's control port or NATS itself tells of them."""

import asyncio
import sys

import msgspec
from rich.console import Console
from rich.table import Table

from ..client.pool import once
from ..client.posts import result
from ..client.server import Server
from ..cluster.options import NatsOptions
from ..control.state import ClusterNode, ClusterState, cluster_state
from ..errors import Unreachable

TIMEOUT = 5.0
"""Seconds that the server may take to answer."""


class _State(msgspec.Struct):
    """What is of interest here in /state."""

    cluster: ClusterState | None = None


def of_control_port(url: str, api_key: str) -> ClusterState | None:
    """What the node's control port at `url` says; None: it's alone.

    Raises Unreachable, Interrupted, Refused and Unavailable.
    """
    server = Server(url, api_key)
    try:
        answer = once(server, server.head("GET", "/state"), TIMEOUT)
    except Unreachable as error:
        raise Unreachable(
            f"No control port answers at {url} ({error}); start the server with `encke serve`, "
            "correct the address, or ask NATS: --nats URL."
        ) from None
    return result(answer, _State, server).cluster


def of_nats(options: NatsOptions, prefix: str) -> ClusterState:
    """What is heard of the nodes in NATS; raises BadSettings and Unreachable."""
    from ..bystander import see

    return cluster_state(asyncio.run(see(options, prefix)))


def show(state: ClusterState | None, *, json: bool) -> int:
    """Print it; returns the exit code: 1 if no node is there."""
    if json:
        sys.stdout.buffer.write(msgspec.json.encode(state) + b"\n")
    elif state is None:
        print("This node is alone: it was started without --nats.")
    elif not state.nodes:
        print("No node is there.")
    else:
        Console().print(_table(state))
    return 0 if state is not None and state.nodes else 1


def _table(state: ClusterState) -> Table:
    table = Table(box=None, pad_edge=False, show_footer=len(state.nodes) > 1)
    table.add_column("node", footer="sum")
    for title, footer in (
        ("name", ""),
        ("version", ""),
        ("joined for", ""),
        ("users", f"{state.users_sum:,}"),
        ("streams", f"{state.connections:,}"),
        ("taken/s", f"{sum(node.messages_rate for node in state.nodes):,.0f}"),
        ("delivered/s", f"{sum(node.delivered_rate for node in state.nodes):,.0f}"),
    ):
        left = title in ("name", "version")
        table.add_column(title, footer=footer, justify="left" if left else "right", no_wrap=True)
    for node in state.nodes:
        table.add_row(*_row(node))
    return table


def _row(node: ClusterNode) -> list[str]:
    return [
        node.node + (" *" if node.here else ""),
        node.name,
        node.version,
        _duration(node.linked),
        f"{node.users:,}",
        f"{node.connections:,}",
        f"{node.messages_rate:,.0f}",
        f"{node.delivered_rate:,.0f}",
    ]


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
