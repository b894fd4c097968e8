"""How the server's processes are scheduled."""

import os
import subprocess
import sys

import pytest

from .node import Node

CHANGED = """
import os
from encke import scheduling
os.sched_setscheduler(0, {before}, os.sched_param(0))
scheduling.batch()
print(os.sched_getscheduler(0))
"""


def test_the_servers_processes_do_not_preempt_each_other() -> None:
    """All processes of a node run under SCHED_BATCH, those too that the supervisor forks."""
    with Node("--gateways", "2") as node:
        policies = {it.name: os.sched_getscheduler(it.pid) for it in node.state().processes}
    assert len(policies) == 5
    assert set(policies.values()) == {os.SCHED_BATCH}


@pytest.mark.parametrize(
    ("before", "after"),
    [(os.SCHED_OTHER, os.SCHED_BATCH), (os.SCHED_IDLE, os.SCHED_IDLE)],
)
def test_a_chosen_policy_stays(before: int, after: int) -> None:
    """A policy that somebody has chosen for the server isn't changed."""
    code = CHANGED.format(before=before)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == after
