"""Running a reactor in a test: until a condition holds, and never for longer than a while."""

import time
from collections.abc import Callable

from encke.reactor.loop import Reactor

PATIENCE = 10.0
"""Seconds until a condition that should hold at once is given up."""


def run_until(reactor: Reactor, condition: Callable[[], bool]) -> None:
    """Run `reactor` until `condition` holds at the end of a turn."""
    waiting = True
    give_up = time.monotonic() + PATIENCE

    def look() -> None:
        if waiting and (condition() or time.monotonic() > give_up):
            reactor.stop()

    reactor.after_turn(look)
    reactor.every(PATIENCE, look)
    reactor._stopped = False  # a process runs its loop once, a test now and then
    reactor.run()
    waiting = False
    assert condition(), "the condition didn't come true"
