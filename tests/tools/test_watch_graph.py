"""``encke watch``: recording, the log's format, the graph, and the command itself."""

import itertools
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from system.node import PATIENCE, Node, until

from encke import cli
from encke.errors import BadSettings, EnckeError, MissingExtra, Unreachable
from encke.tools.watch import (
    ControlPort,
    Ended,
    Processes,
    ProcessSample,
    Reading,
    Recorder,
    Sample,
    Source,
    draw,
    graph,
    log,
    series,
)
from encke.tools.watch.live import sparkline

WATCH = [sys.executable, "-m", "encke", "watch"]
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d\t\d+\t\d+\t\d+\t(-|\d+\.\d)\t(-|\d+\.\d)\t[^\t]+"
)
ARTICLE = (
    "Thu Oct 16 01:00:00 BST 2008\t1224115200\t 8120\t0\n"
    "Thu Oct 16 01:01:00 BST 2008\t1224115260\t86132\t10000\n"
)


class Scripted:
    """A source that tells, or raises, one thing after the other; then it has ended."""

    def __init__(self, name: str, *script: Reading | EnckeError) -> None:
        self.name = name
        self._script: Iterator[Reading | EnckeError] = iter(script)

    def read(self) -> Reading:
        said = next(self._script, Ended("it has ended"))
        if isinstance(said, EnckeError):
            raise said
        return said


def reading(kb: int, delivered: int | None = None, pid: int = 7, cpu: float = 0.0) -> Reading:
    processes = (
        ProcessSample("gateway-0", pid, kb, 5, cpu),
        ProcessSample("router", 8, 90, 0, cpu),
    )
    return Reading(processes, 5, delivered)


