"""Draws the graph, with matplotlib.

Above, the servers side by side in the same axes; below, a row for each server with a
line for each of its processes. Axes of quantities begin at 0, so that flat looks flat.
Colours are told apart by the colour-blind too: Okabe and Ito's for servers, Tol's
muted ones for processes. Nothing of matplotlib's global state is used, but its settings.

Import it only when something is to be drawn.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, tzinfo

import msgspec
from matplotlib import dates, rc_context, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from . import series
from .samples import Sample
from .series import Line, Lines, Quantity

GREY = "#444444"

SERVER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
PROCESS_COLOURS = (
    "#332288", "#CC6677", "#117733", "#88CCEE", "#AA4499", "#999933", "#882255", "#DDCC77",
)  # fmt: skip

WIDTH, DPI = 12.0, 150
"""Inches and dots an inch: sharp at 1,800 pixels, readable at 1,200."""

HEAD, OVERVIEW, ROW, NOTE = 0.5, 5.0, 2.4, 0.17
"""Height in inches of subtitle and legend, of the upper part, of a server's row, of a note."""

NOTES = 8
"""Notes that are told below the graph; further ones are only marked."""


class Note(msgspec.Struct, frozen=True):
    """Something that happened: its mark in the graph, and what is said of it below."""

    time: float
    source: str
    text: str


def style() -> AbstractContextManager[None]:
    """Inside, a graph is to be made, and saved."""
    return rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 9.5,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#E4E4E4",
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.4,
            "path.simplify_threshold": 0.5,  # of a pixel: a smaller file
            "legend.frameon": False,
            "text.parse_math": False,  # a name may hold a $
            "svg.fonttype": "none",  # text stays text: small, searchable
        }
    )


