"""``encke watch``: memory, connections, messages and CPU of servers over time, and the graph.

For programs, such as benchmarks:

>>> with Recorder([ControlPort("127.0.0.1:8001"), Processes(4711, "nchan")], every=5) as recorder:
...     ...                                    # the load
>>> draw(recorder.samples, Path("day.png"), "A day")
>>> slope(recorder.samples_of("encke")).flat
True

In reading order: `samples` (the words), `account` and `trend` (pure), `machine`, `sources` and
`recorder` (read /proc and control ports), `log`, `series`, `plot` and `graph`, `live`, `options`
(the flags), `cli`.

Of matplotlib (`encke[plot]`) only `graph`
knows, and only once something is drawn.
"""

from .plot import draw
from .recorder import Recorder
from .samples import ProcessSample, Reading, Sample
from .sources import ControlPort, Ended, Processes, Source
from .trend import Slope, slope, slopes

__all__ = [
    "ControlPort",
    "Ended",
    "ProcessSample",
    "Processes",
    "Reading",
    "Recorder",
    "Sample",
    "Slope",
    "Source",
    "draw",
    "slope",
    "slopes",
]
