"""What is seen of a server at one time, and what two such sights say of the time between.

Pure.
"""

from collections.abc import Iterable, Sequence

import msgspec


class ProcessSample(msgspec.Struct, frozen=True, gc=False):
    """One process; `kb` is its PSS in units of 1,024 bytes, as the kernel tells it.

    `cpu_seconds` (user and system) and `delivered` (messages handed to a stream; None:
    not known) count from the process's start.
    """

    name: str
    pid: int
    kb: int
    connections: int
    cpu_seconds: float
    delivered: int | None = None


class Reading(msgspec.Struct, frozen=True):
    """What a source tells when it is read: its processes, and messages since its start."""

    processes: tuple[ProcessSample, ...]
    connections: int
    delivered: int | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A server, all of its processes together, at `time` (seconds since the epoch).

    `cpu_seconds` and `delivered` count from the first sample, and never go back, also
    when processes end or the server is started anew. `absent`: the server could not be
    read, and all but `source`, `time` and `note` says nothing. `note`: what happened
    since the sample before, for people.
    """

    source: str
    time: float
    kb: int = 0
    connections: int = 0
    cpu_seconds: float = 0.0
    delivered: int | None = None
    processes: tuple[ProcessSample, ...] = ()
    absent: bool = False
    note: str = ""


class Rate(msgspec.Struct, frozen=True):
    """Between two samples: messages a second, and CPU in per cent of one core.

    None: not known.
    """

    messages: float | None = None
    cpu: float | None = None


def rate(before: Sample | None, now: Sample) -> Rate:
    """What the server did between two samples of the same source."""
    if before is None or before.absent or now.absent or now.time <= before.time:
        return Rate()
    seconds = now.time - before.time
    cpu = (now.cpu_seconds - before.cpu_seconds) / seconds * 100
    if cpu < 0:  # of two runs, whose counts both began at 0
        return Rate()
    if now.delivered is None or before.delivered is None:
        return Rate(None, cpu)
    return Rate((now.delivered - before.delivered) / seconds, cpu)


def process_rate(before: ProcessSample | None, now: ProcessSample, seconds: float) -> Rate:
    """What one process did in the `seconds` between two samples of it."""
    if before is None or before.pid != now.pid or seconds <= 0:
        return Rate()
    cpu = (now.cpu_seconds - before.cpu_seconds) / seconds * 100
    if now.delivered is None or before.delivered is None:
        return Rate(None, cpu)
    return Rate((now.delivered - before.delivered) / seconds, cpu)


def by_source(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """The samples of each source, in time; sources in the order in which they come up."""
    sources: dict[str, list[Sample]] = {}
    for sample in samples:
        sources.setdefault(sample.source, []).append(sample)
    for series in sources.values():
        series.sort(key=lambda sample: sample.time)
    return sources


class Thinned:
    """At most `limit` samples of one source: once there are more, every second one goes.

    From then on every second of the new ones is taken, so what is kept stays even.
    A sample with a note stays as long as that keeps the limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 2)
        self._kept: list[Sample] = []
        self._last: Sample | None = None
        self._seen = 0
        self._stride = 1

    def add(self, sample: Sample) -> None:
        """Take one more; they come in time's order."""
        if self._seen % self._stride == 0 or sample.note:
            self._kept.append(sample)
        self._last = sample
        self._seen += 1
        if len(self._kept) > self._limit:
            self._stride *= 2
            self._kept = [it for i, it in enumerate(self._kept) if i % 2 == 0 or it.note]
            if len(self._kept) > self._limit:
                del self._kept[1::2]

    @property
    def samples(self) -> Sequence[Sample]:
        """What was kept, and the last one."""
        if self._last is None or self._kept[-1] is self._last:
            return list(self._kept)
        return [*self._kept, self._last]
