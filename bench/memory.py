"""What a connection takes, beside nchan; what a user takes.

Memory is PSS, summed over all of a server's processes: before any connection, with
all streams open, and after messages have gone through them. The kernel's memory for
a socket (~5 KB) is not in it; it is the same for every server.
"""

from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from . import options
from .clients import compiled, herds
from .course import Course
from .map_memory import MapMemory
from .one_core import ENCKE_ONE, ENCKE_TWO, NCHAN, Contestant, on_one_core, present
from .report import Report, Section, table, verdict
from .servers.processes import Cores, child

MAP_BUDGET = 200
"""Bytes a user in the router's map, at most."""

PATHS = ("/test/", "/events/")


class Options(options.Options, frozen=True, kw_only=True):
    """Of `memory`."""

    QUICK: ClassVar = {"streams": 200, "seconds": 0.2, "senders": 16, "users": 10_000}

    streams: options.Streams = 10_000
    seconds: float = 3.0
    """How long messages are sent before the last reading."""
    senders: int = 256
    users: Annotated[int, Meta(ge=1, description="Users in the router's map.")] = 1_000_000


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


def run(options: Options, course: Course) -> Report:
    """Memory a connection, beside nchan; and a user in the router's map."""
    samples = []
    with on_one_core(course) as cores:
        with compiled("load") as programs:
            for contestant in present(course, options.streams, ENCKE_TWO, ENCKE_ONE, NCHAN):
                for path in PATHS:
                    course.done(f"{contestant.name}, {path}: {options.streams:,} streams")
                    samples.append(_sample(options, programs, cores, contestant, path))
        course.done(f"router's map: {options.users:,} users")
        with child("map_memory", str(options.users), cores.server) as process:
            results = Results(samples, process.hear(MapMemory))
    return Report(results=results, sections=_sections(results, options))


def _sample(
    options: Options, programs: Path, cores: Cores, contestant: Contestant, path: str
) -> Sample:
    with contestant.start(cores.server, options.streams) as server:
        empty = server.settled_memory()
        with herds(programs, server.port, cores.load, options.streams) as clients:
            for herd, size in clients:
                herd.open(size, path)
            opened = server.settled_memory()
            sent = clients[0][0].post(options.seconds, options.senders, 1, "/send/")
            used = server.settled_memory()
    return Sample(
        contestant=contestant.name,
        path=path,
        streams=options.streams,
        empty=list(empty.values()),
        opened=list(opened.values()),
        messages=sent.received,
        used=list(used.values()),
    )


def _sections(results: Results, options: Options) -> list[Section]:
    servers = table(
        results.samples,
        {
            "server": lambda it: it.contestant,
            "streams": lambda it: f"{it.path}…",
            "processes": lambda it: len(it.opened),
            "empty": lambda it: f"{sum(it.empty) / 2**20:.1f} MB",
            "open": lambda it: f"{sum(it.opened) / 2**20:.1f} MB",
            "bytes a stream": lambda it: f"{it.bytes_a_stream:,.0f}",
            "after messages": lambda it: f"{sum(it.used) / 2**20:.1f} MB",
            "messages": lambda it: it.messages,
        },
    )
    users = table(
        [results.map],
        {
            "users": lambda it: it.users,
            "memory": lambda it: f"{it.bytes / 2**20:.0f} MB",
            "bytes a user": lambda it: f"{it.bytes / it.users:.0f}",
            "budget": lambda _: f"<= {MAP_BUDGET}",
            "verdict": lambda it: verdict(it.bytes / it.users <= MAP_BUDGET),
        },
    )
    title = f"Memory of all server processes (PSS), {options.streams:,} streams"
    return [Section(title, [servers]), Section("Router's map", [users])]
