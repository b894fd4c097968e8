"""The supervisor: forks the node's processes, replaces those that die, ends them all.

                     supervisor
        .---------------+----------------.
     router         control       gateway 0 ... n

It holds the listening sockets, the scoreboard and the write end of the lifeline, a
pipe of which every child holds the read end: if the supervisor is killed, all
children see it close, and end.

Everything that gateways and router need is imported before the first fork, and the
collector is frozen (gc.freeze), so that children share those pages; the control
process imports what it alone needs after its fork.
In gateways and router no collector runs: it would hold up messages for 10 ms now and then
when thousands of connections are awake, and nothing there is left in a cycle.

Invariants: it never touches a connection. A row of the scoreboard belongs to one
child; the supervisor clears it when the child is dead. No threads: signals are
blocked and taken by sigtimedwait, so that nothing happens between two lines.
"""

import contextlib
import gc
import math
import os
import resource
import signal
import socket
import time
from collections.abc import Callable

import msgspec

from .. import log, scheduling
from ..control import process as control
from ..gateway import process as gateway
from ..ids import MAX_GATEWAY
from ..router import process as router
from ..scoreboard import (
    CONTROL,
    FIRST_GATEWAY,
    NODE,
    ROUTER,
    SUPERVISOR,
    Field,
    NatsLink,
    Scoreboard,
    State,
)
from ..settings import (
    Settings,
    connection_limit,
    files_limit,
    gateway_capacity,
    gateway_count,
)
from . import sockets

_WATCH = 0.1
"""Seconds between looks at the children's fill and state."""

_GROW_AT = 0.75
"""Share of the running gateways' capacity from which on another one is started."""

_CRASH_LOOP = 1.0
"""Seconds: a child that died younger than this is replaced only after so long."""

_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


class _Child(msgspec.Struct):
    """A process of the node: its place on the scoreboard, and how to start it."""

    name: str
    row: int
    run: Callable[[], None]
    pid: int = 0
    started: float = 0.0
    due: float = 0.0


