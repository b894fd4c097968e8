"""The supervisor: forks the node's processes, replaces those that die, ends them all.

                     supervisor
        .---------------+----------------.
     router         control       gateway 0 ... n

It holds the listening sockets, the scoreboard and the write end of the lifeline, a
pipe of which every child holds the read end: if the supervisor is killed, all
children see it close, and end. Those that hang see nothing, so the kernel kills them all.

Everything that gateways and router need is imported before the first fork, and the
collector is frozen (gc.freeze), so that children share those pages; the control
process imports what it alone needs after its fork.
In gateways and router no collector runs: it would hold up messages for 10 ms now and then
when thousands of connections are awake, and nothing there is left in a cycle.

Invariants: it never touches a connection. A row of the scoreboard belongs to one
child; the supervisor clears it when the child is dead. No threads. Signals come through the
loop, between two callbacks (`signals` says which); what sigtimedwait would return is not always a
signal that came (CPython, after a SIGSTOP that outlasts its timeout).
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
from functools import partial
from typing import NoReturn

import msgspec

from .. import log, scheduling
from ..control import process as control
from ..control.ending import ENDING_SECONDS
from ..gateway import process as gateway
from ..gateway.gateway import LAST_ANSWERS
from ..reactor.loop import Reactor
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
    gateway_count,
    most_gateways,
)
from . import signals, sockets
from .children import Child, dead_child, die_with, number_after, reason, where
from .hangs import Hangs
from .stacks import Stacks

_WATCH = 0.1
"""Seconds between looks at the children's fill, state and ticks."""

_GROW_AT = 0.75
"""Share of the running gateways' capacity from which on another one is started."""

_QUIET = 60.0
"""Seconds that the node must have had room before it's logged again that it has none."""

_END_SECONDS = 0.2
"""Time that gateways have beyond --drain-timeout."""

_LAST_SECONDS = ENDING_SECONDS + 0.1
"""Time for the other processes to end in, once the gateways have. The control process takes the
longest, if answers are under way."""


class _End(msgspec.Struct):
    """A step of the node's end: who is to end, until when; and what comes then."""

    chosen: Callable[[Child], bool]
    until: float
    then: Callable[[], None]


