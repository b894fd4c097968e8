"""A million users' streams on this machine, and what they cost.

One run, all on this machine's cores, with the tools that users have:

1. the same short measurement with few streams and more (growth)
2. a node; all streams are opened, and logged in
3. a message to each of them, beside the bare C write loop just before and after
4. messages to random users at a given rate
5. all streams cut off at once, and back; a message to each again
6. nchan, through the same steps, as far as one of its workers goes

Every message is counted for its user by who sends and by who gets it.
"""

from statistics import fmean
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from encke.tools.watch import ControlPort, Recorder, Sample

from . import beside, capacity, growth, loop, options
from .course import Course, noted, without_processes
from .growth import Step
from .servers.encke import ROOM, Encke
from .stage import Return, Sending, Stage

NAME = "Encke"
"""What it's called in log and graph."""

FEW = 50_000
"""Connections up to which the server has few enough processes to be read each second."""


class Options(options.Options, frozen=True, kw_only=True):
    """Of `million`; times in seconds, but `minutes`."""

    QUICK: ClassVar = {
        "connections": 1_000,
        "rate": 1_000.0,
        "minutes": 2.0 / 60,
        "growth_seconds": 1.0,
        "peer_connections": 500,
        "peer_seconds": 1.0,
        "loop_messages": 20_000,
        "every": 0.25,
    }

    connections: options.Connections = 0
    rate: options.Rate = 10_000.0
    minutes: options.Minutes = 5.0
    growth: Annotated[bool, Meta(description="Measure 1,000, 10,000, 100,000 streams before.")] = (
        True
    )
    growth_seconds: float = 20.0
    peer: Annotated[bool, Meta(description="Show nchan in the same graph.")] = True
    peer_connections: int = 0
    """0: as many as one of its workers can hold."""
    peer_seconds: float = 60.0
    loop_messages: int = loop.MESSAGES
    every: float = 5.0
    """Between two readings of memory: of more than a hundred processes each takes a while."""


def sized(options: Options, bounds: list[capacity.Bound]) -> Options:
    """With as many connections as the machine can hold, if they aren't given.

    Raises BenchError if it can't hold those that are.
    """
    connections = options.connections or capacity.most(bounds)
    capacity.check(connections, bounds)
    every = min(options.every, 1.0) if connections <= FEW else options.every
    return msgspec.structs.replace(options, connections=connections, every=every)


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    bounds: list[capacity.Bound]
    steps: list[Step]
    """By size; the last one is the run's own."""
    loops: list[loop.Written]
    """Before and after `each`."""
    each: Sending
    returned: Return
    each_again: Sending
    nchan: beside.Measured | None
    timeline: list[Sample]
    """Without each process, which is in the log."""
    recorder_cpu_seconds: float
    control_cpu_seconds: float
    """Of the recorder in this program, and of the node's control process, which it asks."""
    watched_seconds: float
    log: list[str]
    """What the node has warned of."""

    @property
    def run(self) -> Step:
        """The run itself: all streams, all the time."""
        return self.steps[-1]

    @property
    def loop_rate(self) -> float:
        """Messages a second of the write loop: the mean of before and after."""
        return fmean(it.rate for it in self.loops)

    @property
    def each_ratio(self) -> float:
        """Rate of the send to each, as a ratio to the write loop's, both until all had come."""
        return self.each.delivery_rate / self.loop_rate if self.loops else 0.0

    @property
    def each_cpu_ratio(self) -> float:
        """The same by CPU time: the loop's a message to the server's; 0: too little to tell."""
        server = self.each.server_us
        return fmean(it.us for it in self.loops) / server if self.loops and server else 0.0

    @property
    def sendings(self) -> list[Sending]:
        """All in which Encke had to deliver."""
        return [*(step.sending for step in self.steps), self.each, self.each_again]

    @property
    def seconds_to_return(self) -> float:
        """Until all were logged in again, or, if that isn't known, had their head."""
        return self.returned.seconds_logged_in or self.returned.seconds

    @property
    def faults(self) -> dict[str, int]:
        """What must not be, with any number of streams: how often it was."""
        return {
            "messages refused": sum(it.refused for it in self.sendings),
            "messages lost": sum(it.wrong.lost for it in self.sendings),
            "messages doubled": sum(it.wrong.doubled for it in self.sendings),
            "messages out of order": sum(step.seen.violations for step in self.steps),
            "streams closed": sum(step.seen.closed for step in self.steps),
        }


