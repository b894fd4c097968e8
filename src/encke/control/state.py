"""The state of a node, put together from the scoreboard and /proc.

Memory is PSS: each page counts for its share, so the sum over a node's processes is
what the node takes from the machine. The kernel walks every mapping to tell it
(milliseconds a process), so it is read at most once a second; all else is read anew.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec

from ..scoreboard import (
    CONTROL,
    COUNTERS,
    FIRST_GATEWAY,
    NODE,
    ROUTER,
    SILENT,
    SUPERVISOR,
    Field,
    NatsLink,
    Row,
    Scoreboard,
    State,
    Watcher,
)
from ..wire.nodes import Heartbeat

MEMORY_SECONDS = 1.0
"""How old a figure of memory may be."""

_NAMES = {SUPERVISOR: "supervisor", ROUTER: "router", CONTROL: "control"}
_TICKS = os.sysconf("SC_CLK_TCK")
_SOCKSTAT = "/proc/net/sockstat"
_MEMORY_PAGE = os.sysconf("SC_PAGE_SIZE")


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the node; times in seconds, `started` since the epoch."""

    name: str
    pid: int
    state: str
    started: int
    restarts: int
    memory_bytes: int
    cpu_seconds: float
    connections: int
    streams: int
    capacity: int
    queued_bytes: int
    delivered: int
    silent_seconds: float
    """Since its loop has turned."""


class Hung(msgspec.Struct, frozen=True, kw_only=True):
    """A process that hangs; `since` is seconds since the epoch."""

    process: str
    since: float


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether the node takes connections, who hangs, and whether friends are unavailable."""

    status: str
    hung: list[Hung] = []
    friends: str = ""


class ClusterNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the cluster, as it was last heard of: at most a second ago, if it's well."""

    node: str
    name: str
    version: str
    here: bool
    """Whether it's the one that says this."""
    linked: float
    users: int
    connections: int
    messages: int
    delivered: int
    messages_rate: float
    delivered_rate: float


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes."""

    users_sum: int
    """Of the nodes' users: who is connected to two nodes counts twice."""
    connections: int
    nodes: list[ClusterNode]


class Seen(Protocol):
    """A node that was heard of, and the rates of what it counts."""

    said: Heartbeat
    messages_rate: float
    delivered_rate: float


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """The node: gauges and counters summed over its processes, and the processes."""

    version: str
    status: str
    uptime: float
    connections: int
    streams: int
    capacity: int
    users: int
    logins_held: int
    queued_bytes: int
    blocked: int
    body_bytes: int
    tcp_memory_bytes: int
    nats_link: str
    nodes: int
    accepted: int
    logins: int
    logouts: int
    requests: int
    messages: int
    delivered: int
    undelivered: int
    unavailable: int
    bad_requests: int
    timeouts: int
    slow_clients: int
    streams_refused: int
    accept_pauses: int
    bytes_out: int
    published: int
    subscribers_read: int
    lookups_failed: int
    forwarded: int
    unforwarded: int
    received: int
    dropped: int
    nats_lost: int
    log_lines_dropped: int
    memory_bytes: int
    processes: list[ProcessState]
    cluster: ClusterState | None = None


def cluster_state(seen: Iterable[Seen], own: str = "") -> ClusterState:
    """What is said of the nodes that were `seen`; `own` is the one that says it."""
    nodes = [
        ClusterNode(
            node=it.said.node,
            name=it.said.name,
            version=it.said.version,
            here=it.said.node == own,
            linked=it.said.linked,
            users=it.said.users,
            connections=it.said.connections,
            messages=it.said.messages,
            delivered=it.said.delivered,
            messages_rate=round(it.messages_rate, 1),
            delivered_rate=round(it.delivered_rate, 1),
        )
        for it in seen
    ]
    return ClusterState(
        users_sum=sum(node.users for node in nodes),
        connections=sum(node.connections for node in nodes),
        nodes=nodes,
    )


