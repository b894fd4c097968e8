"""``python -m bench``: what the server costs, beside others, on this machine.

Exit codes: 0 done, or left out since something lacks that it needs; 1 a message was lost or worse,
or it couldn't be carried out; 2 wrong usage; 130 interrupted.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args

import msgspec
from msgspec.structs import replace

from encke.errors import BadSettings, EnckeError

from . import (
    client,
    cluster,
    cluster_report,
    connect,
    faults,
    friends,
    friends_report,
    hostile,
    memory,
    million,
    million_report,
    report,
    send,
    soak,
    soak_report,
    steady,
)
from .course import Course, course
from .one_core import Lacking
from .options import Options, flags
from .report import Report
from .servers import encke
from .servers.processes import terminable

Its = TypeVar("Its", bound=Options)


class Benchmark:
    """A command; what it says of itself is said where it's `run`."""

    def __init__(
        self, options: type[Its], run: Callable[[Its, Course], Report], *, keeps: bool = False
    ) -> None:
        """With `keeps` it leaves a folder with a report."""
        self.options: type[Options] = options
        self.keeps = keeps
        self.help = (run.__doc__ or "").replace("\n    ", "\n")

        def carry_out(given: Mapping[str, object], course: Course) -> Report:
            told = msgspec.convert(given, options, strict=False)
            found = run(told, course)
            return replace(found, options=found.options or told, notices=course.notices)

        self.carry_out = carry_out
        """Measure. Raises msgspec.ValidationError for the options, EnckeError."""


BENCHMARKS = {
    "send": Benchmark(send.Options, send.run),
    "memory": Benchmark(memory.Options, memory.run),
    "connect": Benchmark(connect.Options, connect.run),
    "client": Benchmark(client.Options, client.run),
    "steady": Benchmark(steady.Options, steady.run),
    "hostile": Benchmark(hostile.Options, hostile.run),
    "faults": Benchmark(faults.Options, faults.run),
    "million": Benchmark(million.Options, million_report.run, keeps=True),
    "soak": Benchmark(soak.Options, soak_report.run, keeps=True),
    "friends": Benchmark(friends.Options, friends_report.run, keeps=True),
    "cluster": Benchmark(cluster.Options, cluster_report.run, keeps=True),
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Encke beside others, on this machine.",
        allow_abbrev=False,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, benchmark in BENCHMARKS.items():
        one = commands.add_parser(
            name,
            help=benchmark.help.partition("\n")[0],
            description=benchmark.help,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for field, meta in flags(benchmark.options):
            kind = get_args(field.type)[0]
            said = f"{meta.description} [{field.default}]"
            flag = f"--{field.name.replace('_', '-')}"
            if kind is bool:
                action = argparse.BooleanOptionalAction
                one.add_argument(flag, action=action, default=argparse.SUPPRESS, help=said)
            else:
                metavar = {int: "N", float: "X", str: "TEXT"}[kind]
                one.add_argument(flag, metavar=metavar, default=argparse.SUPPRESS, help=said)
        _add_common(one, name, keeps=benchmark.keeps)
    return made


def _add_common(one: argparse.ArgumentParser, name: str, *, keeps: bool) -> None:
    one.add_argument(
        "--quick", action="store_true", help="A smoke run of some seconds; its figures mean little."
    )
    one.add_argument(
        "--encke", type=Path, metavar="PATH", help="The `encke` program that serves; else this one."
    )
    if keeps:
        folder = f"Where the report goes. [docs/benchmarks/DATE-{name}; with --quick: nowhere]"
        one.add_argument("--report", type=Path, metavar="DIR", help=folder)
    else:
        kept = "Write machine, options and all samples to this file."
        one.add_argument("--json", type=Path, metavar="FILE", help=kept)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    command = parser()
    given = dict(vars(command.parse_args(arguments)))
    try:
        return _carry_out(given)
    except msgspec.ValidationError as error:
        command.error(str(error).replace("$.", "--"))
    except Lacking as error:
        report.console.print(f"[yellow]Left out:[/] {error}")
        return 0
    except EnckeError as error:
        report.complain(str(error))
        return 2 if isinstance(error, BadSettings) else 1
    except KeyboardInterrupt:
        return 130


def _carry_out(given: "dict[str, object]") -> int:
    name, quick = str(given.pop("command")), bool(given.pop("quick"))
    benchmark = BENCHMARKS[name]
    folder, file, program = (given.pop(it, None) for it in ("report", "json", "encke"))
    if isinstance(program, Path):
        encke.PROGRAM[:] = [str(program)]
    if benchmark.keeps and folder is None and not quick:
        folder = report.default_folder(name)
    if isinstance(folder, Path):
        report.check_before(folder)
    options = {**benchmark.options.QUICK, **given} if quick else given
    with terminable(), course() as doing:
        found = replace(benchmark.carry_out(options, doing), benchmark=name)
        if isinstance(folder, Path):
            report.write(found, folder)
            doing.done(f"The report is in {folder}")
    report.show(found)
    if isinstance(file, Path):
        report.write_json(found, file)
    if found.fault:
        report.complain(found.fault)
    return 1 if found.fault else 0


if __name__ == "__main__":
    sys.exit(main())