class Supervisor:
    """One node's processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scoreboard = Scoreboard()
        self._children: dict[int, _Child] = {}  # by row
        self._next_number = 0
        self._stopping = False
        self._announced = False
        self._router_path = sockets.router_path()
        self._public = sockets.public(settings)
        self._control = sockets.control(settings)
        self._router = sockets.router(self._router_path)
        self._lifeline, self._lifeline_end = os.pipe()
        self._limit = connection_limit(settings)
        self._most_gateways = max(
            gateway_count(settings), math.ceil(self._limit / gateway_capacity())
        )
        self._has_router = self._most_gateways > 1 or bool(settings.nats)
        if settings.nats:
            # before the fork, so that it's shared, and that settings of no use are said at once
            from ..cluster.joining import check

            check(settings)

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; returns the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        node, own = self._scoreboard.row(NODE), self._scoreboard.row(SUPERVISOR)
        node[Field.STARTED] = own[Field.STARTED] = int(time.time())
        node[Field.STATE] = State.STARTING
        own[Field.PID], own[Field.STATE] = os.getpid(), State.READY
        scheduling.batch_crowd(self._most_gateways)
        gc.collect()
        gc.freeze()
        if self._has_router:
            self._start(_Child("router", ROUTER, self._run_router))
        for index in range(gateway_count(self._settings)):
            self._start_gateway(index)
        self._start(_Child("control", CONTROL, self._run_control))
        while not self._stopping:
            self._wait(_WATCH)
            self._watch()
        return self._stop()

    # children

    def _start_gateway(self, index: int) -> None:
        row = FIRST_GATEWAY + index
        self._start(_Child(f"gateway-{index}", row, lambda: self._run_gateway(row)))

    def _start(self, child: _Child) -> None:
        row = self._scoreboard.row(child.row)
        if child.row >= FIRST_GATEWAY:
            self._next_number = self._next_number % MAX_GATEWAY + 1
            row[Field.NUMBER] = self._next_number
        row[Field.STARTED] = int(time.time())
        row[Field.STATE] = State.STARTING
        child.started, child.due = time.monotonic(), 0.0
        pid = os.fork()
        if pid == 0:
            self._become(child)
        child.pid = row[Field.PID] = pid
        self._children[child.row] = child

    def _become(self, child: _Child) -> None:
        """In the child: run it, and never return."""
        code = 1
        try:
            self._scoreboard.row(child.row)[Field.PID] = os.getpid()
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the supervisor says what to do
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._lifeline_end)
            child.run()
            code = 0
        except BaseException as error:  # noqa: BLE001 (the last stop before _exit)
            log.error("crashed", process=child.name, error=repr(error), where=_where(error))
        finally:
            os._exit(code)

    def _run_router(self) -> None:
        gc.disable()
        alive = [row[Field.NUMBER] for row in self._scoreboard.gateways()]
        router.run(
            self._settings,
            listener=self._router,
            scoreboard=self._scoreboard,
            row=self._scoreboard.row(ROUTER),
            expected=alive,
            lifeline=self._lifeline,
        )

    def _run_gateway(self, row: int) -> None:
        gc.disable()
        own = self._scoreboard.row(row)
        gateway.run(
            self._settings,
            number=own[Field.NUMBER],
            listener=self._public,
            capacity=self._capacity(row - FIRST_GATEWAY),
            row=own,
            lifeline=self._lifeline,
            router_path=self._router_path if self._has_router else "",
        )

    def _run_control(self) -> None:
        control.run(
            self._settings,
            self._scoreboard,
            self._control,
            self._lifeline,
            CONTROL,
            self._router_path if self._has_router else "",
        )

    def _capacity(self, index: int) -> int:
        """Connections of a gateway: its share, so that all together hold the limit."""
        share, rest = divmod(self._limit, self._most_gateways)
        return share + (index < rest)

    # watching

    def _wait(self, seconds: float) -> None:
        """Take signals for at most so long."""
        taken = signal.sigtimedwait(_SIGNALS, seconds)
        if taken is not None and taken.si_signo != signal.SIGCHLD:
            self._stopping = True
            log.info("stopping", signal=signal.Signals(taken.si_signo).name)
        self._reap()

    def _reap(self) -> None:
        """Find out who died."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children.values():
                if child.pid == pid:
                    self._died(child, status)

    def _died(self, child: _Child, status: int) -> None:
        lost = self._scoreboard.row(child.row)[Field.CONNECTIONS]
        self._scoreboard.retire(child.row)
        child.pid = 0
        if self._stopping:
            return
        code = os.waitstatus_to_exitcode(status)
        reason = signal.Signals(-code).name if code < 0 else f"exit {code}"
        log.error("process-died", process=child.name, reason=reason, connections_lost=lost)
        self._scoreboard.row(child.row)[Field.RESTARTS] += 1
        young = time.monotonic() - child.started < _CRASH_LOOP
        child.due = time.monotonic() + (_CRASH_LOOP if young else 0)

    def _watch(self) -> None:
        for child in list(self._children.values()):
            if not child.pid and not self._stopping and time.monotonic() >= child.due:
                self._start(child)
                log.info("process-started", process=child.name, pid=child.pid)
        self._grow()
        ready = any(
            row[Field.STATE] == State.READY and row[Field.CAPACITY]
            for row in self._scoreboard.gateways()
        )
        if self._settings.nats:
            ready &= self._scoreboard.row(ROUTER)[Field.NATS_LINK] == NatsLink.READY
        self._scoreboard.row(NODE)[Field.STATE] = State.READY if ready else State.STARTING
        if ready and not self._announced:
            self._announced = True
            log.info(
                "ready",
                listen=sockets.name(self._public),
                control=sockets.name(self._control),
                gateways=sum(1 for _ in self._scoreboard.gateways()),
                max_connections=self._limit,
                pid=os.getpid(),
            )

    def _grow(self) -> None:
        """Start another gateway if those that run are filling up."""
        gateways = len(self._children) - 1 - self._has_router
        if gateways < self._most_gateways and not self._stopping:
            held = sum(row[Field.CONNECTIONS] for row in self._scoreboard.gateways())
            if held >= _GROW_AT * gateways * self._capacity(0):
                self._start_gateway(gateways)
                log.info("gateway-added", gateways=gateways + 1, connections=held)

    # the end

    def _stop(self) -> int:
        """End everything: first the gateways, which end their streams, then the others."""
        self._scoreboard.row(NODE)[Field.STATE] = State.DRAINING
        self._signal(_is_gateway, signal.SIGTERM)
        # closing wouldn't do: every gateway has it, and the backlog would go on taking
        self._public.shutdown(socket.SHUT_RDWR)
        self._end(_is_gateway, self._settings.drain_timeout + 0.3)
        self._end(lambda _child: True, 0.5)
        log.info("stopped")
        return 0

    def _end(self, chosen: Callable[[_Child], bool], patience: float) -> None:
        """End the chosen children: SIGTERM, and SIGKILL for those that don't listen."""
        until = time.monotonic() + patience
        self._signal(chosen, signal.SIGTERM)
        while self._alive(chosen) and time.monotonic() < until:
            self._wait(0.02)
        self._signal(chosen, signal.SIGKILL)
        while self._alive(chosen):
            self._wait(0.02)

    def _alive(self, chosen: Callable[[_Child], bool]) -> list[_Child]:
        return [child for child in self._children.values() if child.pid and chosen(child)]

    def _signal(self, chosen: Callable[[_Child], bool], number: signal.Signals) -> None:
        for child in self._alive(chosen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)


def _is_gateway(child: _Child) -> bool:
    return child.row >= FIRST_GATEWAY


def serve(settings: Settings) -> int:
    """Run a node in the foreground until SIGTERM or SIGINT; returns the exit code.

    Raises BadSettings if an address can't be bound.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_limit(), files_limit()))
    return Supervisor(settings).run()


def _where(error: BaseException) -> str:
    """Function and line of the innermost frame of `error`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
