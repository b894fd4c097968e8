"""The graph of samples, as a file: what can be said and refused without matplotlib."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from ...errors import BadSettings, EnckeError
from ...extras import needed
from .machine import this_machine
from .samples import Sample, by_source

FORMATS = (".png", ".svg")


def check(path: Path) -> None:
    """Raise now what `draw` would raise later: BadSettings for the name, MissingExtra."""
    if path.suffix.lower() not in FORMATS:
        raise BadSettings(f"A graph's name ends in .png or .svg, not {path.name!r}.")
    needed("matplotlib")


def draw(
    samples: Sequence[Sample],
    path: Path,
    title: str = "",
    *,
    machine: str = "",
    aligned: bool = False,
) -> None:
    """Draw `samples`, of one source or several, to `path` (.png or .svg).

    `title` is put above, with `machine` (by default this one) and the time. `aligned`:
    each source's time counts from its own first sample, to lay runs upon each other.
    Raises BadSettings if `path` has another suffix or there are no samples,
    MissingExtra, and EnckeError if the file can't be written.
    """
    check(path)
    sources = {
        name: its
        for name, its in by_source(samples).items()
        if not all(sample.absent for sample in its)
    }
    if not sources:
        raise BadSettings("There are no samples to draw.")
    subtitle = f"{machine or this_machine()}  ·  {_span(samples)}"
    if aligned:
        sources = {name: _from_zero(its) for name, its in sources.items()}
    from .graph import Graph, style

    with style():
        figure = Graph(sources, aligned).figure(title, subtitle)
        try:
            figure.savefig(path)
        except OSError as error:
            raise EnckeError(f"The graph can't be written: {error}.") from None


def _from_zero(samples: Sequence[Sample]) -> list[Sample]:
    start = samples[0].time
    return [msgspec.structs.replace(sample, time=sample.time - start) for sample in samples]


def _span(samples: Sequence[Sample]) -> str:
    """From when to when, in this machine's time zone."""
    zone = datetime.now().astimezone().tzinfo
    times = [datetime.fromtimestamp(sample.time, zone) for sample in samples]
    first, last = min(times), max(times)
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {until} {first:%Z}"
