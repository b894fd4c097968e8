"""A report: declared as title, paragraphs, budgets, tables and graphs; built here.

A benchmark's report is a `Report`. `show` prints its tables, `write_json` writes its figures for
programs; `write` makes a folder that is kept:

    README.md       what was measured, on which machine, budgets, tables, graphs
    results.json    the same in figures, with all samples
    *.png           the graphs; and what else the report names

Invariants: nothing half is left, all is made in a directory of its own, and moved into the folder
file by file once it's complete. What is kept stays small: a graph is one PNG of few colours,
`WIDTH` pixels wide, of at most `POINTS` readings, and so is a log.
"""

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Printed

from encke.errors import EnckeError
from encke.tools.watch import Sample
from encke.tools.watch.log import Log
from encke.tools.watch.plot import check
from encke.version import VERSION

from .machine import Machine, machine
from .servers.processes import BenchError

README, RESULTS = "README.md", "results.json"

WIDTH, COLOURS = 1_200, 64
"""Of a graph: pixels, and how many colours it keeps."""

POINTS = 400
"""Readings of a source in a graph: a line has no more than one for three pixels."""

LOGGED = 2_000
"""Readings of processes in a log that is kept, about: each is some 120 bytes."""

console = Console(width=None if sys.stdout.isatty() else 100)  # in a log: as wide as our tables

Cell = str | int
T = TypeVar("T")


class Budget(msgspec.Struct, frozen=True):
    """What was promised of a figure, and what it was; `met` is None if the run can't tell."""

    what: str
    found: str
    limit: str
    met: bool | None


class Table(msgspec.Struct, frozen=True):
    """A table; its first column is text, the others are figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Graph(msgspec.Struct, frozen=True):
    """A graph: `draw` makes a PNG in the file that it's given, whose name is `name`.png."""

    name: str
    caption: str
    draw: Callable[[Path], None]


Block = str | Table | Graph


class Section(msgspec.Struct, frozen=True):
    """A heading and what stands below it: paragraphs of Markdown, tables, graphs."""

    title: str
    blocks: Sequence[Block]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a benchmark has found; `results` is its own struct. Its name, options and notices
    are filled in by who has it run."""

    benchmark: str = ""
    title: str = ""
    summary: str = ""
    """Paragraphs of Markdown."""
    options: msgspec.Struct | None = None
    notices: list[str] = []
    """What was left out, and why."""
    results: msgspec.Struct
    budgets: list[Budget] = []
    sections: list[Section] = []
    attached: Mapping[str, str] = {}
    """Further files of the folder: name, and text."""
    log: list[Sample] = []
    """For a memory log, to be drawn by `encke watch plot`."""
    fault: str = ""
    """What was found that must not be."""


class Kept(msgspec.Struct):
    """What is written as JSON."""

    benchmark: str
    machine: Machine
    command: str
    options: msgspec.Struct | None
    notices: list[str]
    budgets: list[Budget]
    results: msgspec.Struct


# ---- declarations that return often -------------------------------------------------------


def at_most(what: str, found: float, limit: float, said: str, *, judged: bool = True) -> Budget:
    """`said` is the figure's format with its unit: "{:.1f} s"."""
    unit = said.partition("}")[2]
    return Budget(
        what, said.format(found), f"<= {limit:,g}{unit}", found <= limit if judged else None
    )


def none(what: str, found: object) -> Budget:
    """There must be none of it."""
    said = f"{found:,}" if isinstance(found, int) else str(found)
    return Budget(what, said if found else "0", "0", not found)


def table(items: Iterable[T], columns: Mapping[str, Callable[[T], Cell]]) -> Table:
    """A row for each of `items`: what each of the columns makes of it."""
    return Table(list(columns), [[of(it) for of in columns.values()] for it in items])


def facts(*rows: Sequence[Cell], of: Sequence[str] = ("", "")) -> Table:
    """Names and figures, one below the other."""
    return Table(of, rows)


def warned(log: Sequence[str]) -> list[Block]:
    """What a server has complained of in its `log`."""
    lines = "\n".join(f"    {line}" for line in log[:20])
    return [f"The server warned:\n\n{lines}"] if log else []


def thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most so many of them, about, evenly; those with a note, the first and the last stay."""
    step = -(-len(samples) // most)
    last = len(samples) - 1
    return [it for at, it in enumerate(samples) if at % step == 0 or it.note or at == last]


# ---- as a folder ---------------------------------------------------------------------------


def default_folder(benchmark: str) -> Path:
    """Where a report goes if nobody says: by the date."""
    return Path("docs/benchmarks") / f"{datetime.now().astimezone():%Y-%m-%d}-{benchmark}"


def check_before(folder: Path) -> None:
    """Raise now what `write` would raise at the end of a long measurement.

    BenchError: the folder can't be written; MissingExtra: how to install it.
    """
    check(Path("graph.png"))
    try:
        there = folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if not there:
            folder.rmdir()
    except OSError as error:
        raise BenchError(f"No report can be written to {folder} ({error.strerror}).") from None


def write(report: Report, folder: Path) -> None:
    """Write it into `folder`; files of the same name there are replaced. Raises EnckeError."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as directory:
            new = Path(directory)
            for graph in (it for section in report.sections for it in section.blocks):
                if isinstance(graph, Graph):
                    graph.draw(new / f"{graph.name}.png")
                    _shrink(new / f"{graph.name}.png")
            for name, text in report.attached.items():
                (new / name).write_text(text, encoding="utf-8")
            if report.log:
                _log(report.log, new / "memory.log")
            write_json(report, new / RESULTS)
            (new / README).write_text(markdown(report, machine(VERSION)), encoding="utf-8")
            folder.mkdir(exist_ok=True)
            for file in new.iterdir():
                file.chmod(0o644)
                os.replace(file, folder / file.name)
    except OSError as error:
        raise EnckeError(f"The report can't be written to {folder}: {error}.") from None


