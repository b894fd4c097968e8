"""Who is measured side by side on one core: Encke in two shapes, and nchan."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from . import clients
from .course import Course
from .servers.encke import ROOM, Encke
from .servers.nginx import NCHAN_STREAMS, nchan, nchan_missing
from .servers.processes import BenchError, Cores, pinned
from .servers.server import Server

GATEWAY_STREAMS = 19_000
"""Streams that a gateway surely holds."""


class Lacking(BenchError):
    """Nothing can be measured, since something isn't installed; that's no failure."""


class Contestant(msgspec.Struct, frozen=True):
    """A server that can be started."""

    name: str
    gateways: int = 0
    """Encke's --gateways; 0: it's nchan."""

    def start(self, core: int | None, streams: int, *flags: str) -> Server:
        """Run it on `core`, able to hold `streams`."""
        if not self.gateways:
            return nchan(core)
        if streams > self.gateways * GATEWAY_STREAMS:
            flags = (*flags, "--max-connections", str(streams + ROOM))
        return Encke("--gateways", str(self.gateways), *flags, core=core)

    def missing(self, streams: int) -> str | None:
        """Why it can't be measured here with `streams`, if it can't."""
        if self.gateways:
            return None
        if reason := nchan_missing():
            return reason
        return f"one worker holds {NCHAN_STREAMS:,} streams" if streams > NCHAN_STREAMS else None


ENCKE_ONE = Contestant("Encke, 1 gateway", 1)
ENCKE_TWO = Contestant("Encke, 2 gateways", 2)
"""Router and gateways in processes of their own: the shape that a 2-core machine gets."""
NCHAN = Contestant("nchan")


def present(course: Course, streams: int, *wanted: Contestant) -> list[Contestant]:
    """Those of them that can be measured here; it's said why the others can't."""
    return [it for it in wanted if not course.left_out(it.name, it.missing(streams))]


@contextmanager
def on_one_core(course: Course) -> Iterator[Cores]:
    """The core for the servers, and that for their clients in C, on which we are too, inside.

    Raises Lacking if there is no C compiler.
    """
    if reason := clients.missing():
        raise Lacking(f"this benchmark, whose clients are in C: {reason}.")
    cores = Cores.choose()
    if cores.server == cores.load:
        course.left_out("a core of its own for the load", "there is but one here")
    with pinned(cores.load):
        yield cores
