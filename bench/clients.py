"""The C programs of the benchmarks, compiled on the spot, and spoken to from here.

`load` are the clients of a server on one core, `writeloop` is the floor; c/*.c say what they
do. They are in C, since `encke flood` and `encke generate` together cost more than a gateway,
and on one core would measure themselves.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from encke.tools.load.usage import cpu_seconds

from .servers.processes import BenchError, Talker, running

LOAD_STREAMS = 19_000
"""Streams that one `load` process holds at most: 20,000 files is a common hard limit."""

FIRST_SOURCE = 2
"""The clients of the n-th `load` come from 127.0.0.(2 + n): an address has ~28,000 ports."""


def missing() -> str | None:
    """Why the C programs can't be used here, if they can't."""
    return None if shutil.which("cc") else "there is no C compiler (cc); apt install gcc libc6-dev"


@contextmanager
def compiled(*names: str) -> Iterator[Path]:
    """A temporary directory with the compiled programs `names`. Raises BenchError."""
    if reason := missing():
        raise BenchError(f"This benchmark needs its C programs, and {reason}.")
    with tempfile.TemporaryDirectory(prefix="encke-bench-") as directory:
        for name in names:
            source = Path(__file__).parent / "c" / f"{name}.c"
            done = subprocess.run(
                ["cc", "-O2", "-std=gnu11", "-o", f"{directory}/{name}", str(source)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchError(f"cc could not compile {name}.c:\n{done.stderr}")
        yield Path(directory)


class Opened(msgspec.Struct):
    """What `load` says after opening streams; `seconds`: until the last head had come."""

    opened: int
    refused: int
    seconds: float
    error: str = ""


class Sent(msgspec.Struct):
    """What `load` says after sending.

    `claimed` is the sum of "delivered" in the answers, `received` what came on the
    streams, `misdirected` the number of streams that got more or less than was sent
    to them, `seconds` the time until the last answer and message had come.
    """

    sent: int
    received: int
    seconds: float
    answered: int = 0
    refused: int = 0
    accepted: int = 0
    claimed: int = 0
    misdirected: int = 0
    error: str = ""

    def wrong(self, *, claims: bool, ndjson: bool) -> str:
        """Why what came isn't what was sent, if so; `claims`: the server says what came."""
        if self.error or self.refused:
            return self.error or f"{self.refused} requests were refused"
        if self.received != self.sent:
            return f"{self.sent} messages were sent, {self.received} came"
        if self.misdirected:
            return f"{self.misdirected} streams got more or less than was sent to them"
        if claims and self.claimed != self.sent:
            return f"{self.sent} messages were sent, the server claims {self.claimed} delivered"
        if ndjson and self.accepted != self.sent:
            return f"{self.sent} messages were sent, the server claims {self.accepted} accepted"
        return ""


class Received(msgspec.Struct):
    """What `load` says after waiting for messages; both counts are from its start."""

    received: int
    lost_streams: int
    error: str = ""


class Written(msgspec.Struct):
    """What `writeloop` says after writing."""

    sent: int
    seconds: float


class Load:
    """The clients of a server; see c/load.c."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker

    def open(self, streams: int, path: str) -> Opened:
        """Open `streams` more, of `path` + id; raises BenchError if any is refused."""
        opened = self._talker.ask(f"open {streams} {path}", Opened)
        if opened.error or opened.refused:
            raise BenchError(
                f"Only {opened.opened} streams could be opened, {opened.refused} were refused. "
                f"{opened.error}"
            )
        return opened

    def post(self, seconds: float, senders: int, depth: int, path: str) -> Sent:
        """Send for `seconds`, one request a message, `depth` under way on each of `senders`."""
        return self._talker.ask(f"post {seconds} {senders} {depth} {path}", Sent)

    def ndjson(self, seconds: float, senders: int, path: str) -> Sent:
        """Send for `seconds`, one streamed request on each of `senders`."""
        return self._talker.ask(f"ndjson {seconds} {senders} {path}", Sent)

    def wait_for(self, total: int) -> Received:
        """Wait until `total` messages have come since the start."""
        return self._talker.ask(f"await {total}", Received)

    def cpu_seconds(self) -> float:
        """CPU time that the clients have used."""
        return cpu_seconds([self._talker.pid])


@contextmanager
def load(
    programs: Path, port: int, core: int, number: int = 0, to: int | None = None
) -> Iterator[Load]:
    """The clients of the server at `port`; the `number`-th such process. They send to port `to`,
    if that's another one."""
    source = f"127.0.0.{FIRST_SOURCE + number}"
    command = [
        str(programs / "load"), "127.0.0.1", str(port), source, str(number * LOAD_STREAMS),
        str(to or port),
    ]  # fmt: skip
    with running(command, core) as process:
        yield Load(Talker(process, "load"))


@contextmanager
def herds(programs: Path, port: int, core: int, streams: int) -> Iterator[list[tuple[Load, int]]]:
    """As many processes of clients as so many streams need, and how many each is to hold."""
    with ExitStack() as stack:
        yield [
            (
                stack.enter_context(load(programs, port, core, number)),
                min(LOAD_STREAMS, streams - first),
            )
            for number, first in enumerate(range(0, streams, LOAD_STREAMS))
        ]


class WriteLoop(Talker):
    """The bare write loop; see c/writeloop.c."""

    port: int

    def write(self, seconds: float) -> Written:
        """Write to random streams for `seconds`."""
        return self.ask(f"write {seconds}", Written)

    def each(self, rounds: int) -> Written:
        """Write to each stream, `rounds` times."""
        return self.ask(f"each {rounds}", Written)


@contextmanager
def write_loop(programs: Path, core: int | None) -> Iterator[WriteLoop]:
    """The bare write loop, listening; on `core`, None: where we are."""
    command = [str(programs / "writeloop")]
    with running(command, core) as process:
        loop = WriteLoop(process, "writeloop")
        loop.port = loop.hear(int)
        yield loop
