"""The memory log: a line a period and source, tab-separated, as in the article.

    # encke watch, every 10 s, on AMD EPYC, 2 cores, 24 GiB, Linux 6.18.44
    # date	epoch	KB	connections	messages/s	CPU %	source
    2026-11-23T10:00:00+00:00	1795428000	39828	10000	998.7	12.4	encke
    # 2026-11-23T10:00:10+00:00	1795428010	encke: gateway-0 (pid 12) replaced by 17

Its first four columns are the article's: gnuplot draws ``using 2:3`` from either. What
can't be known (messages of a foreign server; rates in the first line) is a ``-``. What
happened is a comment. Beside it LOG.jsonl holds the samples whole, with each process:
`read` takes them from there; without it, memory and connections from the lines.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

import msgspec

from ...errors import EnckeError
from .machine import this_machine
from .samples import Rate, Sample, rate

COLUMNS = ("date", "epoch", "KB", "connections", "messages/s", "CPU %", "source")

_HEAD = re.compile(r"# encke watch, .*?\bon (?P<machine>.+)")


def head(every: float) -> str:
    """The lines that a run of the watcher begins with."""
    columns = "\t".join(COLUMNS)
    return f"# encke watch, every {every:g} s, on {this_machine()}\n# {columns}\n"


def lines(sample: Sample, rate: Rate) -> str:
    """What the log says of `sample`; `rate` is that since the sample before."""
    stamp = f"{date(sample.time)}\t{int(sample.time)}"
    text = f"# {stamp}\t{sample.source}: {sample.note}\n" if sample.note else ""
    if sample.absent:
        return text
    messages = "-" if rate.messages is None else f"{rate.messages:.1f}"
    cpu = "-" if rate.cpu is None else f"{rate.cpu:.1f}"
    return f"{text}{stamp}\t{sample.kb}\t{sample.connections}\t{messages}\t{cpu}\t{sample.source}\n"


def date(seconds: float) -> str:
    """`seconds` since the epoch in this machine's time zone, to the second (ISO 8601)."""
    return datetime.fromtimestamp(int(seconds)).astimezone().isoformat()


class Lines:
    """Makes lines of samples: the head first; and remembers the sample before, for the rates."""

    def __init__(self, every: float) -> None:
        self._head = head(every)
        self._last: dict[str, Sample] = {}

    def of(self, samples: Iterable[Sample]) -> str:
        """The lines that say `samples`."""
        text, self._head = self._head, ""
        for sample in samples:
            text += lines(sample, rate(self._last.get(sample.source), sample))
            self._last[sample.source] = sample
        return text


class Log:
    """The files `path` and `path`.jsonl, appended to. Raises EnckeError if they can't be."""

    def __init__(self, path: Path, every: float) -> None:
        self._lines = Lines(every)
        try:
            self._text: TextIOWrapper = path.open("a", encoding="utf-8")
            self._whole: BinaryIO = companion(path).open("ab")
        except OSError as error:
            raise EnckeError(f"The log can't be written: {error}.") from None

    def write(self, samples: Iterable[Sample]) -> None:
        """Append `samples`; who reads the files sees them at once."""
        try:
            self._text.write(self._lines.of(samples))
            self._text.flush()
            for sample in samples:
                self._whole.write(msgspec.json.encode(sample) + b"\n")
            self._whole.flush()
        except OSError as error:
            raise EnckeError(f"The log can't be written: {error}.") from None

    def close(self) -> None:
        """Close both files."""
        self._text.close()
        self._whole.close()


class Read(msgspec.Struct):
    """What a log holds: samples of all its sources, and the machine, if it says so."""

    samples: list[Sample]
    machine: str


def companion(path: Path) -> Path:
    """The file with the whole samples, beside the log `path`."""
    return path.with_name(path.name + ".jsonl")


def read(path: Path) -> Read:
    """The log `path`, its companion if it has one. Raises EnckeError if it holds no sample."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").splitlines()
        whole = companion(path)
        samples = list(_whole(whole)) if whole.exists() else list(_told(text, path.stem))
    except OSError as error:
        raise EnckeError(f"The log can't be read: {error}.") from None
    if all(sample.absent for sample in samples):
        raise EnckeError(f"{path} holds no readings; it must be a log of `encke watch`.")
    machines = [found["machine"] for line in text if (found := _HEAD.fullmatch(line))]
    return Read(samples, machines[-1] if machines else "")


def _whole(path: Path) -> Iterator[Sample]:
    decoder = msgspec.json.Decoder(Sample)
    with path.open("rb") as file:
        for line in file:
            try:
                yield decoder.decode(line)
            except msgspec.MsgspecError:
                continue  # the last line of a watcher that was killed


def _told(text: list[str], name: str) -> Iterator[Sample]:
    """What the lines tell; a source that isn't named there, as in the article's, is `name`."""
    for line in text:
        fields = line.split("\t")
        if len(fields) >= 4 and all(field.strip().isdecimal() for field in fields[1:4]):
            moment, kb, connections = map(int, fields[1:4])
            source = fields[6] if len(fields) > 6 else name
            yield Sample(source=source, time=moment, kb=kb, connections=connections)