class StateReader:
    """Reads the state of the node whose processes write `scoreboard`."""

    def __init__(
        self, scoreboard: Scoreboard, version: str, cluster: Callable[[], ClusterState] | None
    ) -> None:
        """`cluster` knows of the other nodes, if there may be some."""
        self._scoreboard = scoreboard
        self._version = version
        self._cluster = cluster
        self._memory = _Memory()
        self._watcher = Watcher()

    def tick(self) -> None:
        """To be called several times a second."""
        self._watcher.look()

    def health(self, friends: str = "") -> Health:
        """``starting``, ``ready``, ``full``, ``hung`` or ``draining``: the node takes connections,
        and serves everyone, while it's ready. It's full if it takes senders only, as there are as
        many connections as may be; it's hung if a gateway or the router is."""
        node = self._scoreboard.row(NODE)[Field.STATE]
        hung = [
            Hung(process=_name(row), since=round(time.time() - silent, 1))
            for row in self._scoreboard.processes()
            if row.index not in (SUPERVISOR, CONTROL)
            and (silent := self._watcher.silent(row)) >= SILENT
        ]
        if hung and node in (State.READY, State.FULL):
            return Health(status="hung", hung=hung, friends=friends)
        status = State(node or State.STARTING).name.lower()
        return Health(status=status, hung=hung, friends=friends)

    def read(self) -> NodeState:
        """The state as it is now, memory as it was at most a second ago."""
        board = self._scoreboard
        rows = list(board.processes())
        processes = list(self._processes(rows))
        dead = board.row(NODE)
        sums = {
            field.name.lower(): sum(row[field] for row in rows)
            + (dead[field] if field in COUNTERS else 0)
            for field in Field
            if field >= Field.CONNECTIONS and field not in (Field.NATS_LINK, Field.NODE)
        }
        started = board.row(SUPERVISOR)[Field.STARTED]
        return NodeState(
            version=self._version,
            status=self.health().status,
            uptime=round(max(0.0, time.time() - started), 3),
            tcp_memory_bytes=tcp_memory(),
            memory_bytes=sum(process.memory_bytes for process in processes),
            processes=processes,
            cluster=self._cluster() if self._cluster is not None else None,
            nats_link=NatsLink(board.row(ROUTER)[Field.NATS_LINK]).name.lower(),
            **sums,
        )

    def _processes(self, rows: list[Row]) -> Iterator[ProcessState]:
        memory = self._memory.of([row[Field.PID] for row in rows])
        for row in rows:
            pid = row[Field.PID]
            cpu_seconds = _cpu_seconds(pid)
            if cpu_seconds is None or pid not in memory:
                continue  # it died while we looked
            silent = self._watcher.silent(row)
            yield ProcessState(
                name=_name(row),
                pid=pid,
                state="hung" if silent >= SILENT else State(row[Field.STATE]).name.lower(),
                started=row[Field.STARTED],
                restarts=row[Field.RESTARTS],
                memory_bytes=memory[pid],
                cpu_seconds=cpu_seconds,
                connections=row[Field.CONNECTIONS],
                streams=row[Field.STREAMS],
                capacity=row[Field.CAPACITY],
                queued_bytes=row[Field.QUEUED_BYTES],
                delivered=row[Field.DELIVERED],
                silent_seconds=round(silent, 3),
            )


class _Memory:
    """PSS of processes by PID, in bytes, read at most once in MEMORY_SECONDS."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._bytes: dict[int, int] = {}

    def of(self, pids: list[int]) -> dict[int, int]:
        """PID -> bytes for those of `pids` that live."""
        now = time.monotonic()
        if now - self._read_at >= MEMORY_SECONDS:
            self._read_at = now
            self._bytes = {}
        for pid in pids:
            if pid not in self._bytes:
                try:
                    self._bytes[pid] = pss(pid)
                except OSError:
                    continue
        return self._bytes


def pss(pid: int) -> int:
    """The process's proportional share of memory, bytes; OSError if it is gone."""
    with open(f"/proc/{pid}/smaps_rollup", "rb") as lines:
        for line in lines:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has ended")  # a zombie has no mappings


def tcp_memory() -> int:
    """Bytes that the kernel keeps for TCP, of all programs of this machine: what it holds against
    net.ipv4.tcp_mem. 0 if it doesn't tell."""
    try:
        with open(_SOCKSTAT, "rb") as lines:
            for line in lines:
                if line.startswith(b"TCP:"):
                    words = line.split()
                    return int(words[words.index(b"mem") + 1]) * _MEMORY_PAGE
    except (OSError, ValueError):
        pass
    return 0


def _cpu_seconds(pid: int) -> float | None:
    """User and system time of the process so far; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()  # the name may hold anything
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime, stime: proc(5)


def _name(row: Row) -> str:
    return _NAMES.get(row.index) or f"gateway-{row.index - FIRST_GATEWAY}"
