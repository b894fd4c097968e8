"""The floor beside which a send to everyone is measured: the bare C write loop.

It holds as many streams as one process can, writes a chunk to each of them, round by
round, and `encke flood` reads them, as it does from the server, on the same cores at the
same time of the run. What the clients cost is thus in both.

May import: counts, measure, programs, scenario.
"""

import time
from array import array
from pathlib import Path

import msgspec

from . import counts
from .measure import cpu_seconds, process_tree
from .processes import BenchError
from .programs import compiled, write_loop
from .scenario import flood

STREAMS = 19_000
"""As many as the loop's one process can hold: 20,000 files is a common hard limit."""

READERS = 2
"""Processes of the flood, at least: more than one core may read, as it is beside the server."""

MESSAGES = 400_000
"""Written in one measurement, about: some seconds."""


class Written(msgspec.Struct, frozen=True):
    """Messages were written, round by round, and have all come."""

    streams: int
    messages: int
    seconds: float
    """Until the last one had come."""
    cpu_seconds: float
    flood_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Messages that came a second."""
        return self.messages / self.seconds

    @property
    def us(self) -> float:
        """The loop's CPU time a message, microseconds."""
        return self.cpu_seconds / self.messages * 1e6


def measure(streams: int, messages: int, directory: Path) -> Written:
    """Write about `messages` to `streams`. Raises BenchError."""
    rounds = max(1, messages // streams)
    got = directory / "loop"
    with (
        compiled("writeloop") as programs,
        write_loop(programs, None) as loop,
        flood(
            f"http://127.0.0.1:{loop.port}",
            *("--connections", str(streams)),
            *("--connections-per-process", str(-(-streams // READERS))),
            *("--counts", str(got)),
            *("--every", "3600"),
        ) as clients,
    ):
        clients.until(lambda it: it.event == "connected", 60)
        loop.each(1)  # warms both up
        if counts.wait_for(array("I", [1]) * streams, got, 10):
            raise BenchError("What the write loop wrote has not come.")
        used, flooded = cpu_seconds([loop.pid]), cpu_seconds(process_tree(clients.pid))
        began = time.monotonic()
        loop.each(rounds)
        if counts.wait_for(array("I", [1 + rounds]) * streams, got, 10):
            raise BenchError("What the write loop wrote has not come.")
        seconds = time.monotonic() - began
        return Written(
            streams,
            rounds * streams,
            seconds,
            cpu_seconds([loop.pid]) - used,
            cpu_seconds(process_tree(clients.pid)) - flooded,
        )
