"""Does memory grow? The slope of a straight line through the readings, and its noise.

How the noise is determined. A server's memory wavers from reading to reading, and it
goes in steps (an arena is taken, a table doubles), so that neighbouring readings are
alike and the textbook's error of a slope is far too small. So the time is cut into
twelve blocks, and the eleven steps from one block's mean to the next are looked at. Were
memory a random walk with steps of that spread, and without any drift, the line's slope
would still lie within +-noise in 95 of 100 runs: of a random walk whose variance grows
by v an hour, the means of neighbouring blocks differ with the variance 2/3 v x block, and
the slope of the line has the variance 6/5 v / time; the factor is Student's t with 10
degrees of freedom. One step, however large, is thus never growth; steps that keep coming
are. For readings that waver independently the noise is stated too large, never too small.

Pure.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean, linear_regression, stdev

import msgspec

from .samples import Sample

BLOCKS = 12
_T_95 = 2.228  # Student's t, two-sided 95 %, BLOCKS - 2 degrees of freedom


class Slope(msgspec.Struct, frozen=True):
    """Growth in KB (1,024 bytes) an hour, by least squares; true to +-`noise` (95 %).

    `readings` is how many there were, over so many `hours`.
    """

    kb_per_hour: float
    noise: float
    hours: float
    readings: int

    @property
    def flat(self) -> bool:
        """Whether the slope can't be told from none."""
        return abs(self.kb_per_hour) <= self.noise

    def __str__(self) -> str:
        return f"{self.kb_per_hour:+.1f} ± {self.noise:.1f} KB/h"


def slope(samples: Iterable[Sample]) -> Slope:
    """The slope of a server's memory, all of its processes together.

    `samples` are of one source, without its warming up. Raises ValueError for samples
    of several sources, and for less than 12 at different times.
    """
    present = [sample for sample in samples if not sample.absent]
    if len({sample.source for sample in present}) > 1:
        raise ValueError("the slope of samples of several sources means nothing")
    return fit([(sample.time, sample.kb) for sample in present])


def slopes(samples: Iterable[Sample]) -> dict[str, Slope]:
    """The slope of each process that was there, with the same pid, in all of `samples`."""
    present = [sample for sample in samples if not sample.absent]
    points: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for sample in present:
        for process in sample.processes:
            points.setdefault((process.name, process.pid), []).append((sample.time, process.kb))
    whole = {key: series for key, series in points.items() if len(series) == len(present)}
    return {name: fit(series) for (name, _), series in whole.items()}


def fit(points: Sequence[tuple[float, float]]) -> Slope:
    """The slope of `points`: (seconds, KB), in time's order."""
    if len({time for time, _ in points}) < BLOCKS:
        raise ValueError(f"a slope takes at least {BLOCKS} readings at different times")
    hours = [(time - points[0][0]) / 3600 for time, _ in points]
    kb = [value for _, value in points]
    edges = [round(i * len(points) / BLOCKS) for i in range(BLOCKS + 1)]
    blocks = [slice(start, end) for start, end in pairwise(edges)]
    means = [fmean(kb[block]) for block in blocks]
    block = (fmean(hours[blocks[-1]]) - fmean(hours[blocks[0]])) / (BLOCKS - 1)
    spread = stdev(after - before for before, after in pairwise(means))
    return Slope(
        kb_per_hour=linear_regression(hours, kb).slope,
        noise=_T_95 * math.sqrt(6 / 5 * 3 / 2 / BLOCKS) * spread / block,
        hours=hours[-1],
        readings=len(points),
    )
