"""The same short measurement with few streams and with many: does anything grow faster?

Each size has a node of its own: all streams are opened, and messages are sent at one
rate to random users. What is compared between neighbouring sizes is by how much more a
quantity has grown than the connections.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from .servers.encke import ROOM, Encke
from .stage import Opening, Seen, Sending, Stage

ENOUGH_SOCKETS = 200_000
"""With fewer, what the kernel's slabs have in reserve is more than what the sockets take."""

TOLERANCE = 1.1
"""How much faster a quantity may have grown than the connections: less is noise. Times on a
shared machine differ by as much from run to run."""


class Step(msgspec.Struct, frozen=True):
    """One size."""

    opening: Opening
    sending: Sending
    seen: Seen

    @property
    def streams(self) -> int:
        return self.opening.streams


def _kernel(step: Step) -> float:
    used = step.opening.kernel
    return used.total if used.sockets >= ENOUGH_SOCKETS else 0.0


QUANTITIES: dict[str, Callable[[Step], float]] = {
    "the server's memory": lambda step: step.opening.memory,
    "the kernel's memory": _kernel,
    "time to connect": lambda step: step.opening.seconds,
    "latency, p99": lambda step: step.seen.latency.p99,
    "CPU a message": lambda step: step.sending.server_us,
}
"""0: not known."""


class Growth(msgspec.Struct, frozen=True):
    """How much faster than the connections a quantity has grown from one size to the next.

    1: as fast; less: slower.
    """

    quantity: str
    fewer: int
    more: int
    factor: float


def sizes(connections: int) -> list[int]:
    """The sizes below `connections`: powers of ten from 1,000 on, or a tenth of it."""
    return [10**power for power in range(3, 8) if 10**power < connections] or [
        max(1, connections // 10)
    ]


def measure(streams: int, rate: float, seconds: float, directory: Path) -> Step:
    """One size. Raises BenchError."""
    with (
        Encke("--max-connections", str(streams + ROOM)) as server,
        Stage(server, streams, directory) as stage,
    ):
        opening = stage.open()
        sending = stage.send_paced(rate, seconds)
        return Step(opening, sending, stage.end())


def growths(steps: Sequence[Step]) -> Iterator[Growth]:
    """How all quantities have grown, from each size to the next one."""
    for name, of in QUANTITIES.items():
        for fewer, more in pairwise(steps):
            if of(fewer) > 0:
                factor = of(more) / of(fewer) / (more.streams / fewer.streams)
                yield Growth(name, fewer.streams, more.streams, factor)