class Graph:
    """Draws one graph."""

    def __init__(self, sources: Mapping[str, Sequence[Sample]], aligned: bool) -> None:
        self._sources = sources
        self._aligned = aligned
        self._servers = {name: series.of_server(its) for name, its in sources.items()}
        processes = {name: series.of_processes(its) for name, its in sources.items()}
        self._processes = {name: its for name, its in processes.items() if _drawn(its)}
        self._notes = sorted(
            (
                Note(sample.time, name, sample.note)
                for name, its in sources.items()
                for sample in its
                if sample.note
            ),
            key=lambda note: note.time,
        )
        times = [sample.time for its in sources.values() for sample in its]
        self._start, self._end = min(times), max(times)

    def figure(self, title: str, subtitle: str) -> Figure:
        rows = len(self._processes)
        said = min(len(self._notes), NOTES + 1)
        heights = [HEAD, OVERVIEW, *[ROW] * rows]
        figure = Figure(
            figsize=(WIDTH, sum(heights) + HEAD + NOTE * said), dpi=DPI, layout="constrained"
        )
        figure.suptitle(title or " and ".join(self._sources), fontsize=13, fontweight="bold")
        head, overview, *parts = figure.subfigures(
            len(heights), 1, height_ratios=heights, squeeze=False
        )[:, 0]
        self._head(head, subtitle)
        self._overview(overview)
        for part, (name, lines) in zip(parts, self._processes.items(), strict=True):
            self._row(part, name, lines)
        if self._notes:
            figure.supxlabel(self._told(), x=0.01, ha="left", fontsize=8, color=GREY)
        return figure

    def _head(self, part: SubFigure, subtitle: str) -> None:
        part.text(0.5, 1, subtitle, ha="center", va="top", color=GREY)
        handles = [
            _handle(_colour(number), _headline(name, lines))
            for number, (name, lines) in enumerate(self._servers.items())
        ]
        part.legend(handles=handles, loc="lower center", ncols=min(len(handles), 3))

    def _overview(self, part: SubFigure) -> None:
        """All servers, a quantity an axes."""
        drawn = [q for q in Quantity if any(q in lines for lines in self._servers.values())]
        axes = part.subplots(-(-len(drawn) // 2), 2, squeeze=False).flatten()
        for place, quantity in zip(axes, drawn, strict=False):
            for number, lines in enumerate(self._servers.values()):
                if quantity in lines:
                    self._line(place, lines[quantity], _colour(number))
            self._finish(place, quantity)
            self._mark(place, self._notes, numbered=True)
        for place in axes[len(drawn) :]:
            place.remove()

    def _row(self, part: SubFigure, name: str, processes: Mapping[str, Lines]) -> None:
        """The processes of one server, a quantity an axes. Many of a kind share a colour."""
        kinds: dict[str, list[str]] = {}
        apart = len(processes) <= len(PROCESS_COLOURS)
        for process in processes:
            kinds.setdefault(process if apart else series.kind(process), []).append(process)
        colours = {kind: PROCESS_COLOURS[i % len(PROCESS_COLOURS)] for i, kind in enumerate(kinds)}
        drawn = _drawn(processes)
        part.suptitle(f"{name}: each process", x=0.01, ha="left", fontsize=10, fontweight="bold")
        for place, quantity in zip(
            part.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True
        ):
            for kind, members in kinds.items():
                faint = 0.35 if len(members) > 4 else 1.0
                for member in (it for it in members if processes[it][quantity].largest):
                    self._line(place, processes[member][quantity], colours[kind], faint)
            self._finish(place, quantity)
            self._mark(place, [note for note in self._notes if note.source == name])
        labels = {k: k if len(names) == 1 else f"{k} ({len(names)})" for k, names in kinds.items()}
        part.legend(
            handles=[_handle(colours[kind], label) for kind, label in labels.items()],
            loc="outside right upper",
        )

    def _line(self, place: Axes, line: Line, colour: str, faint: float = 1.0) -> None:
        times = [self._moment(time) for time in line.times]
        width = 1.4 if faint == 1.0 else 0.8
        place.plot(times, line.values, color=colour, alpha=faint, linewidth=width)

    def _finish(self, place: Axes, quantity: Quantity) -> None:
        place.set_title(quantity.value)
        place.set_ylim(bottom=0, top=max(1.1 * place.get_ylim()[1], 1))
        place.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
        place.yaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        start, end = self._moment(self._start), self._moment(self._end)
        if self._end > self._start:
            place.set_xlim(start, end)
        if self._aligned:
            place.set_xlabel(f"{_unit(self._end)[0]} since its start")
            return
        locator = dates.AutoDateLocator(minticks=3, maxticks=6, tz=zone())  # type: ignore[no-untyped-call]
        place.xaxis.set_major_locator(locator)
        place.xaxis.set_major_formatter(
            dates.DateFormatter(_clock(self._end - self._start), tz=zone())  # type: ignore[no-untyped-call]
        )

    def _mark(self, place: Axes, notes: Sequence[Note], *, numbered: bool = False) -> None:
        """A dotted line where something happened, with the note's number in the list below."""
        for number, note in enumerate(notes, 1):
            moment = self._moment(note.time)
            place.axvline(moment, color=GREY, linewidth=0.7, linestyle=":")
            if numbered and number <= NOTES:
                place.annotate(
                    f" {number}", (moment, 1), xycoords=("data", "axes fraction"),
                    fontsize=7, color=GREY, va="top",
                )  # fmt: skip

    def _moment(self, time: float) -> float:
        """Where `time` is on the axis; matplotlib's dates are days since 1970."""
        return time / (_unit(self._end)[1] if self._aligned else 86_400)

    def _told(self) -> str:
        lines = [
            f"{number}  {self._stamp(note.time)}  {note.source}: {note.text}"
            for number, note in enumerate(self._notes[:NOTES], 1)
        ]
        more = len(self._notes) - NOTES
        return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)

    def _stamp(self, time: float) -> str:
        if self._aligned:
            unit, seconds = _unit(self._end)
            return f"{time / seconds:.1f} {unit}"
        return f"{datetime.fromtimestamp(time, zone()):%H:%M:%S}"


def _handle(colour: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, linewidth=2.5, label=label)


def _drawn(processes: Mapping[str, Lines]) -> list[Quantity]:
    """What there is to see of any of them."""
    return [it for it in Quantity if any(lines[it].largest for lines in processes.values())]


def _colour(number: int) -> str:
    return SERVER_COLOURS[number % len(SERVER_COLOURS)]


def _headline(name: str, lines: Lines) -> str:
    memory = lines[Quantity.MEMORY].largest
    connections = lines[Quantity.CONNECTIONS].largest
    return f"{name}: at most {memory:,.1f} MiB, {connections:,.0f} connections"


def _unit(seconds: float) -> tuple[str, float]:
    """The unit for so long a time."""
    if seconds <= 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds <= 3 * 3600 else ("hours", 3600.0)


def _clock(seconds: float) -> str:
    """How moments are written on the axis of so long a time."""
    if seconds <= 300:
        return "%H:%M:%S"
    return "%H:%M" if seconds <= 2 * 86_400 else "%m-%d %H:%M"


def zone() -> tzinfo | None:
    """This machine's time zone."""
    return datetime.now().astimezone().tzinfo
