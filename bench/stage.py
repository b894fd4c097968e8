"""A server with the streams of one flood: opened, sent to, cut off, each with its figures.

Encke and nchan go through the same steps, on all cores, with the same tools: `encke flood`
reads, `encke generate` sends. Each step leaves the streams as it found them.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import msgspec

from encke.tools.load.summary import Durations
from encke.tools.load.usage import cpu_seconds, process_tree

from . import counts, kernel
from .meter import Meter
from .servers.encke import Encke
from .servers.processes import BenchError
from .servers.server import Server
from .tools import Flooded, Generated, Tool, flood, generate

SENDERS = 4
"""Connections that send: to more than one gateway."""

NDJSON = ("--ndjson", "--batch", "10000")
POST = ("--path", "/send/{}")
"""How a message is sent to Encke, and to whom knows requests of one message only."""

LINGER = 25.0
"""Milliseconds for which a sender gathers messages at a given rate, as one that has very many
does: a gateway that is woken for several at once costs a fraction a message. Latency counts
from writing."""

ARRIVAL = 10.0
"""Seconds without any message after which what hasn't come is lost."""


class Cost(msgspec.Struct, frozen=True):
    """CPU seconds of all processes of the server, of the flood, and of the generator."""

    server: float
    flood: float
    generate: float
    others: float
    """Of all else on this machine, this program too: much means noise."""
    seconds: float
    """How long that was; other programs' starting and looking is in it."""

    def share(self, *names: str) -> float:
        """CPU seconds a second of those of these names: cores."""
        return float(sum(getattr(self, name) for name in names)) / self.seconds


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """All streams were opened. Memory is the server's PSS by process, bytes."""

    streams: int
    seconds: float
    """Until the last head had come, which Encke sends once the user can be reached."""
    cost: Cost
    failed: int
    """Attempts that failed, and were made again."""
    overflows: int
    """Of listening queues; the kernel drops the connection, and the client tries again."""
    empty: list[int]
    opened: list[int]
    kernel: kernel.Use
    flood_processes: int
    flood_bytes_a_stream: float
    """PSS of all of the flood's processes."""
    flood_share: float
    """Of the CPU time that the machine has used meanwhile."""

    @property
    def memory(self) -> int:
        """The whole server's, with all streams."""
        return sum(self.opened)

    @property
    def bytes_a_stream(self) -> float:
        """The whole server's, for each stream."""
        return self.memory / self.streams

    @property
    def growth_a_stream(self) -> float:
        """What came with the streams, for each."""
        return (self.memory - sum(self.empty)) / self.streams


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """Messages were sent, and waited for until all had come."""

    messages: int
    accepted: int
    refused: int
    """Not accepted: answered with an error, or not at all."""
    delivered: int
    """As the server says; 0: it doesn't."""
    seconds: float
    """Until the last one had come."""
    rate: float
    """Messages accepted a second, until the last answer."""
    cost: Cost
    lag: Durations
    """How much later than due they were written."""
    answers: Durations
    """From writing a request to its answer."""
    wrong: counts.Difference

    @property
    def server_us(self) -> float:
        """The server's CPU time a message, microseconds."""
        return self.cost.server / self.messages * 1e6

    @property
    def delivery_rate(self) -> float:
        """Messages that came a second, from the first to the last."""
        return self.messages / self.seconds


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """All streams were cut off at once, and came back."""

    streams: int
    seconds: float
    """From the cut until the last head had come."""
    seconds_logged_in: float | None
    """From the cut until the node's state said that all users were there, and no more."""
    cost: Cost
    failed: int
    overflows: int
    drops: int
    """By the kernel, of connections that were being made: these, and others."""
    died: list[str]
    """Processes of the server that are gone."""


class Seen(msgspec.Struct, frozen=True):
    """What the flood has seen of the messages that had a stamp, up to some time."""

    latency: Durations
    violations: int
    """Messages that weren't the next ones of their stream and sender."""
    closed: int
    """Streams that the server has closed."""
    messages: int


