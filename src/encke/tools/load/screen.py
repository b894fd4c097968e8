"""A line on the terminal that's kept up to date, on standard error; elsewhere nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]
"""Shows a line in place of the one before."""


class Rate:
    """How many a second, over the last second or so."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._counted = 0
        self._rate = 0.0

    def of(self, count: int) -> float:
        """The rate, now that there are `count`."""
        seconds = time.monotonic() - self._since
        if seconds >= 1:
            self._rate = (count - self._counted) / seconds
            self._since += seconds
            self._counted = count
        return self._rate


@contextmanager
def live(wanted: bool = True) -> Iterator[Say | None]:
    """What shows the line, or None if nobody would see it.

    What is printed meanwhile stands above the line.
    """
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # only where there's someone to see it
    from rich.live import Live
    from rich.text import Text

    with Live(
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as shown:
        yield lambda text: shown.update(Text(text, style="dim", overflow="ellipsis"), refresh=True)