def measure(
    options: Options, bounds: list[capacity.Bound], course: Course
) -> tuple[Results, list[Sample]]:
    """The results, and all samples of all servers with each process, for log and graph.

    Raises BenchError if a step can't be carried out.
    """
    sizes = growth.sizes(options.connections) if options.growth else []
    steps = [_step(size, options, course) for size in sizes]
    results, samples = _main(options, bounds, course)
    nchan, beside_it = _nchan(options, course)
    done = msgspec.structs.replace(
        results,
        steps=[*steps, *results.steps],
        nchan=nchan,
        timeline=without_processes(samples + beside_it),
    )
    return done, samples + beside_it


def _step(streams: int, options: Options, course: Course) -> Step:
    course.begin(f"{streams:,} streams")
    step = growth.measure(streams, options.rate, options.growth_seconds, course.place(f"{streams}"))
    opening, latency = step.opening, step.seen.latency
    course.done(
        f"{streams:,} streams: open after {opening.seconds:.1f} s, "
        f"{opening.growth_a_stream:,.0f} bytes each, p99 {latency.p99:.1f} ms at "
        f"{step.sending.rate:,.0f} messages/s"
    )
    return step


def _main(
    options: Options, bounds: list[capacity.Bound], course: Course
) -> tuple[Results, list[Sample]]:
    streams = options.connections
    course.marks.clear()
    with (
        Encke("--max-connections", str(streams + ROOM)) as server,
        Recorder([ControlPort(server.control_url, NAME)], options.every) as recorder,
        Stage(server, streams, course.place("run")) as stage,
    ):
        recorder.listener = course.show
        course.begin("connecting", recorder)
        opening = stage.open()
        course.done(
            f"{streams:,} streams open and logged in after {opening.seconds:.1f} s; "
            f"{opening.bytes_a_stream:,.0f} bytes each, the kernel's "
            f"{opening.kernel.bytes_a_socket:,.0f} a socket"
        )
        loops, each = _each(stage, options, course, recorder)
        course.begin(f"{options.rate:,.0f} messages/s to random users", recorder)
        sent = stage.send_paced(options.rate, options.minutes * 60)
        course.done(f"{sent.messages:,} messages at {sent.rate:,.0f}/s; {sent.wrong}")
        course.begin("all cut off", recorder)
        returned = stage.cut()
        course.done(f"cut off, and all back after {returned.seconds:.1f} s")
        course.begin("a message to each again", recorder)
        again = stage.send_each()
        course.begin("the clients leave", recorder)
        step = Step(opening, sent, stage.end())
        server.until(lambda state: not state.connections and not state.users, "all are gone", 60)
        recorder.read()
        log = server.warnings()
    samples = recorder.samples
    control = [it for sample in samples for it in sample.processes if it.name == "control"]
    results = Results(
        bounds=bounds,
        steps=[step],
        loops=loops,
        each=each,
        returned=returned,
        each_again=again,
        nchan=None,
        timeline=[],
        recorder_cpu_seconds=recorder.cpu_seconds,
        control_cpu_seconds=max((it.cpu_seconds for it in control), default=0.0),
        watched_seconds=samples[-1].time - samples[0].time,
        log=log,
    )
    return results, noted(samples, course.marks, options.every / 4)


def _each(
    stage: Stage, options: Options, course: Course, recorder: Recorder
) -> tuple[list[loop.Written], Sending]:
    """A message to each, the write loop's measurements just before and after."""
    streams = min(loop.STREAMS, options.connections)
    course.begin("the C write loop; a message to each; the write loop", recorder)
    with loop.beside(course, streams, options.loop_messages) as loops:
        each = stage.send_each()
    course.done(
        f"a message to each: {each.delivery_rate:,.0f}/s; the C write loop to {streams:,}: "
        + loop.said(loops)
    )
    return loops, each


def _nchan(options: Options, course: Course) -> tuple[beside.Measured | None, list[Sample]]:
    if not options.peer or course.left_out("nchan", beside.missing()):
        return None, []
    streams = options.peer_connections or beside.most()
    every = min(options.every, 1.0)
    nchan, samples = beside.measure(streams, options.rate, options.peer_seconds, every, course)
    course.done(
        f"nchan, {streams:,} streams: open after {nchan.opening.seconds:.1f} s, "
        f"{nchan.opening.growth_a_stream:,.0f} bytes each"
    )
    return nchan, samples
