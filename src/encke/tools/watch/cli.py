"""The arguments of ``encke watch``, and what it does with them."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import typer
from rich.console import Console

from ...errors import BadSettings
from ...flags import taking
from ...settings import Settings
from . import log as _log
from .live import Screen
from .options import Plot, Watch
from .plot import check, draw
from .recorder import Recorder
from .samples import Sample
from .sources import ControlPort, Processes, Source

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
@taking(Watch)
def watch(context: typer.Context, asked: Watch) -> None:
    """Watch memory, connections, messages and CPU of a server, or several.

    \b
    encke watch
    encke watch --log encke.log --every 60
    encke watch --control http://127.0.0.1:8001 --name nchan=4711 --plot both.png
    encke watch plot encke.log --out encke.svg

    An Encke node is watched by its control port, any other server by its process id.
    A line of the log: date, epoch, KB (PSS, all of the server's processes), connections,
    messages/s, CPU % of one core, name; separated by tabs. A server that goes away
    leaves a gap and a note. Ctrl-C ends in order, and draws the graph.
    """
    if context.invoked_subcommand is not None:
        return
    if asked.plot is not None:
        check(asked.plot)
    every = min(asked.every, asked.duration or asked.every)
    recorder = Recorder(
        _sources(asked.control, asked.pid, asked.name, asked.api_key),
        every,
        count=int(asked.duration / every + 1e-9) + 1 if asked.duration else None,
        log=asked.log,
    )
    began = time.monotonic()
    shown = _shown(recorder, every, asked.log, asked.json)
    with _terminable(), suppress(KeyboardInterrupt), shown, recorder:
        recorder.wait()
    share = time.process_time() / (time.monotonic() - began)
    _say(f"watching took {share:.2%} of a core.")
    if asked.plot is not None:
        draw(recorder.samples, asked.plot, asked.title, aligned=asked.align)
        _say(f"the graph is in {asked.plot}.")


@app.command("plot")
@taking(Plot)
def plot_(asked: Plot) -> None:
    """Draw a graph of logs, all in the same axes.

    \b
    encke watch plot encke.log --out encke.svg
    encke watch plot monday.log tuesday.log --align --out days.png

    What LOG.jsonl holds beside LOG (each process, messages, CPU) is drawn too.
    """
    check(asked.out)
    read = [_log.read(path) for path in asked.logs]
    logs = zip(asked.logs, read, strict=True)
    samples = [it for path, log in logs for it in _named(path, log, read)]
    machine = " / ".join({log.machine: None for log in read if log.machine}) or "unknown machine"
    draw(samples, asked.out, asked.title, machine=machine, aligned=asked.align)
    _say(f"the graph is in {asked.out}.")


def _named(path: Path, log: _log.Read, logs: Sequence[_log.Read]) -> list[Sample]:
    """The log's samples; a source that other logs have too gets this log's name before its own."""
    others = {it.source for other in logs if other is not log for it in other.samples}
    return [
        msgspec.structs.replace(it, source=f"{path.stem}: {it.source}")
        if it.source in others
        else it
        for it in log.samples
    ]


def _sources(
    controls: Sequence[str], pids: Sequence[int], names: Sequence[str], api_key: str
) -> list[Source]:
    """What the flags name; raises BadSettings, and Ended for a process that isn't there."""
    if not (controls or pids or names):
        controls = [Settings().control]
    sources: list[Source] = []
    for url in controls:
        name = "encke" if len(controls) == 1 else url.partition("://")[2] or url
        sources.append(ControlPort(url, name, api_key))
    sources += [Processes(pid) for pid in pids]
    for text in names:
        name, _, number = text.rpartition("=")
        if not (name and number.isdecimal()) or not name.isprintable():
            raise BadSettings(f"--name {text!r}: it is NAME=PID, as in nchan=4711.")
        sources.append(Processes(int(number), name))
    return sources


@contextmanager
def _shown(recorder: Recorder, every: float, log: Path | None, json: bool) -> Iterator[None]:
    """What is read is printed: a table on a terminal, else lines."""
    if json:
        recorder.listener = _print_json
        yield
    elif sys.stdout.isatty():
        screen = Screen(Console(), every, str(log or ""))
        recorder.listener = screen.show
        with screen:
            yield
    else:
        lines = _log.Lines(every)
        recorder.listener = lambda samples: _print(lines.of(samples))
        yield


def _print_json(samples: Sequence[Sample]) -> None:
    _print("".join(msgspec.json.encode(sample).decode() + "\n" for sample in samples))


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _say(text: str) -> None:
    print(f"encke watch: {text}", file=sys.stderr)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends what is inside as Ctrl-C does: in order, with the graph drawn."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
