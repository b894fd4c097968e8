"""The course of a benchmark: what is being done, for who waits; what began when, for the graph;
what is left out; a directory for its files.

On a terminal a line that's kept up to date, elsewhere a line now and then.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from rich.live import Live
from rich.markup import escape

from encke.tools.watch import Recorder, Sample
from encke.tools.watch.samples import rate

from .report import console

KEPT_EVERY = 10.0
"""Seconds between two lines where there's no terminal."""


class Mark(msgspec.Struct, frozen=True):
    """Something began at `time` (seconds since the epoch)."""

    time: float
    what: str


class Course:
    """What is being done."""

    def __init__(self, say: Callable[[str, bool], None], directory: Path) -> None:
        self.marks: list[Mark] = []
        self.notices: list[str] = []
        """What is left out, and why."""
        self.say = say
        """Shows a line; whether it's one to keep (printed), or may be overwritten."""
        self._directory = directory
        self._doing = ""
        self._kept_at = time.monotonic()
        self._before: Sample | None = None

    def place(self, name: str) -> Path:
        """A new directory, which is gone at the end."""
        place = self._directory / name
        place.mkdir()
        return place

    def begin(self, what: str, recorder: Recorder | None = None) -> None:
        """From now on `what` is being done; `recorder` sees how it is right then."""
        self._doing = what
        self.marks.append(Mark(time.time(), what))
        self.say(what, False)
        if recorder is not None:
            recorder.read()

    def done(self, text: str) -> None:
        console.print(escape(text), style="dim", highlight=False, soft_wrap=True)

    def left_out(self, what: str, reason: str | None) -> bool:
        """Whether there is a `reason` to leave it out; then it's said, and kept for the report."""
        text = f"{what}: {reason}."
        if reason and text not in self.notices:
            self.notices.append(text)
            console.print(f"[yellow]Left out:[/] {escape(text)}")
        return bool(reason)

    def show(self, samples: Sequence[Sample]) -> None:
        """A recorder's listener: say how a server is."""
        for sample in samples:
            did = rate(self._before, sample)
            self._before = sample
            if sample.absent:
                continue
            messages = "" if did.messages is None else f"  {did.messages:,.0f} messages/s"
            cpu = "" if did.cpu is None else f"  {did.cpu:.0f} % of a core"
            self.show_line(
                f"{self._doing}: {sample.source} {sample.connections:,} connections  "
                f"{sample.kb / 1024:.1f} MiB{messages}{cpu}"
            )

    def show_line(self, text: str) -> None:
        """Say how it stands; kept now and then."""
        now = time.monotonic()
        keep = now - self._kept_at >= KEPT_EVERY
        self._kept_at = now if keep else self._kept_at
        self.say(text, keep)


@contextmanager
def course() -> Iterator[Course]:
    """The course of one run, with its directory."""
    with TemporaryDirectory(prefix="encke-bench-") as directory:
        place = Path(directory)
        if not console.is_terminal:
            made = Course(lambda text, keep: made.done(text) if keep else None, place)
            yield made
            return
        with Live(console=console, transient=True) as live:
            yield Course(lambda text, _keep: live.update(f"[dim]{escape(text)}"), place)


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


def without_processes(samples: Sequence[Sample]) -> list[Sample]:
    """The samples as results.json has them: each process is in the log."""
    return [msgspec.structs.replace(it, processes=()) for it in samples]
