"""From readings of one source to its samples: counts that never go back, and notes.

Pure. Invariant: a process's CPU time is counted once, whatever other processes do.
A process that comes up later counts from its start: it was forked meanwhile.
"""

from .samples import ProcessSample, Reading, Sample


class Account:
    """The history of the source `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._processes: dict[int, ProcessSample] = {}
        self._begun = False
        self._lost_at: float | None = None
        self._cpu_seconds = 0.0
        self._delivered = 0
        self._last_delivered = 0

    def absent(self, time: float, why: str) -> Sample:
        """The source could not be read at `time`; `why` is noted the first time."""
        first = self._lost_at is None
        if first:
            self._lost_at = time
        return Sample(source=self._name, time=time, absent=True, note=why if first else "")

    def present(self, time: float, reading: Reading) -> Sample:
        """The source was read at `time`."""
        now = {process.pid: process for process in reading.processes}
        note = self._note(time, now) if self._begun else ""
        self._count(now, reading.delivered)
        self._processes, self._begun, self._lost_at = now, True, None
        return Sample(
            source=self._name,
            time=time,
            kb=sum(process.kb for process in reading.processes),
            connections=reading.connections,
            cpu_seconds=round(self._cpu_seconds, 3),
            delivered=None if reading.delivered is None else self._delivered,
            processes=reading.processes,
            note=note,
        )

    def _count(self, now: dict[int, ProcessSample], delivered: int | None) -> None:
        for pid, process in now.items():
            before = self._processes.get(pid)
            used = process.cpu_seconds - (before.cpu_seconds if before else 0.0)
            self._cpu_seconds += max(used, 0.0) if self._begun else 0.0
        if delivered is not None:
            came = delivered - self._last_delivered
            if came < 0:  # the server was started anew, and counts from 0
                came = delivered
            self._delivered += came if self._begun else 0
            self._last_delivered = delivered

    def _note(self, time: float, now: dict[int, ProcessSample]) -> str:
        notes = [f"back after {time - self._lost_at:.0f} s"] if self._lost_at is not None else []
        successors = {process.name: process for process in now.values()}
        ended = [process for pid, process in self._processes.items() if pid not in now]
        if ended and len(ended) == len(self._processes):
            return "; ".join([*notes, "started anew"])
        for process in ended:
            successor = successors.get(process.name)
            what = f"replaced by {successor.pid}" if successor else "ended"
            notes.append(f"{process.name} (pid {process.pid}) {what}")
        return "; ".join(notes)
