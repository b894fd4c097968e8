"""The distribution of friends as a graph, with both axes logarithmic.

Import it only when something is to be drawn.
"""

from pathlib import Path

from matplotlib import ticker
from matplotlib.figure import Figure

from ...errors import EnckeError
from ..watch.graph import DPI, SERVER_COLOURS, style
from .degrees import Distribution


def draw(distribution: Distribution, path: Path) -> None:
    """Draw it to `path` (.png or .svg). Raises EnckeError if the file can't be written."""
    with style():
        figure = Figure(figsize=(9, 6), dpi=DPI, layout="constrained")
        figure.suptitle(f"{distribution.total:,} subscriptions", fontsize=13, fontweight="bold")
        place = figure.subplots()
        for (label, degrees), colour in zip(
            (
                ("subscribers of a publisher", distribution.subscribers),
                ("subscriptions of a subscriber", distribution.subscriptions),
            ),
            SERVER_COLOURS,
            strict=False,
        ):
            said = f"{label}: mean {degrees.mean:,.2f}, median {degrees.median:,}, p99 "
            said += f"{degrees.p99:,}, max {degrees.max:,}"
            place.plot(
                [degree for degree, _ in degrees.histogram],
                [users for _, users in degrees.histogram],
                linestyle="",
                marker="o",
                markersize=3,
                markeredgewidth=0,
                alpha=0.7,
                color=colour,
                label=said,
            )
        place.set_xscale("log")
        place.set_yscale("log")
        for axis in (place.xaxis, place.yaxis):
            axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(ticker.NullFormatter())
        place.set_xlabel("how many (log)")
        place.set_ylabel("users who have so many (log)")
        place.legend(loc="lower left", bbox_to_anchor=(0, 1))  # above: it hides no point
        try:
            figure.savefig(path)
        except OSError as error:
            raise EnckeError(f"The graph can't be written: {error}.") from None
