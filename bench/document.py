"""A report that is kept: a folder with Markdown, graphs, and JSON with all that was measured.

    README.md       what was measured, on which machine, budgets, tables, graphs
    results.json    the same in figures, for programs
    *.png *.svg     the graphs; others as the benchmark attaches them

Invariant: nothing half is left. All is made in a directory of its own, and moved into the
folder file by file once it's complete.

May import: load.usage, report; of watch its check for matplotlib, and its log.
"""

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from rich.markup import escape
from rich.table import Table

from encke.errors import EnckeError
from encke.tools.watch import Sample
from encke.tools.watch.log import Log
from encke.tools.watch.plot import check

from . import report
from .machine import Machine
from .processes import BenchError

PAGE, RESULTS = "README.md", "results.json"


class Budget(msgspec.Struct, frozen=True):
    """What was promised of a figure, and what it was; `met` is None if the run can't tell."""

    what: str
    found: str
    limit: str
    met: bool | None


class Grid(msgspec.Struct, frozen=True):
    """A table; its first column is text, the others are figures."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Picture(msgspec.Struct, frozen=True):
    """A graph. `draw` makes the file that it's given, PNG or SVG by its name."""

    name: str
    """Of the file, with .png, which is shown in the page, or .svg, which is linked."""
    caption: str
    draw: Callable[[Path], None]


class Section(msgspec.Struct, frozen=True):
    """A heading and what stands below it: paragraphs of Markdown, tables, graphs."""

    title: str
    blocks: list[str | Grid | Picture]


class Document(msgspec.Struct, frozen=True):
    """A report. `results`, `options` and `notices` are as in report.Report."""

    benchmark: str
    title: str
    summary: str
    """A paragraph of Markdown."""
    options: msgspec.Struct
    notices: list[str]
    results: msgspec.Struct
    budgets: list[Budget]
    sections: list[Section]
    attached: list[Path] = []
    """Files that are copied into the folder."""


class Kept(report.Report):
    """What results.json holds."""

    command: str
    budgets: list[Budget]


def default_folder(benchmark: str) -> Path:
    """Where a report goes if nobody says: by the date."""
    return Path("docs/benchmarks") / f"{datetime.now().astimezone():%Y-%m-%d}-{benchmark}"


def check_before(folder: Path) -> None:
    """Raise now what `write` would raise at the end of a long measurement.

    BenchError: the folder can't be written; NoMatplotlib: how to install it.
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


def write(document: Document, folder: Path) -> None:
    """Write the report into `folder`; files of the same name there are replaced.

    Raises EnckeError if that can't be done.
    """
    made = report.make(document.benchmark, document.options, document.notices, document.results)
    kept = Kept(
        benchmark=made.benchmark,
        machine=made.machine,
        options=made.options,
        notices=made.notices,
        results=made.results,
        command=command_line(),
        budgets=document.budgets,
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as directory:
            new = Path(directory)
            for section in document.sections:
                for block in section.blocks:
                    if isinstance(block, Picture):
                        block.draw(new / block.name)
            for path in document.attached:
                shutil.copy(path, new)
            (new / RESULTS).write_bytes(msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
            (new / PAGE).write_text(markdown(document, made.machine), encoding="utf-8")
            folder.mkdir(exist_ok=True)
            for file in new.iterdir():
                file.chmod(0o644)
                os.replace(file, folder / file.name)
    except OSError as error:
        raise EnckeError(f"The report can't be written to {folder}: {error}.") from None
    report.console.print(f"The report is in {escape(str(folder))}", style="dim")


def memory_log(samples: Sequence[Sample], every: float, directory: Path) -> list[Path]:
    """All samples as a memory log, to be drawn by `encke watch plot`, in `directory`; its files."""
    path = directory / "memory.log"
    log = Log(path, every)
    try:
        log.write(sorted(samples, key=lambda sample: sample.time))
    finally:
        log.close()
    return [path, path.with_name(path.name + ".jsonl")]


def command_line() -> str:
    """How this program was called."""
    return shlex.join(["python", "-m", "bench", *sys.argv[1:]])


def markdown(document: Document, machine: Machine) -> str:
    """The page."""
    parts = [
        f"# {document.title}",
        document.summary,
        f"`{command_line()}`",
        f"{report.place(machine)}. All figures are in [{RESULTS}]({RESULTS}).",
        *(f"Left out: {notice}" for notice in document.notices),
        "## Budgets",
        grid(_budgets(document.budgets)),
    ]
    for section in document.sections:
        parts.append(f"## {section.title}")
        parts.extend(_block(block) for block in section.blocks)
    options = (
        (name, f"`{value}`") for name, value in msgspec.structs.asdict(document.options).items()
    )
    parts += ["## Options", grid(Grid(("option", "value"), list(options)))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: str | Grid | Picture) -> str:
    if isinstance(block, Grid):
        return grid(block)
    if isinstance(block, Picture):
        link = f"[{block.caption}]({block.name})"
        return link if block.name.endswith(".svg") else f"!{link}\n\n{block.caption}"
    return block


def _budgets(budgets: Sequence[Budget]) -> Grid:
    verdicts = {True: "met", False: "**missed**", None: "not judged"}
    rows = [(it.what, it.found, it.limit, verdicts[it.met]) for it in budgets]
    return Grid(("what", "found", "budget", "verdict"), rows)


def grid(table: Grid) -> str:
    """The table in Markdown."""
    rule = ("---", *["---:"] * (len(table.columns) - 1))
    rows = [table.columns, rule, *table.rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
    )


def show(document: Document) -> None:
    """Print what the report says, without its graphs."""
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Grid):
                table = report.table(section.title, *block.columns)
                for row in block.rows:
                    table.add_row(*map(escape, row))
                report.console.print(table)
    report.console.print(budget_table(document.budgets))


def budget_table(budgets: Sequence[Budget]) -> Table:
    """The budgets, to be printed."""
    table = report.table("Budgets", "", "found", "budget", "")
    for budget in budgets:
        verdict = "not judged" if budget.met is None else report.verdict(budget.met)
        table.add_row(escape(budget.what), escape(budget.found), escape(budget.limit), verdict)
    return table
