"""What a flood tells: lines for people, or JSON for programs."""

import os
import time

import msgspec

from ..load.kernel import listening_queues
from ..load.screen import Rate
from ..load.summary import Durations, durations
from ..load.usage import busy_seconds, cpu_seconds, pss
from .crowd import Crowd
from .herd import Field
from .plan import Plan
from .streams import Reason


class Failed(msgspec.Struct, frozen=True):
    """Streams that could not be opened, by streams.Reason; each attempt counts."""

    refused: int
    timeout: int
    closed: int
    status: int
    protocol: int
    system: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, name) for name in self.__struct_fields__)

    def __str__(self) -> str:
        named = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return ", ".join(f"{count:,} {name}" for name, count in named if count) or "0"


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``encke flood --json``. Times in seconds since its start, sizes in bytes."""

    event: str
    """stats: a period has passed; connected: all streams are open for the first time; cut: all
    are being cut; back: as many are open again; end: the last line."""
    elapsed: float
    streams: int
    """How many there should be."""
    processes: int
    connected: int
    opened: int
    closed: int
    waiting: int
    """To be opened, or under way."""
    failed: Failed
    messages: int
    bytes: int
    violations: int
    """Messages that weren't the ones that were due (--verify)."""
    seconds_to_connect: float | None
    """From the start until the last of all streams had its head; null: not all have."""
    seconds_to_return: float | None
    """The same, from the last time when all were cut."""
    latency: Durations
    """From the stamp in a message until it's read, milliseconds; where very many come, that's up to
    plan.Spread.pause after its arrival."""
    memory: int
    """PSS of all its processes."""
    memory_per_stream: float
    cpu_seconds: float
    """Of all its processes."""
    cpu_cores: float
    """The same as a share of the elapsed time: 1 is one core, fully used."""
    cpu_share: float
    """Its share of the CPU time that the whole machine has used since the start."""
    listen_overflows: int
    """Connections that the kernel dropped since the start, on any port of this machine, because
    a listening queue was full."""
    listen_drops: int


class Teller:
    """Makes figures of what the herds count."""

    def __init__(self, plan: Plan, crowd: Crowd) -> None:
        self._plan = plan
        self._crowd = crowd
        self._processes = len(crowd.pids)
        self._busy = busy_seconds()
        self._cpu = self._memory = 0.0
        self._ended = 0
        self._rate = Rate()
        self.seconds_to_connect: float | None = None
        self.seconds_to_return: float | None = None

    def weigh(self) -> None:
        """Take memory and CPU time of all processes."""
        pids = [os.getpid(), *self._crowd.pids]
        self._memory = sum(map(pss, pids))
        self._cpu = max(0.0, cpu_seconds(pids) - self._crowd.cpu_seconds)
        self._ended = time.monotonic_ns()

    def tell(self, event: str) -> list[str]:
        """The lines that tell of `event`, see Figures.event."""
        if self._plan.json:
            if event != "end":
                self.weigh()
            return [msgspec.json.encode(self.figures(event)).decode()]
        total = self._crowd.board.total
        if event == "connected":
            return [f"All {self._crowd.streams:,} connected after {self.seconds_to_connect:.2f} s"]
        if event == "cut":
            return ["All are being cut"]
        if event == "back":
            return [f"All are back after {self.seconds_to_return:.2f} s"]
        counted = (total(Field.CONNECTED), total(Field.CLOSED), total(Field.MESSAGES))
        stats = f"Stats: {{{','.join(map(str, counted))}}}"
        return [stats] if event == "stats" else [stats, *self._summary(self.figures(event))]

    def figures(self, event: str) -> Figures:
        """All figures; memory and CPU time as they were last weighed."""
        board = self._crowd.board
        elapsed = (self._ended - self._crowd.started) / 1e9
        busy = busy_seconds() - self._busy
        queues = listening_queues().since(self._crowd.queues)
        return Figures(
            event=event,
            elapsed=round(elapsed, 3),
            streams=self._crowd.streams,
            processes=self._processes,
            connected=board.total(Field.CONNECTED),
            opened=board.total(Field.OPENED),
            closed=board.total(Field.CLOSED),
            waiting=board.total(Field.WAITING),
            failed=Failed(*(board.total(Field.FAILED + reason) for reason in Reason)),
            messages=board.total(Field.MESSAGES),
            bytes=board.total(Field.BYTES),
            violations=board.total(Field.VIOLATIONS),
            seconds_to_connect=self.seconds_to_connect,
            seconds_to_return=self.seconds_to_return,
            latency=durations(self._crowd.latency),
            memory=int(self._memory),
            memory_per_stream=round(self._memory / max(1, board.total(Field.CONNECTED)), 1),
            cpu_seconds=round(self._cpu, 2),
            cpu_cores=round(self._cpu / max(elapsed, 0.01), 4),
            cpu_share=round(min(1.0, self._cpu / max(busy, 0.01)), 4),
            listen_overflows=queues.overflows,
            listen_drops=queues.drops,
        )

    def line(self) -> str:
        """Where it stands, in one line."""
        total = self._crowd.board.total
        elapsed = (time.monotonic_ns() - self._crowd.started) / 1e9
        messages = total(Field.MESSAGES)
        failed = sum(total(Field.FAILED + reason) for reason in Reason)
        return (
            f"{elapsed:.0f} s  "
            f"{total(Field.CONNECTED):,} of {self._crowd.streams:,} connected  "
            f"{total(Field.CLOSED):,} closed  {failed:,} failed  {messages:,} messages  "
            f"{self._rate.of(messages):,.0f}/s"
        )

    def _summary(self, figures: Figures) -> list[str]:
        failed, opened, closed = figures.failed, figures.opened, figures.closed
        streams = f"{opened:,} opened, {closed:,} closed, failed: {failed}"
        if figures.seconds_to_connect is not None:
            streams += f"; all open after {figures.seconds_to_connect:.2f} s"
        messages = f"{figures.messages:,} in {figures.bytes:,} bytes"
        if self._plan.verify:
            messages += f"; {figures.violations:,} were not the ones that were due"
        lines = [f"streams    {streams}", f"messages   {messages}"]
        if figures.latency.count:
            lines += [f"latency    {figures.latency}", *self._crowd.latency.drawing()]
        tool = (
            f"{figures.processes} process{'es' if figures.processes > 1 else ''}, "
            f"{figures.memory / 1e6:.1f} MB ({figures.memory_per_stream:,.0f} bytes a stream), "
            f"{figures.cpu_seconds:.1f} s of CPU: {figures.cpu_cores:.2f} cores, "
            f"{figures.cpu_share:.0%} of what the machine was busy"
        )
        overflows, drops = figures.listen_overflows, figures.listen_drops
        kernel = f"{overflows:,} overflows of listening queues, {drops:,} connections dropped"
        return [*lines, f"this tool  {tool}", f"kernel     {kernel}"]
