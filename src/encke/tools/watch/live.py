"""What is seen while watching: a table with sparklines on a terminal, else plain lines."""

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .log import date
from .samples import Rate, Sample, rate

BARS = "▁▂▃▄▅▆▇█"
FIXED = 62
"""Columns of a row that are no sparklines."""


class Screen:
    """A table on the terminal, renewed with every reading."""

    def __init__(self, console: Console, every: float, log: str) -> None:
        self._every = every
        self._log = log
        self._width = max(4, min(30, (console.width - FIXED) // 4))
        self._history: dict[str, deque[Sample]] = {}
        self._notes: deque[str] = deque(maxlen=5)
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()  # the last table is left standing

    def show(self, samples: Sequence[Sample]) -> None:
        """Show a reading."""
        for sample in samples:
            history = self._history.setdefault(sample.source, deque(maxlen=self._width + 1))
            history.append(sample)
            if sample.note:
                self._notes.append(f"{date(sample.time)[11:19]}  {sample.source}: {sample.note}")
        self._live.update(self._render(), refresh=True)

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False)
        table.add_column("")
        for title in ("memory, MiB", "connections", "messages/s", "CPU, %"):
            table.add_column(title, justify="right")
            table.add_column("", style="cyan")
        for name, history in self._history.items():
            table.add_row(Text(name, style="bold"), *self._cells(list(history)))
        logged = f"; log: {self._log}" if self._log else ""
        footer = Text(f"every {self._every:g} s{logged}; Ctrl-C ends", style="dim")
        return Group(table, *(Text(note, style="yellow") for note in self._notes), footer)

    def _cells(self, history: list[Sample]) -> list[str]:
        rates = [rate(*pair) for pair in zip([None, *history], history, strict=False)]
        if history[-1].absent:
            rates[-1] = Rate()
        memory = [None if it.absent else it.kb / 1024 for it in history]
        connections = [None if it.absent else float(it.connections) for it in history]
        cells: list[str] = []
        for values, digits in (
            (memory, 1),
            (connections, 0),
            ([it.messages for it in rates], 0),
            ([it.cpu for it in rates], 1),
        ):
            last = values[-1]
            cells.append("-" if last is None else f"{last:,.{digits}f}")
            cells.append(sparkline(values[-self._width :]))
        return cells


def sparkline(values: Sequence[float | None]) -> str:
    """A bar for each value, from 0 to the largest; a blank for what isn't known."""
    largest = max((value for value in values if value is not None), default=0.0) or 1.0
    return "".join(
        " " if value is None else BARS[min(int(value / largest * 8), 7)] for value in values
    )
