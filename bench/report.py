"""How a benchmark's outcome is shown: a table for people, JSON with every sample.

May import: load.usage.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from .machine import Machine, machine

console = Console(width=None if sys.stdout.isatty() else 100)  # in a log: as wide as our tables


Say = Callable[[str, bool], None]
"""Shows a line; whether it's one to keep (printed), or may be overwritten."""


class Report(msgspec.Struct):
    """What is written as JSON; `options` and `results` are structs of the benchmark."""

    benchmark: str
    machine: Machine
    options: msgspec.Struct
    notices: list[str]
    results: msgspec.Struct


def make(
    benchmark: str, options: msgspec.Struct, notices: list[str], results: msgspec.Struct
) -> Report:
    """A report of this run, on this machine."""
    try:
        encke = version("encke")
    except PackageNotFoundError:
        encke = "unknown"
    return Report(benchmark, machine(encke), options, notices, results)


def write(report: Report, file: Path) -> None:
    """Write `report` to `file` as JSON."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    console.print(f"Written to {escape(str(file))}", style="dim")


def progress(text: str) -> None:
    """Say what is being done, for someone who waits."""
    console.print(escape(text), style="dim", highlight=False, soft_wrap=True)


@contextmanager
def speaker() -> Iterator[Say]:
    """On a terminal one line that's kept up to date; else those to keep."""
    if not console.is_terminal:
        yield lambda text, keep: progress(text) if keep else None
        return
    with Live(console=console, transient=True) as live:

        def say(text: str, _keep: bool) -> None:
            live.update(f"[dim]{escape(text)}")

        yield say


def notice(notices: list[str], text: str) -> None:
    """Say, and keep for the report, that something is left out."""
    if text not in notices:
        notices.append(text)
        console.print(f"[yellow]Left out:[/] {escape(text)}")


def complain(text: str) -> None:
    """Say, on standard error, what went wrong."""
    Console(stderr=True).print(f"[red]Error:[/] {escape(text)}")


def show(report: Report, *tables: Table) -> None:
    """Print the tables, and where and with what they were measured."""
    for table in tables:
        console.print(table)
    console.print(place(report.machine), style="dim", highlight=False, soft_wrap=True)


def place(machine: Machine) -> str:
    """Where, when and with what it was measured."""
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB; "
        f"Linux {machine.kernel}; Python {machine.python}; "
        f"Encke {machine.encke}, commit {machine.commit}; {machine.date}"
    )


def table(title: str, *columns: str) -> Table:
    """A table whose first column is text and whose other columns are figures."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index else "left", overflow="fold")
    return made


def verdict(good: bool) -> str:
    """Whether a budget was met, in colour."""
    return "[green]met[/]" if good else "[red]missed[/]"
