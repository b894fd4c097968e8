"""What do hostile clients do to the good ones, and to the machine?

Beside good streams, to whom ordinary senders send a message a request at a fixed rate, come hostile
clients (`hostile_clients.KINDS`), one kind after the other, each at a fresh server; who is thrown
out comes back. What the good ones do is the same before, beside and after them. Latency is from
writing a request until its answer, which leaves once the message is written to the stream; how late
requests are written, as all senders waited for others' answers, is told besides.

All that is done several times, and of each p99 the median is told: on a machine with two cores the
kernel's scheduler alone makes it 0.6 ms in one run and 4 ms in the next.

Memory of the node is PSS; the kernel's is that of TCP in /proc/net/sockstat, of the whole machine:
nothing else may use much of it. Both are told as they were at first, and at most; it's looked at in
all phases, since that costs the server something as well.
"""

import math
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from encke.settings import RESERVED_FILES, Settings
from encke.tools.watch import ControlPort, Recorder

from . import kernel, options
from .course import Course
from .hostile_clients import BUFFER, KINDS, Outcome, Plan
from .options import names
from .report import Cell, Report, Section, table, verdict
from .servers.encke import ROOM, Encke
from .servers.processes import BenchError, child
from .stage import POST, Sending, Stage

SLOWER = 2.0
"""p99 beside hostile clients to p99 before, at most."""

LOOK = 0.5
"""Seconds between two looks at memory."""

NOISE = 8 * 1024 * 1024
"""Bytes that a process may take more than its limits say: what Python keeps to itself."""


class Options(options.Options, frozen=True, kw_only=True):
    """Of `hostile`."""

    QUICK: ClassVar = {
        "kinds": "bulk,unread",
        "clients": 30,
        "judge": False,
        "streams": 100,
        "rate": 200.0,
        "seconds": 0.5,
        "rounds": 1,
    }

    kinds: Annotated[str, Meta(description="Some of them, commas between.")] = ",".join(KINDS)
    clients: Annotated[int, Meta(ge=1, description="Hostile clients of a kind.")] = 300
    streams: options.Streams = 1_000
    senders: Annotated[int, Meta(ge=1, description="Ordinary senders.")] = 20
    rate: options.Rate = 1_000.0
    seconds: Annotated[float, Meta(ge=0.1, description="Length of a phase.")] = 30.0
    rounds: Annotated[int, Meta(ge=1, description="How often each kind comes.")] = 3
    gateways: Annotated[int, Meta(ge=1, description="Gateways of the server.")] = 2
    judge: Annotated[bool, Meta(description="Hold latency and memory against the budgets.")] = True


class Round(msgspec.Struct):
    """One kind, once; memory in bytes."""

    phases: list[Sending | None]
    """Before, beside and after; None: it couldn't be carried out."""
    closed: int
    """Good streams."""
    node: list[int]
    """Before; at most; what it may be, see `_allowed`."""
    tcp: list[int]
    """The same of the kernel's."""
    outcome: Outcome

    @property
    def unserved(self) -> int:
        """Good messages that were refused, or promised and lost; a phase that wasn't is one."""
        return sum(it.refused + it.wrong.lost if it else 1 for it in self.phases)

    @property
    def is_small(self) -> bool:
        return self.node[1] <= self.node[2] and self.tcp[1] <= self.tcp[2]


class Found(msgspec.Struct):
    """One kind."""

    kind: str
    rounds: list[Round]

    def p99(self, phase: int) -> float:
        """Median of the rounds, milliseconds; infinite: nobody was answered."""
        return self._median(phase, lambda it: it.answers.p99)

    def late(self, phase: int) -> float:
        """How late requests were written: p99, median of the rounds, milliseconds."""
        return self._median(phase, lambda it: it.lag.p99)

    def _median(self, phase: int, of: Callable[[Sending], float]) -> float:
        sent = [it.phases[phase] for it in self.rounds]
        return statistics.median(of(it) if it else math.inf for it in sent)

    @property
    def slower(self) -> float:
        """p99 beside them to p99 before."""
        return self.p99(1) / self.p99(0)

    @property
    def unserved(self) -> int:
        return sum(it.unserved for it in self.rounds)

    @property
    def closed(self) -> int:
        return sum(it.closed for it in self.rounds)

    @property
    def largest(self) -> Round:
        """The round in which the node took most."""
        return max(self.rounds, key=lambda it: it.node[1])

    @property
    def is_served(self) -> bool:
        return self.slower <= SLOWER and not self.unserved and not self.closed

    @property
    def is_small(self) -> bool:
        return all(it.is_small for it in self.rounds)


class Results(msgspec.Struct):
    """By kind."""

    kinds: list[Found]


def run(options: Options, course: Course) -> Report:
    """Hostile clients: what they cost the good ones, and the machine.

    Exit code 1 if a budget isn't kept: p99 beside them at most twice as much as before, no good
    stream closed, nobody unserved, memory within what the settings say.
    """
    kinds = names(options.kinds, list(KINDS), "--kinds")
    results = Results([_measured(kind, options, course) for kind in kinds])
    broken = [
        it.kind
        for it in results.kinds
        if it.closed or (options.judge and not (it.is_served and it.is_small))
    ]
    return Report(
        results=results,
        sections=_sections(results, options),
        fault=f"Budgets aren't kept: {', '.join(broken)}." if broken else "",
    )


