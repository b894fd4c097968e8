"""``python -m bench memory``: what a connection takes, beside nchan; what a user takes.

Memory is PSS, summed over all of a server's processes: before any connection, with
all streams open, and after messages have gone through them. The kernel's memory for
a socket (~5 KB) is not in it; it is the same for every server.

May import: peers, processes, programs, map_memory, report.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec
from rich.table import Table

from . import report
from .map_memory import MapMemory
from .peers import ENCKE_ONE, ENCKE_TWO, NCHAN, Kind
from .processes import Cores, Talker, running
from .programs import LOAD_STREAMS, Load, compiled, load

MAP_BUDGET = 200
"""Bytes a user in the router's map, at most."""

PATHS = ("/test/", "/events/")


class Options(msgspec.Struct, frozen=True):
    """The flags of the command."""

    streams: int = 10_000
    seconds: float = 3.0
    """How long messages are sent before the last reading."""
    senders: int = 256
    users: int = 1_000_000
    """Users in the router's map."""


class Sample(msgspec.Struct):
    """One server with one kind of stream; bytes of PSS for each process."""

    contestant: str
    path: str
    streams: int
    empty: list[int]
    opened: list[int]
    messages: int
    used: list[int]

    @property
    def bytes_a_stream(self) -> float:
        """Growth from empty to all streams open, for each stream."""
        return (sum(self.opened) - sum(self.empty)) / self.streams


class Results(msgspec.Struct):
    """All samples."""

    samples: list[Sample]
    map: MapMemory


def run(options: Options, cores: Cores, notices: list[str]) -> Results:
    """Measure; raises BenchError if a contestant can't be measured at all."""
    samples = []
    with compiled("load") as programs:
        for kind in (ENCKE_TWO, ENCKE_ONE, NCHAN):
            if reason := kind.missing(options.streams):
                report.notice(notices, f"{kind.name}: {reason}.")
                continue
            for path in PATHS:
                report.progress(f"{kind.name}, {path}: {options.streams:,} streams")
                samples.append(_sample(options, programs, cores, kind, path))
    report.progress(f"router's map: {options.users:,} users")
    return Results(samples, _map(options.users, cores))


def _sample(options: Options, programs: Path, cores: Cores, kind: Kind, path: str) -> Sample:
    with ExitStack() as stack:
        server = stack.enter_context(kind.start(cores.server, options.streams))
        empty = server.settled_memory()
        clients: list[Load] = []
        for number, first in enumerate(range(0, options.streams, LOAD_STREAMS)):
            herd = stack.enter_context(load(programs, server.port, cores.load, number))
            herd.open(min(LOAD_STREAMS, options.streams - first), path)
            clients.append(herd)
        opened = server.settled_memory()
        sent = clients[0].post(options.seconds, options.senders, 1, "/send/")
        used = server.settled_memory()
        return Sample(
            contestant=kind.name,
            path=path,
            streams=options.streams,
            empty=list(empty.values()),
            opened=list(opened.values()),
            messages=sent.received,
            used=list(used.values()),
        )


def _map(users: int, cores: Cores) -> MapMemory:
    command = [sys.executable, "-m", f"{__package__}.map_memory", str(users)]
    with running(command, cores.server) as process:
        return Talker(process, "map_memory").hear(MapMemory)


def tables(results: Results, options: Options) -> list[Table]:
    """The outcome, to be printed."""
    servers = report.table(
        f"Memory of all server processes (PSS), {options.streams:,} streams",
        "server", "streams", "processes", "empty", "open", "bytes a stream",
        "after messages", "messages",
    )  # fmt: skip
    for sample in results.samples:
        servers.add_row(
            sample.contestant,
            sample.path + "…",
            str(len(sample.opened)),
            f"{sum(sample.empty) / 2**20:.1f} MB",
            f"{sum(sample.opened) / 2**20:.1f} MB",
            f"{sample.bytes_a_stream:,.0f}",
            f"{sum(sample.used) / 2**20:.1f} MB",
            f"{sample.messages:,}",
        )
    each = results.map.bytes / results.map.users
    users = report.table("Router's map", "users", "memory", "bytes a user", "budget", "")
    users.add_row(
        f"{results.map.users:,}",
        f"{results.map.bytes / 2**20:.0f} MB",
        f"{each:.0f}",
        f"<= {MAP_BUDGET}",
        report.verdict(each <= MAP_BUDGET),
    )
    return [servers, users]
