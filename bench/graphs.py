"""The graphs of the reports, as declarations; each is drawn when the report is written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encke.tools.load.histogram import duration
from encke.tools.load.summary import Durations
from encke.tools.watch import Sample, draw
from encke.tools.watch.samples import by_source

from .growth import Step
from .report import POINTS, Graph, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Lines = dict[str, Callable[[Step], float]]

_MEMORY: Lines = {
    "server, all of it": lambda step: step.opening.bytes_a_stream,
    "server, what came with the streams": lambda step: step.opening.growth_a_stream,
    "kernel, a socket": lambda step: step.opening.kernel.bytes_a_socket,
}
_LATENCY: Lines = {
    "p50": lambda step: step.seen.latency.p50,
    "p99": lambda step: step.seen.latency.p99,
    "max": lambda step: step.seen.latency.max,
}
_OPENED: Lines = {"": lambda step: step.streams / step.opening.seconds}
_CPU: Lines = {"": lambda step: step.sending.server_us}


def over_time(
    name: str, samples: Sequence[Sample], title: str, caption: str = "", *, aligned: bool = False
) -> Graph:
    """Memory, connections, messages and CPU, by `encke watch`."""
    kept = [it for its in by_source(samples).values() for it in thinned(its, POINTS)]
    said = caption or "Memory, connections, messages and CPU, of the server and of each process."
    return Graph(name, said, lambda path: draw(kept, path, title, aligned=aligned))


def growth(steps: Sequence[Step], title: str) -> Graph:
    """Four quantities by the number of streams."""

    def drawn(figure: "Figure") -> None:
        (memory, latency), (opened, cpu) = figure.subplots(2, 2)
        _draw(memory, steps, _MEMORY, "bytes a connection (log)", log=True)
        _draw(latency, steps, _LATENCY, "latency, ms (log)", log=True)
        _draw(opened, steps, _OPENED, "streams opened per second, both ends here")
        _draw(cpu, steps, _CPU, "server's CPU time a message, µs")

    return _graph("growth", "Growth; streams on a logarithmic axis.", title, 7, drawn)


def latencies(name: str, latency: Durations, title: str) -> list[Graph]:
    """The histogram: the share of the messages in each step; nothing if there are none."""

    def drawn(figure: "Figure") -> None:
        from encke.tools.watch.graph import GREY, SERVER_COLOURS

        place = figure.subplots()
        steps = latency.histogram
        shares = [count / latency.count * 100 for _, count in steps]
        bars = place.bar(range(len(steps)), shares, width=0.9, color=SERVER_COLOURS[0])
        place.bar_label(bars, [_share(share) for share in shares], fontsize=8, color=GREY)
        place.set_xticks(range(len(steps)), [f"≤ {duration(bound * 1e6)}" for bound, _ in steps])
        place.set_title(f"% of {latency.count:,} messages;  {latency}")
        place.set_axisbelow(True)
        place.grid(axis="x", visible=False)

    return [_graph(name, f"{title}: latency.", title, 4, drawn)] if latency.count else []


def _graph(
    name: str, caption: str, title: str, height: int, drawn: "Callable[[Figure], None]"
) -> Graph:
    def draw_it(path: Path) -> None:
        from matplotlib.figure import Figure

        from encke.tools.watch.graph import DPI, style

        with style():
            figure = Figure(figsize=(12, height), dpi=DPI, layout="constrained")
            figure.suptitle(title, fontsize=13, fontweight="bold")
            drawn(figure)
            figure.savefig(path)

    return Graph(name, caption, draw_it)


def _draw(
    place: "Axes", steps: Sequence[Step], lines: Lines, title: str, *, log: bool = False
) -> None:
    from matplotlib import ticker

    from encke.tools.watch.graph import SERVER_COLOURS

    sizes = [step.streams for step in steps]
    for (label, of), colour in zip(lines.items(), SERVER_COLOURS, strict=False):
        points = [(step.streams, of(step)) for step in steps if of(step) > 0]
        place.plot(*zip(*points, strict=True), marker="o", color=colour, label=label or None)
    place.set_title(title)
    place.set_xscale("log")
    place.set_xticks(sizes, [f"{size:,}" for size in sizes])
    place.xaxis.set_minor_locator(ticker.NullLocator())
    place.set_xlabel("streams (log)")
    if log:
        place.set_yscale("log")
        place.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        place.yaxis.set_minor_locator(ticker.NullLocator())
    else:
        place.set_ylim(0, 1.1 * place.get_ylim()[1])
    place.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if len(lines) > 1:
        place.legend()


def _share(share: float) -> str:
    return f"{share:.1f}" if share >= 0.1 else f"{share:.0e}" if share < 0.001 else f"{share:.3f}"