def _measured(kind: str, options: Options, course: Course) -> Found:
    return Found(
        kind, [_once(kind, f"{kind}-{it}", options, course) for it in range(1, options.rounds + 1)]
    )


def _once(kind: str, name: str, options: Options, course: Course) -> Round:
    plan = Plan(kind, 0, options.clients)
    hostile = len(plan.scripts)
    room = options.streams + options.senders + (hostile // 3 if kind == "cap" else hostile + ROOM)
    with ExitStack() as stack:
        # one session for all: else those at idle priority would take half of a core from the others
        server = Encke(
            *("--gateways", str(options.gateways)),
            files=RESERVED_FILES + -(-room // options.gateways),
            own_session=False,
        )
        stack.enter_context(server)
        place = course.place(name)
        stage = Stage(
            server, options.streams, place, POST, senders=options.senders, one_session=True
        )
        stack.enter_context(stage)

        def phase(when: str) -> Sending | None:
            course.done(f"{name}, {when}")
            try:
                return stage.send_paced(options.rate, options.seconds, linger=0.0)
            except BenchError as error:
                course.done(f"{name}, {when}: {error}")
                return None

        stage.open()
        tcp: list[int] = []
        with Recorder([ControlPort(server.control_url)], LOOK) as recorder:
            recorder.listener = lambda _: tcp.append(kernel.read().socket_pages)
            recorder.read()
            phases = [phase("before")]
            plan = msgspec.structs.replace(plan, port=server.port)
            with child("hostile_clients", msgspec.json.encode(plan).decode()) as clients:
                clients.hear(Outcome)
                phases.append(phase("beside them"))
                outcome = clients.ask("stop", Outcome)
            phases.append(phase("after"))
        node = [it.kb * 1024 for it in recorder.samples if not it.absent]
        more = _allowed(options.gateways, hostile)
        return Round(
            phases=phases,
            closed=stage.end().closed,
            node=[node[0], max(node), node[0] + more[0]],
            tcp=[tcp[0], max(tcp), tcp[0] + more[1]],
            outcome=outcome,
        )


def _allowed(gateways: int, hostile: int) -> tuple[int, int]:
    """What hostile clients may add to the node's memory, and to the kernel's, bytes.

    To the node's what the settings let wait in each gateway: --window, there and in the router,
    --bodies-total and --queue-total; and `NOISE` a process. To the kernel's what each connection
    may have: --send-buffer (of which it makes twice as much), a receive buffer
    (net.ipv4.tcp_rmem), and the two of the client's own end; and `NOISE`.
    """
    limits = Settings()
    waiting = gateways * (2 * limits.window + limits.bodies_total + limits.queue_total)
    received = int(Path("/proc/sys/net/ipv4/tcp_rmem").read_text().split()[1])
    connection = 2 * limits.send_buffer + received + 4 * BUFFER
    return waiting + (gateways + 3) * NOISE, hostile * connection + NOISE


def _sections(results: Results, options: Options) -> list[Section]:
    def p99(phase: int) -> Callable[[Found], Cell]:
        return lambda it: f"{it.p99(phase):.1f} ms"

    def late(it: Found) -> Cell:
        return " / ".join(f"{it.late(phase):.1f}" for phase in range(3))

    def size(*numbers: int) -> str:
        return " / ".join(f"{number / 2**20:,.0f}" for number in numbers)

    latency: dict[str, Callable[[Found], Cell]] = {
        "hostile": lambda it: it.kind,
        "p99 before": p99(0),
        "beside them": p99(1),
        "after": p99(2),
        "ratio": lambda it: f"{it.slower:.2f}",
        "late, ms": late,
        "unserved": lambda it: it.unserved,
        "closed": lambda it: it.closed,
        "verdict": lambda it: verdict(it.is_served),
    }
    memory: dict[str, Callable[[Found], Cell]] = {
        "hostile": lambda it: it.kind,
        "node, MB": lambda it: size(*it.largest.node),
        "kernel, MB": lambda it: size(*it.largest.tcp),
        "verdict": lambda it: verdict(it.is_small),
        "opened": lambda it: it.largest.outcome.opened,
        "gone": lambda it: it.largest.outcome.gone,
        "sent, MB": lambda it: size(it.largest.outcome.sent),
        "answers": lambda it: ", ".join(
            f"{n} x {it}" for it, n in it.largest.outcome.answers.items()
        ),
    }
    title = (
        f"{options.streams:,} good streams, {options.senders} senders of {options.rate:,.0f} "
        f"messages/s; {options.clients} hostile clients; medians of {options.rounds}; "
        f"ratio <= {SLOWER:g}, unserved and closed 0; late: before / beside / after"
    )
    kinds = results.kinds
    return [
        Section(title, [table(kinds, latency)]),
        Section("Memory before / at most / may be", [table(kinds, memory)]),
    ]
