"""A flood from its beginning to its end: what is told when, and when it's over.

It looks at the scoreboard a few times a second; nothing is asked of a herd.
"""

import math
import os
import select
import signal
import sys
import time

from ..load.kernel import raise_files_limit, source_ports
from ..load.screen import Say, live
from ..load.signals import Signals
from .addresses import Addresses, Listed, Numbered, headers
from .crowd import SIGNALS, Crowd
from .herd import CHURN, CUT, Field
from .plan import Plan, spread
from .streams import Reason

LOOK = 0.1
"""Seconds between two looks at the scoreboard."""
COMPLAINTS = 20
"""Lines about single streams that are passed on."""


def run(plan: Plan) -> int:
    """Carry out `plan` until it's over, or SIGINT or SIGTERM comes; returns the exit code:
    0 if all streams were open, came back, and none got a message that wasn't due; 69 if no
    server is there; else 1.

    Raises BadSettings if it can't be begun.
    """
    files = raise_files_limit()
    addresses: Addresses = (
        Listed(plan.urls, plan.connections)
        if plan.urls
        else Numbered(plan.url, plan.first_id, plan.connections)
    )
    headers(plan.headers)  # fails here, not in each herd
    crowd = Crowd(plan, addresses, spread(plan, len(addresses), files, source_ports()))
    flood = Flood(plan, crowd)
    with Signals(*SIGNALS) as signals:
        crowd.listen()
        with live(not plan.json) as say:
            flood.watch(signals, say)
        return flood.end()


class Flood:
    """The course of one flood. Times are monotonic nanoseconds, 0: not yet."""

    def __init__(self, plan: Plan, crowd: Crowd) -> None:
        from .teller import Teller  # imports what the herds don't need

        self._plan = plan
        self._crowd = crowd
        self._teller = Teller(plan, crowd)
        self._over = self._died = False
        self._passed_on = 0
        self._connected_at = 0
        self._cuts = 0
        self._cut_at = 0
        self._to_return = 0
        """How many were open when all were cut; 0: they are back."""

    def watch(self, signals: Signals, say: Say | None) -> None:
        """Until it's over; `say` shows where it stands."""
        plan, crowd = self._plan, self._crowd
        end = crowd.started + plan.duration * 1e9 if plan.duration else math.inf
        tell_at = crowd.started + plan.every * 1e9
        while not self._over:
            select.select([crowd.complaints, signals.fileno()], [], [], LOOK)
            self._obey(signals.take())
            self._pass_on()
            self._look()
            if say is not None:
                say(self._teller.line())
            now = time.monotonic_ns()
            if now >= tell_at:
                tell_at += plan.every * 1e9
                self._tell("stats")
            if now >= end:
                self._over = True

    def end(self) -> int:
        """Stop the herds, and tell what it came to; returns the exit code."""
        self._teller.weigh()  # while the herds are there
        self._crowd.end()
        self._pass_on()
        self._tell("end")
        return self._exit_code()

    def _obey(self, signals: list[int]) -> None:
        if signal.SIGUSR1 in signals:
            self._cut()
        if signal.SIGCHLD in signals and self._crowd.reap():
            print("encke flood: one of its processes has died; giving up.", file=sys.stderr)
            self._over = self._died = True
        if signal.SIGINT in signals or signal.SIGTERM in signals:
            self._over = True

    # looking

    def _look(self) -> None:
        board, plan = self._crowd.board, self._plan
        connected = board.total(Field.CONNECTED)
        if not self._connected_at and connected == self._crowd.streams:
            self._connected_at = max(board.column(Field.LAST_OPENED))
            self._teller.seconds_to_connect = (self._connected_at - self._crowd.started) / 1e9
            self._tell("connected")
            if plan.churn:
                self._crowd.command(CHURN)
        elif self._to_return and connected >= self._to_return and self._was_cut():
            self._to_return = 0
            back_at = max(board.column(Field.LAST_OPENED))
            self._teller.seconds_to_return = (back_at - self._cut_at) / 1e9
            self._tell("back")
        cut_at = self._connected_at + plan.cut * 1e9
        if plan.cut and self._connected_at and not self._cuts and time.monotonic_ns() >= cut_at:
            self._cut()
        if not connected and not board.total(Field.WAITING):
            self._over = True  # nothing is open, nor will be

    def _was_cut(self) -> bool:
        """Whether all herds have carried out all commands to cut."""
        return min(self._crowd.board.column(Field.CUTS)) == self._cuts

    def _cut(self) -> None:
        """Cut all streams, and see how long they take to come back."""
        self._cuts += 1
        self._to_return = self._crowd.board.total(Field.CONNECTED)
        self._teller.seconds_to_return = None
        self._tell("cut")
        self._cut_at = time.monotonic_ns()
        self._crowd.command(CUT)

    # telling

    def _tell(self, event: str) -> None:
        for line in self._teller.tell(event):
            print(line, flush=True)

    def _pass_on(self) -> None:
        """Show what herds complain of."""
        try:
            lines = os.read(self._crowd.complaints, 64 * 1024).decode().splitlines()
        except BlockingIOError:
            return
        for line in lines[: max(0, COMPLAINTS - self._passed_on)]:
            print(f"encke flood: {line}", file=sys.stderr)
        self._passed_on += len(lines)

    def _exit_code(self) -> int:
        total = self._crowd.board.total
        if not total(Field.OPENED) and total(Field.FAILED + Reason.REFUSED):
            return os.EX_UNAVAILABLE
        complete = self._connected_at or total(Field.OPENED) >= self._crowd.streams
        wrong = total(Field.VIOLATIONS) or self._to_return or self._died
        return 0 if complete and not wrong else 1
