"""The course of a long benchmark, for who waits: what is being done, and how it goes.

On a terminal a line that's kept up to date, elsewhere a line now and then; and when what
began is remembered, to be marked in the graph.

May import: report, watch.
"""

import time
from collections.abc import Sequence

import msgspec

from encke.tools.watch import Recorder, Sample
from encke.tools.watch.samples import rate

from . import report
from .report import Say

KEPT_EVERY = 10.0
"""Seconds between two lines where there's no terminal."""


class Mark(msgspec.Struct, frozen=True):
    """Something began at `time` (seconds since the epoch)."""

    time: float
    what: str


class Course:
    """What is being done."""

    def __init__(self, say: Say) -> None:
        self.marks: list[Mark] = []
        self._say = say
        self._doing = ""
        self._kept_at = time.monotonic()
        self._before: Sample | None = None

    def begin(self, what: str, recorder: Recorder | None = None) -> None:
        """From now on `what` is being done; `recorder` sees how it is right then."""
        self._doing = what
        self.marks.append(Mark(time.time(), what))
        self._say(what, False)
        if recorder is not None:
            recorder.read()

    def done(self, text: str) -> None:
        """Say a result."""
        report.progress(text)

    def show(self, samples: Sequence[Sample]) -> None:
        """A recorder's listener: say how a server is."""
        for sample in samples:
            did = rate(self._before, sample)
            self._before = sample
            if sample.absent:
                continue
            messages = "" if did.messages is None else f"  {did.messages:,.0f} messages/s"
            cpu = "" if did.cpu is None else f"  {did.cpu:.0f} % of a core"
            now = time.monotonic()
            keep = now - self._kept_at >= KEPT_EVERY
            self._kept_at = now if keep else self._kept_at
            self._say(
                f"{self._doing}: {sample.source} {sample.connections:,} connections  "
                f"{sample.kb / 1024:.1f} MiB{messages}{cpu}",
                keep,
            )


def noted(samples: Sequence[Sample], marks: Sequence[Mark], nearest: float = 0.0) -> list[Sample]:
    """`samples` of one source, in time's order, each mark as a note of the next one.

    Of two that are nearer to each other than `nearest` seconds one is left out, that without a
    note: what a server did in a moment says little, since its CPU time is told in ticks.
    """
    result: list[Sample] = []
    at = 0
    for sample in samples:
        notes = [sample.note] if sample.note else []
        while at < len(marks) and marks[at].time <= sample.time:
            notes.append(marks[at].what)
            at += 1
        if result and sample.time - result[-1].time < nearest:
            if not notes:
                continue
            if not result[-1].note and len(result) > 1:
                result.pop()
        result.append(msgspec.structs.replace(sample, note="; ".join(notes)))
    return result