def write_json(report: Report, file: Path) -> None:
    """Its figures, for programs."""
    kept = Kept(
        report.benchmark, machine(VERSION), command_line(), report.options, report.notices,
        report.budgets, report.results,
    )  # fmt: skip
    file.write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")


def _shrink(file: Path) -> None:
    """Lines and letters in few colours need few bytes."""
    from PIL import Image

    with Image.open(file) as image:
        plain = image.convert("RGB")
    if plain.width > WIDTH:
        plain = plain.resize((WIDTH, plain.height * WIDTH // plain.width), Image.Resampling.LANCZOS)
    method = Image.Quantize.FASTOCTREE  # others mix a thin line's colour with its neighbours'
    plain.quantize(COLOURS, method, dither=Image.Dither.NONE).save(file, optimize=True)


def _log(samples: Sequence[Sample], path: Path) -> None:
    """The samples as a memory log and its companion, thinned to what is worth keeping."""
    ordered = sorted(samples, key=lambda sample: sample.time)
    processes = sum(len(sample.processes) for sample in ordered) // len(ordered)
    kept = thinned(ordered, max(50, LOGGED // max(1, processes)))
    span = ordered[-1].time - ordered[0].time
    log = Log(path, round(span / len(kept), 1))
    try:
        log.write(kept)
    finally:
        log.close()


def command_line() -> str:
    """How this program was called."""
    return shlex.join(["python", "-m", "bench", *sys.argv[1:]])


def place(machine: Machine) -> str:
    """Where, when and with what it was measured."""
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB; "
        f"Linux {machine.kernel}; Python {machine.python}; "
        f"Encke {machine.encke}, commit {machine.commit}; {machine.date}"
    )


def markdown(report: Report, machine: Machine) -> str:
    """The page."""
    parts = [
        f"# {report.title}",
        report.summary,
        f"`{command_line()}`",
        f"{place(machine)}. All figures are in [{RESULTS}]({RESULTS}).",
        *(f"Left out: {notice}" for notice in report.notices),
        "## Budgets",
        grid(_budgets(report.budgets)),
    ]
    for section in report.sections:
        parts.append(f"## {section.title}")
        parts.extend(map(_block, section.blocks))
    options = msgspec.structs.asdict(report.options).items() if report.options else ()
    parts += ["## Options", grid(Table(("option", "value"), [(k, f"`{v}`") for k, v in options]))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Table):
        return grid(block)
    if isinstance(block, Graph):
        return f"![{block.caption}]({block.name}.png)\n\n{block.caption}"
    return block


def _budgets(budgets: Sequence[Budget]) -> Table:
    verdicts = {True: "met", False: "**missed**", None: "not judged"}
    rows = [(it.what, it.found, it.limit, verdicts[it.met]) for it in budgets]
    return Table(("what", "found", "budget", "verdict"), rows)


def grid(table: Table) -> str:
    """The table in Markdown."""
    rule = ("---", *["---:"] * (len(table.columns) - 1))
    rows = [table.columns, rule, *table.rows]
    return "\n".join(
        "| " + " | ".join(_said(cell).replace("|", "\\|") for cell in row) + " |" for row in rows
    )


def _said(cell: Cell) -> str:
    return f"{cell:,}" if isinstance(cell, int) else cell


# ---- on the terminal -----------------------------------------------------------------------

_COLOURED = {"met": "[green]met[/]", "**missed**": "[red]missed[/]", "all": "[green]all[/]"}


def show(report: Report) -> None:
    """Print the tables, and where and with what they were measured."""
    for section in report.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                show_table(section.title, block)
    if report.budgets:
        show_table("Budgets", _budgets(report.budgets))
    console.print(place(machine(VERSION)), style="dim", highlight=False, soft_wrap=True)


def show_table(title: str, table: Table) -> None:
    """Print a table."""
    made = Printed(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, column in enumerate(table.columns):
        made.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in table.rows:
        made.add_row(*(_COLOURED.get(said := _said(cell), escape(said)) for cell in row))
    console.print(made)


def verdict(good: bool) -> str:
    """Whether a budget was met."""
    return "met" if good else "**missed**"


def complain(text: str) -> None:
    """Say, on standard error, what went wrong."""
    Console(stderr=True).print(f"[red]Error:[/] {escape(text)}")