class Stage:
    """`server`, with `streams` of it once they are opened; files are made in `directory`.

    The users are numbered from `first_id` on; `beside` counts streams that it has besides these;
    `addresses` are the flood's flags for other streams than these. With `one_session` the tools
    share ours, see servers.processes.started.
    """

    def __init__(
        self,
        server: Server,
        streams: int,
        directory: Path,
        how: tuple[str, ...] = NDJSON,
        *,
        first_id: int = 1,
        beside: int = 0,
        addresses: tuple[str, ...] = (),
        senders: int = SENDERS,
        one_session: bool = False,
    ) -> None:
        self.server = server
        self.streams = streams
        self._directory = directory
        self._users = ("--first-id", str(first_id))
        self._how = (*how, *self._users, "--max-id", str(first_id + streams - 1))
        self._how += ("--senders", str(senders))
        self._beside = beside
        self._streams = addresses
        self._one_session = one_session
        self._stack = ExitStack()
        self._flood: Tool[Flooded] | None = None
        self._sent: list[Path] = []
        self._got = directory / "got"
        self._closed = 0  # by the server, until the last cut
        self._closed_then = 0  # in all, right after it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self) -> Opening:
        """Open all streams. Raises BenchError if one can't be opened."""
        empty, before = list(self.server.settled_memory().values()), kernel.read()
        meter = self._meter()
        self._flood = clients = self._stack.enter_context(
            flood(
                *(self._streams or ("--url", f"{self.server.url}/test/{{}}")),
                *("--connections", str(self.streams), *self._users),
                *("--verify", "--retry", "--counts", str(self._got)),
                own_session=not self._one_session,
            )
        )
        try:
            said = clients.until(lambda it: it.event == "connected", _patience(self.streams))
        except BenchError as error:
            raise BenchError(f"Not all of {self.streams:,} streams were opened: {error}") from None
        assert said.seconds_to_connect is not None
        cost = cost_of(meter)
        self._all_logged_in()
        opened = list(self.server.settled_memory().values())
        return Opening(
            streams=self.streams,
            seconds=said.seconds_to_connect,
            cost=cost,
            failed=said.failed.total,
            overflows=said.listen_overflows,
            empty=empty,
            opened=opened,
            kernel=kernel.use(before, kernel.read(), 2 * self.streams),
            flood_processes=said.processes,
            flood_bytes_a_stream=said.memory_per_stream,
            flood_share=said.cpu_share,
        )

    def send_each(self) -> Sending:
        """One message to each user, as fast as they are taken."""
        return self._send(self.streams, _patience(self.streams), "--each")

    def send_paced(self, rate: float, seconds: float, linger: float = LINGER) -> Sending:
        """Messages with a stamp to random users, `rate` a second."""
        pace = paced(rate, seconds, linger)
        return self._send(int(pace[-1]), 60 + 3 * seconds, *pace, "--stamp")

    def cut(self) -> Return:
        """Cut all streams at once, and wait until all are back."""
        clients, pids = self.clients, self._pids()
        meter = self._meter()
        clients.cut()
        before = clients.until(lambda it: it.event == "cut", 60)
        began = time.monotonic()
        said = clients.until(lambda it: it.event == "back", _patience(self.streams))
        assert said.seconds_to_return is not None
        self._all_logged_in()
        logged_in = time.monotonic() - began if isinstance(self.server, Encke) else None
        left = self._pids()
        self._closed += before.closed - self._closed_then
        self._closed_then = said.closed
        return Return(
            streams=self.streams,
            seconds=said.seconds_to_return,
            seconds_logged_in=logged_in,
            cost=cost_of(meter),
            failed=said.failed.total - before.failed.total,
            overflows=said.listen_overflows - before.listen_overflows,
            drops=said.listen_drops - before.listen_drops,
            died=[name for name, pid in pids.items() if left.get(name) != pid],
        )

    def end(self) -> Seen:
        """End the flood; what it has seen since the beginning."""
        last = self.clients.end()
        closed = self._closed + last.closed - self._closed_then
        return Seen(last.latency, last.violations, closed, last.messages)

    # parts of these

    @property
    def clients(self) -> Tool[Flooded]:
        """The flood. Raises BenchError if it isn't there yet."""
        if self._flood is None:
            raise BenchError("There are no streams yet.")
        return self._flood

    def _meter(self) -> Meter:
        def clients() -> float:
            return cpu_seconds(process_tree(self._flood.pid)) if self._flood else 0.0

        return Meter(self.server.cpu_seconds, clients)

    def _send(self, messages: int, patience: float, *arguments: str) -> Sending:
        counted = self._directory / f"sent-{len(self._sent)}"
        self._sent.append(counted)
        meter = self._meter()
        said = self.generated(patience, *self._how, "--counts", str(counted), *arguments)
        ended = time.monotonic()
        if said.sent != messages:
            raise BenchError(f"Of {messages:,} messages {said.sent:,} were sent: {said.errors}.")
        wrong = counts.wait_for(counts.total(self._sent), self._got, ARRIVAL)
        return Sending(
            messages=messages,
            accepted=said.accepted,
            refused=said.failed,
            delivered=said.delivered,
            seconds=said.elapsed + time.monotonic() - ended,
            rate=said.rate,
            cost=cost_of(meter, said.cpu_seconds),
            lag=said.lag,
            answers=said.answers,
            wrong=wrong,
        )

    def generated(self, patience: float, *arguments: str) -> Generated:
        """What a run of the generator comes to."""
        own = not self._one_session
        with generate(self.server.url, *arguments, own_session=own) as sender:
            return sender.result(patience)

    def _all_logged_in(self) -> None:
        """Wait until the node says so, if it's a node."""
        if isinstance(self.server, Encke):
            there, alone = self.streams + self._beside, not self._beside
            self.server.until(
                lambda state: (
                    state.streams == state.users == there
                    and (state.connections == there if alone else state.connections >= there)
                ),
                "all streams are logged in",
                _patience(self.streams),
            )

    def _pids(self) -> dict[str, int]:
        if isinstance(self.server, Encke):
            return self.server.named_pids()
        return {str(pid): pid for pid in process_tree(self.server.pid)}


def paced(rate: float, seconds: float, linger: float) -> tuple[str, ...]:
    """Flags of the generator for messages at a `rate`; the last one is how many.

    Those that are gathered are one in a hundred more: the time that is counted includes that of
    the last answer.
    """
    rate *= 1.01 if linger else 1.0
    count = max(1, int(rate * seconds))
    return "--rate", str(rate), "--linger", str(linger), "--count", str(count)


def cost_of(meter: Meter, generate: float = 0.0) -> Cost:
    """Until now; what the generator took, it says itself."""
    server, clients, others = meter.used()
    return Cost(server, clients, generate, max(0.0, others - generate), meter.seconds)


def _patience(number: int) -> float:
    """Seconds that opening so many streams, or sending so many messages, may take at most."""
    return 60 + number / 1000
