"""How the kernel schedules the processes that do the work: many that wake each other.

A woken process may preempt the one that runs. With more than a hundred of them, on few
cores and under load, each is woken for one connection or message, serves it, and sleeps
again: nothing gathers, and most of the time goes into switching. Under SCHED_BATCH the one
that runs goes on until it sleeps or its time is up, and the others find more to do in a
turn. On an idle core a process starts at once under either (sched(7)).

Where there are few of them, it's the other way round: they gather nothing by it, but wait, up
to some milliseconds, for whatever else runs on their core.
"""

import os

CROWD = 2
"""Gateways a core; more of them are a crowd."""


def crowding(gateways: int) -> float:
    """How many times as many gateways a core as there may be before they're a crowd."""
    return gateways / (CROWD * len(os.sched_getaffinity(0)))


def batch_crowd(gateways: int) -> None:
    """`batch`, if a node may have so many gateways that they're a crowd on the cores it has."""
    if crowding(gateways) > 1:
        batch()


def batch() -> None:
    """Let this process, and those that it will fork, not preempt others when woken.

    Nothing is changed if somebody has chosen a policy for it (chrt(1), systemd).
    """
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