def story(source: str = "encke", start: float = 1_795_000_000, kb: int = 40_000) -> list[Sample]:
    """Ten minutes of a server that was away for one, and lost a process."""
    samples = []
    for i in range(60):
        at = start + i * 10
        if 20 <= i < 26:
            note = "No control port answers." if i == 20 else ""
            samples.append(Sample(source=source, time=at, absent=True, note=note))
            continue
        processes = [
            ProcessSample("router", 1, kb // 2, 0, i * 0.5),
            *(ProcessSample(f"gateway-{n}", 10 + n, kb // 20, 100 * i, i * 1.0) for n in range(10)),
        ]
        samples.append(
            Sample(
                source=source,
                time=at,
                kb=kb,
                connections=1000 * i,
                cpu_seconds=i * 10.5,
                delivered=i * 10_000,
                processes=tuple(processes),
                note="gateway-3 (pid 13) replaced by 99" if i == 40 else "",
            )
        )
    return samples


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*WATCH, *arguments], capture_output=True, text=True, timeout=PATIENCE)


# Recording


def test_a_recording_has_gaps_and_goes_on() -> None:
    """A server that is away is a gap with one note; when all has ended, so has the recording."""
    away = Unreachable("No answer.")
    steady = Scripted("nchan", *[reading(50)] * 4)
    script = Scripted("encke", reading(10, 0), away, away, reading(30, 6))
    with Recorder([script, steady], every=0.01) as recorder:
        assert recorder.wait(PATIENCE)
    its = recorder.samples_of("encke")
    assert [(it.absent, it.kb) for it in its[:4]] == [
        (False, 100), (True, 0), (True, 0), (False, 120),
    ]  # fmt: skip
    notes = [it.note for it in its]
    assert notes[1:3] == ["No answer.", ""]
    assert notes[3].startswith("back after")
    assert notes[4] == "it has ended"
    assert [it.kb for it in recorder.samples_of("nchan")[:4]] == [140] * 4
    assert recorder.cpu_seconds > 0


def test_a_recording_needs_a_start() -> None:
    """Who can't be read at the beginning was named wrongly, and that is an error."""
    with pytest.raises(Unreachable), Recorder([Scripted("encke", Unreachable("No answer."))]):
        pass
    with pytest.raises(BadSettings), Recorder([]):
        pass
    with pytest.raises(BadSettings, match="name"):
        Recorder([Scripted("a"), Scripted("a")])


def test_a_recording_that_fails_says_so(tmp_path: Path) -> None:
    """What goes wrong in the recorder's thread is raised when the block is left."""

    def broken(samples: object) -> None:
        if next(calls):
            raise EnckeError("The disk is full.")

    calls = itertools.count()
    recorder = Recorder([Scripted("encke", *[reading(1)] * 9)], every=0.01)
    recorder.listener = broken
    with pytest.raises(EnckeError, match="disk is full"), recorder:
        assert recorder.wait(PATIENCE)
    with (
        pytest.raises(EnckeError, match="can't be written"),
        Recorder([Scripted("encke", reading(1))], log=tmp_path / "no" / "where.log"),
    ):
        pass


class Interrupted(Recorder):
    """Ctrl-C comes when its thread has just begun."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "_running" and value is not None:
            raise KeyboardInterrupt
        super().__setattr__(name, value)


def test_ctrl_c_when_a_recording_has_just_begun() -> None:
    """Interrupted at the very beginning it leaves no thread that would go on for ever."""
    with pytest.raises(KeyboardInterrupt), Interrupted([Scripted("a", reading(1))], every=1000):
        pass
    assert not [it for it in threading.enumerate() if it.name.startswith("watch")]


def test_a_count_of_readings() -> None:
    """After so many readings the recording ends; `read` makes one now, whatever the period."""
    with Recorder([Scripted("a", *[reading(1)] * 9)], every=0.01, count=3) as recorder:
        assert recorder.wait(PATIENCE)
    assert len(recorder.samples) == 3
    with Recorder([Scripted("a", *[reading(1)] * 9)], every=1000) as recorder:
        [sample] = recorder.read()
        assert recorder.samples[-1] == sample
    assert len(recorder.samples) == 2


def test_a_recording_left_when_a_reading_is_due() -> None:
    """Whoever leaves just as the next reading begins waits for it, and gets no error."""
    for _ in range(100):
        with Recorder([Scripted("a", *[reading(1)] * 99)], every=0.0001) as recorder:
            recorder.read()
        assert not any(sample.absent for sample in recorder.samples)


def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    """A node that is restarted on its ports, watched by control port and by pid."""
    with Node("--gateways", "1") as node:
        control = "{}:{}".format(*node.control)
        sources: list[Source] = [ControlPort(control), Processes(node.pid, "by pid")]
        with Recorder(sources, every=0.05, log=tmp_path / "log") as recorder:
            node.stop()
            until(
                lambda: (
                    any(it.absent for it in recorder.samples_of("encke"))
                    and any(it.absent for it in recorder.samples_of("by pid"))
                ),
                "its absence is seen",
            )
            with Node("--gateways", "1", "--control", control):
                until(lambda: not recorder.samples_of("encke")[-1].absent, "it is seen again")
    notes = [it.note for it in recorder.samples if it.note]
    assert f"process {node.pid} has ended" in notes
    assert any(note.startswith("back after") and "anew" in note for note in notes)
    text = (tmp_path / "log").read_text()
    assert f"by pid: process {node.pid} has ended" in text


# The log


def test_the_format_of_the_log(tmp_path: Path) -> None:
    """Date, epoch, KB, connections, and then more, with tabs; all else is a comment."""
    path = tmp_path / "encke.log"
    script = Scripted("encke", reading(10, 0), reading(12, 50, pid=9, cpu=1.0), Unreachable("No."))
    with Recorder([script], every=0.01, count=3, log=path) as recorder:
        recorder.wait(PATIENCE)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# encke watch, every 0.01 s, on ")
    assert lines[1] == "# date\tepoch\tKB\tconnections\tmessages/s\tCPU %\tsource"
    first, second = (line for line in lines if not line.startswith("#"))
    assert LINE.fullmatch(first)
    assert LINE.fullmatch(second)
    assert first.split("\t")[2:] == ["100", "5", "-", "-", "encke"]
    assert first.split("\t")[1] == str(int(recorder.samples[0].time))
    assert second.split("\t")[2:4] == ["102", "5"]
    assert float(second.split("\t")[4]) > 0
    notes = [line for line in lines[2:] if line.startswith("#")]
    assert notes[0].endswith("\tencke: gateway-0 (pid 7) replaced by 9")
    assert notes[1].endswith("\tencke: No.")
    whole = [
        msgspec.json.decode(line, type=Sample)
        for line in log.companion(path).read_bytes().splitlines()
    ]
    assert whole == recorder.samples
    assert log.read(path).samples == recorder.samples


def test_the_dates_of_the_log() -> None:
    """The date is the epoch, in this machine's time zone."""
    stamp = time.strptime(log.date(1_795_000_000.9), "%Y-%m-%dT%H:%M:%S%z")
    assert time.mktime(stamp) == 1_795_000_000


def test_reading_logs(tmp_path: Path) -> None:
    """The article's own logs can be read, and half a line of a watcher that was killed."""
    path = tmp_path / "mochimem.log"
    path.write_text(ARTICLE)
    assert [(it.source, it.time, it.kb, it.connections) for it in log.read(path).samples] == [
        ("mochimem", 1_224_115_200, 8120, 0),
        ("mochimem", 1_224_115_260, 86_132, 10_000),
    ]
    log.companion(path).write_bytes(msgspec.json.encode(story()[0]) + b'\n{"source":"enc')
    assert log.read(path).samples == story()[:1]
    for text in ("", "something else\n", "a\tb\tc\td\n"):
        other = tmp_path / "other"
        other.write_text(text)
        with pytest.raises(EnckeError, match="no readings"):
            log.read(other)
    with pytest.raises(EnckeError, match="can't be read"):
        log.read(tmp_path / "none")


# The graph


def test_lines_are_broken_where_nothing_is_known() -> None:
    """While a server was away, and while nobody watched, the graph shows nothing."""
    samples = story()
    lines = series.of_server(samples)
    unknown = [math.isnan(value) for value in lines[series.Quantity.MEMORY].values]
    assert unknown == [it.absent for it in samples]
    rates = lines[series.Quantity.MESSAGES].values
    assert rates[1] == 1000
    assert math.isnan(rates[26])  # the first one back has nothing to count from
    seen = [*samples[:20], *samples[26:30], *samples[50:]]
    assert len(series.of_server(seen)[series.Quantity.MEMORY].times) == len(seen) + 2
    processes = series.of_processes(samples)
    assert set(processes) == {"router", *(f"gateway-{n}" for n in range(10))}
    assert processes["router"][series.Quantity.CPU].largest == pytest.approx(5)


def test_png(tmp_path: Path) -> None:
    """A graph of two servers is a PNG of 1,800 pixels' width."""
    path = tmp_path / "graph.png"
    draw([*story(), *story("nchan", kb=90_000)], path, "Two servers")
    png = path.read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(png[16:20], "big") == graph.WIDTH * graph.DPI
    assert int.from_bytes(png[20:24], "big") > 1000


def test_svg(tmp_path: Path) -> None:
    """Title, machine, quantities with units, servers, processes and notes are told in it."""
    path = tmp_path / "graph.svg"
    draw([*story(), *story("nchan", kb=90_000)], path, "Two servers for $5 or $6")
    text = [element.text for element in ET.parse(path).iter() if element.text]
    told = "\n".join(text)
    assert "Two servers for $5 or $6" in text
    for quantity in series.Quantity:
        assert text.count(quantity.value) == 1 + 2 * (quantity is not series.Quantity.MESSAGES)
    assert "encke: at most 39.1 MiB, 59,000 connections" in text
    assert "nchan: at most 87.9 MiB, 59,000 connections" in text
    assert "encke: each process" in text
    assert text.count("gateway (10)") == text.count("router") == 2
    assert "gateway-3 (pid 13) replaced by 99" in told
    assert re.search(r"Linux .* · {2}2026-11-18", told)


def test_many_notes(tmp_path: Path) -> None:
    """Of very many notes the first ones are told, and that there are more."""
    samples = [
        Sample(source="encke", time=i, kb=1, note="again" if 0 < i <= graph.NOTES + 3 else "")
        for i in range(30)
    ]
    draw(samples, tmp_path / "notes.svg")
    text = [element.text for element in ET.parse(tmp_path / "notes.svg").iter() if element.text]
    assert len([line for line in text if line.endswith("encke: again")]) == graph.NOTES
    assert "and 3 more" in text


def test_a_single_sample(tmp_path: Path) -> None:
    """Even one sample makes a graph; none does not."""
    draw(story()[:1], tmp_path / "one.png")
    never = Sample(source="gone", time=1_795_000_000, absent=True, note="No answer.")
    draw([*story(), never], tmp_path / "gone.png")
    with pytest.raises(BadSettings, match="no samples"):
        draw([], tmp_path / "none.png")
    with pytest.raises(EnckeError, match="can't be written"):
        draw(story(), tmp_path / "no" / "where.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what to install; and before anything is watched."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'encke\[plot\]'"):
        draw(story(), tmp_path / "graph.png")
    assert cli.run(["watch", "--pid", str(os.getpid()), "--plot", str(tmp_path / "a.png")]) == 1
    assert list(tmp_path.iterdir()) == []


def test_sparklines() -> None:
    """From 0 to the largest; what isn't known is blank."""
    assert sparkline([0, 1, 2, 4, None, 8]) == "▁▂▃▅ █"
    assert sparkline([0.0, None]) == "▁ "
    assert sparkline([]) == ""


# The command


def test_the_command(server: Node, tmp_path: Path) -> None:
    """A node and a process together: lines as in the log, files, and a graph at the end."""
    at = "http://{}:{}".format(*server.control)
    done = run(
        "--control", at, "--name", f"myself={os.getpid()}", "--every", "0.1", "--duration", "0.3",
        "--log", str(tmp_path / "a.log"), "--plot", str(tmp_path / "a.svg"), "--title", "A try",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(lines) == 8
    assert all(LINE.fullmatch(line) for line in lines)
    assert [line.split("\t")[6] for line in lines] == ["encke", "myself"] * 4
    assert (tmp_path / "a.log").read_text() == done.stdout
    assert "watching took" in done.stderr
    text = [element.text for element in ET.parse(tmp_path / "a.svg").iter() if element.text]
    assert "A try" in text
    assert {"encke: each process", "myself: each process", "supervisor", "control"} <= set(text)


def test_json() -> None:
    """With --json each sample is a line that a program can read."""
    done = run("--pid", str(os.getpid()), "--every", "0.1", "--duration", "0.1", "--json")
    first, second = (
        msgspec.json.decode(line, type=Sample) for line in done.stdout.encode().splitlines()
    )
    assert first.source == second.source
    assert first.source.endswith(f" {os.getpid()}")
    assert second.time > first.time
    assert second.processes[0].pid == os.getpid()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end it without a fuss, and the graph is drawn."""
    graph = tmp_path / "graph.png"
    watching = subprocess.Popen(
        [*WATCH, "--pid", str(os.getpid()), "--every", "0.1", "--plot", str(graph)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    while watching.stdout.readline().startswith("#"):
        pass
    watching.send_signal(number)
    _, complaints = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 0, complaints
    assert "Traceback" not in complaints
    assert graph.read_bytes().startswith(b"\x89PNG")


def test_drawing_logs(tmp_path: Path) -> None:
    """Several logs in one graph; sources of the same name are told apart by their logs' names."""
    paths = [tmp_path / "monday.log", tmp_path / "tuesday.log", tmp_path / "mochimem.log"]
    for day, path in enumerate(paths[:2]):
        writing = log.Log(path, 10)
        writing.write(story(start=1_795_000_000 + day * 86_400))
        writing.close()
    paths[2].write_text(ARTICLE)
    out = tmp_path / "days.svg"
    arguments = ["watch", "plot", *map(str, paths), "--out", str(out), "--title", "Days", "--align"]
    assert cli.run(arguments) == 0
    text = [element.text for element in ET.parse(out).iter() if element.text]
    assert {"monday: encke: each process", "tuesday: encke: each process"} <= set(text)
    assert "mochimem: at most 84.1 MiB, 10,000 connections" in text
    assert "minutes since its start" in text


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--name", "nchan"], 2, "NAME=PID"),
        (["--name", "a=b"], 2, "NAME=PID"),
        (["--pid", "1", "--name", f"a={os.getpid()}", "--plot", "x.pdf"], 2, ".png or .svg"),
        (["--pid", str(2**22 + 1)], 1, "no process"),
        (["--control", "127.0.0.1:1"], 69, "encke serve"),
        (["--every", "0"], 2, "every"),
        (["plot", "none.log", "--out", "x.png"], 1, "can't be read"),
        (["plot", "none.log"], 2, "--out"),
    ],
)
def test_wrong_usage(
    arguments: list[str], code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong argument is one line that says what's wrong, and the exit code says whose fault."""
    assert cli.run(["watch", *arguments]) == code
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
