"""How a benchmark's outcome is shown: a table for people, JSON with every sample.

May import: measure.
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .measure import Machine, machine

console = Console(width=None if sys.stdout.isatty() else 100)  # in a log: as wide as our tables


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
    console.print(escape(text), style="dim", highlight=False)


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
    where = report.machine
    console.print(
        f"{where.cpu}, {where.cores} cores, {where.memory_bytes / 2**30:.0f} GiB; "
        f"Linux {where.kernel}; Python {where.python}; "
        f"Encke {where.encke}, commit {where.commit}; {where.date}",
        style="dim",
        highlight=False,
        soft_wrap=True,
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