class Supervisor:
    """One node's processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reactor = Reactor()
        self._pid = os.getpid()
        self._own_stacks = Stacks(self._reactor, "supervisor", self._pid)
        self._scoreboard = Scoreboard()
        self._children: dict[int, Child] = {}  # by row
        self._last_number = 0
        self._stopping: _End | None = None
        self._announced = False
        self._router_path = sockets.router_path()
        self._public = sockets.public(settings)
        self._control = sockets.control(settings)
        self._router = sockets.router(self._router_path)
        self._lifeline, self._lifeline_end = os.pipe()
        self._limit = connection_limit(settings)
        self._most_gateways = most_gateways(settings)
        self._is_full = partial(self._scoreboard.full, self._most_gateways)
        self._quiet_until = 0.0
        """When it's logged again that the node is full."""
        self._hangs = Hangs(self._scoreboard, settings.hang_timeout, self._most_gateways)
        self._has_router = self._most_gateways > 1 or bool(settings.nats)
        if settings.nats:
            # before the fork, so that it's shared, and that settings of no use are said at once
            from ..cluster.joining import check

            check(settings)

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or SIGQUIT; returns the exit code."""
        self._count_dropped_lines(SUPERVISOR)
        reactor = self._reactor
        signals.ignore()
        reactor.on_signal(signal.SIGCHLD, lambda: None)  # a turn is all that it takes
        reactor.on_signal(signal.SIGHUP, _not_reloaded)
        reactor.on_signal(signal.SIGUSR1, self._tell_stacks)
        for number in signals.ENDS:
            reactor.on_signal(number, partial(self._stop, number))
        reactor.every(_WATCH, self._watch)
        reactor.after_turn(self._end_turn)
        node, own = self._scoreboard.row(NODE), self._scoreboard.row(SUPERVISOR)
        node[Field.STARTED] = own[Field.STARTED] = int(time.time())
        node[Field.STATE] = State.STARTING
        own[Field.PID], own[Field.STATE] = self._pid, State.READY
        scheduling.batch_crowd(self._most_gateways)
        gc.collect()
        gc.freeze()
        if self._has_router:
            self._start(Child("router", ROUTER, self._run_router))
        for index in range(gateway_count(self._settings)):
            self._start_gateway(index)
        self._start(Child("control", CONTROL, self._run_control))
        reactor.run()
        log.info("stopped")
        return 0

    # children

    def _start_gateway(self, index: int) -> bool:
        row = FIRST_GATEWAY + index
        return self._start(Child(f"gateway-{index}", row, lambda: self._run_gateway(row)))

    def _start(self, child: Child) -> bool:
        """Fork it; False: that failed, and is tried again later."""
        row = self._scoreboard.row(child.row)
        if child.row >= FIRST_GATEWAY:
            taken = {it[Field.NUMBER] for it in self._scoreboard.gateways()}
            row[Field.NUMBER] = self._last_number = number_after(self._last_number, taken)
        row[Field.STARTED] = int(time.time())
        row[Field.STATE] = State.STARTING
        row.tick()
        child.started = time.monotonic()
        self._children[child.row] = child
        signals.block()
        try:
            child.stacks = Stacks(self._reactor, child.name)
            pid = os.fork()
            if pid == 0:
                self._become(child)
        except OSError as error:  # for want of memory, processes or files
            self._scoreboard.retire(child.row)
            child.gone(child.started)
            log.error("fork-failed", process=child.name, reason=error.strerror, pause=child.pause)
            return False
        finally:
            signals.unblock()
        child.stacks.forked(pid)
        child.pid = row[Field.PID] = pid
        return True

    def _become(self, child: Child) -> NoReturn:
        """In the child: run it, and never return."""
        code = 1
        try:
            self._scoreboard.row(child.row)[Field.PID] = os.getpid()
            self._count_dropped_lines(child.row)
            die_with(self._pid)
            signals.forget()
            self._own_stacks.drop()
            for each in self._children.values():
                if each.stacks is not None and each is not child:
                    each.stacks.drop()
            assert child.stacks is not None
            child.stacks.tell_on_signal()
            signals.unblock()
            self._reactor.close()
            os.close(self._lifeline_end)
            child.run()
            code = 0
        except BaseException as error:  # noqa: BLE001 (the last stop before _exit)
            log.error("crashed", process=child.name, error=repr(error), where=where(error))
        finally:
            os._exit(code)

    def _count_dropped_lines(self, index: int) -> None:
        row = self._scoreboard.row(index)

        def count() -> None:
            row[Field.LOG_LINES_DROPPED] += 1

        log.count_dropped(count)

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
            full=self._is_full,
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

    def _reap(self) -> None:
        """Find out who died, and replace them."""
        died = False
        while (dead := dead_child()) is not None:
            pid, status = dead
            for child in self._children.values():
                if child.pid == pid:
                    self._died(child, status)
                    died = True
        if died:
            self._watch()

    def _died(self, child: Child, status: int) -> None:
        lost = self._scoreboard.row(child.row)[Field.CONNECTIONS]
        self._scoreboard.retire(child.row)
        child.gone(time.monotonic())
        if not self._stopping:
            log.error(
                "process-died",
                process=child.name,
                reason=reason(status),
                connections_lost=lost,
                pause=child.pause,
            )
            self._scoreboard.row(child.row)[Field.RESTARTS] += 1

    def _watch(self) -> None:
        self._scoreboard.row(SUPERVISOR).tick()
        if self._stopping:
            return
        self._hangs.look(self._children.values())
        for child in list(self._children.values()):
            if not child.pid and time.monotonic() >= child.due and self._start(child):
                log.info("process-started", process=child.name, pid=child.pid)
        self._grow()
        ready = any(
            row[Field.STATE] == State.READY and row[Field.CAPACITY]
            for row in self._scoreboard.gateways()
        )
        if self._settings.nats:
            ready &= self._scoreboard.row(ROUTER)[Field.NATS_LINK] == NatsLink.READY
        full = ready and self._is_full()
        state = State.FULL if full else State.READY if ready else State.STARTING
        self._scoreboard.row(NODE)[Field.STATE] = state
        if full:
            self._tell_full()
        if ready and not self._announced:
            self._announced = True
            log.info(
                "ready",
                listen=sockets.name(self._public),
                control=sockets.name(self._control),
                gateways=sum(1 for _ in self._scoreboard.gateways()),
                max_connections=self._limit,
                pid=self._pid,
            )

    def _tell_full(self) -> None:
        if time.monotonic() >= self._quiet_until:
            log.warning(
                "full",
                max_connections=self._limit,
                hint="streams are refused; raise --max-connections or the open-files limit, see "
                "encke doctor",
            )
        self._quiet_until = time.monotonic() + _QUIET

    def _grow(self) -> None:
        """Start another gateway if those that run are filling up."""
        gateways = len(self._children) - 1 - self._has_router
        if gateways < self._most_gateways:
            held = sum(row[Field.CONNECTIONS] for row in self._scoreboard.gateways())
            if held >= _GROW_AT * gateways * self._capacity(0) and self._start_gateway(gateways):
                log.info("gateway-added", gateways=gateways + 1, connections=held)

    def _tell_stacks(self) -> None:
        self._own_stacks.tell()
        self._signal(lambda _child: True, signal.SIGUSR1)

    # the end

    def _stop(self, number: signal.Signals) -> None:
        """End everything: first the gateways, which end their streams, then the others. Who asks
        for it twice, or with SIGQUIT, doesn't want to wait for anyone."""
        again = self._stopping is not None
        if not again:
            log.info("stopping", signal=number.name)
            self._scoreboard.row(NODE)[Field.STATE] = State.DRAINING
            self._end(_is_gateway, self._settings.drain_timeout + _END_SECONDS, self._stop_others)
            # closing wouldn't do: every gateway has it, and the backlog would go on taking
            self._public.shutdown(socket.SHUT_RDWR)
        if self._alive(_is_gateway) and (again or number is signal.SIGQUIT):
            self._stop_at_once(number)

    def _stop_at_once(self, number: signal.Signals) -> None:
        end = self._stopping
        until = time.monotonic() + LAST_ANSWERS + _END_SECONDS
        if end is not None and until < end.until:
            log.info("stopping-at-once", signal=number.name)
            end.until = until
            self._signal(_is_gateway, signal.SIGQUIT)

    def _stop_others(self) -> None:
        self._end(lambda _child: True, _LAST_SECONDS, self._reactor.stop)

    def _end(
        self, chosen: Callable[[Child], bool], patience: float, then: Callable[[], None]
    ) -> None:
        """End the chosen children: SIGTERM, and SIGKILL for those that don't listen; `then` is
        called once they are gone."""
        self._stopping = _End(chosen, time.monotonic() + patience, then)
        self._signal(chosen, signal.SIGTERM)
        self._reactor.again(0)

    def _end_turn(self) -> None:
        self._reap()
        end = self._stopping
        if end is None:
            return
        rest = end.until - time.monotonic()
        if not self._alive(end.chosen):
            end.then()
        elif rest > 0:
            self._reactor.again(rest)
        else:
            for child in self._alive(end.chosen):
                log.warning("process-killed", process=child.name, reason="it doesn't end")
            self._signal(end.chosen, signal.SIGKILL)
            end.until = math.inf

    def _alive(self, chosen: Callable[[Child], bool]) -> list[Child]:
        return [child for child in self._children.values() if child.pid and chosen(child)]

    def _signal(self, chosen: Callable[[Child], bool], number: signal.Signals) -> None:
        for child in self._alive(chosen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)


def _not_reloaded() -> None:
    log.warning("not-reloaded", signal="SIGHUP", hint="settings are read at the start: restart")


def _is_gateway(child: Child) -> bool:
    return child.row >= FIRST_GATEWAY


def serve(settings: Settings) -> int:
    """Run a node in the foreground until SIGTERM, SIGINT or SIGQUIT; returns the exit code.

    Raises BadSettings if an address can't be bound.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_limit(), files_limit()))
    return Supervisor(settings).run()
