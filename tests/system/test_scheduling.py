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


@pytest.mark.parametrize(
    ("gateways", "policy"), [(2, os.SCHED_OTHER), (3, os.SCHED_BATCH)], ids=["few", "crowd"]
)
def test_a_crowd_does_not_preempt_each_other(gateways: int, policy: int) -> None:
    """All processes of a node, also those that the supervisor forks, have the usual policy;
    if it has more than two gateways for each core, SCHED_BATCH."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # the node inherits it
    try:
        with Node("--gateways", str(gateways)) as node:
            policies = {it.name: os.sched_getscheduler(it.pid) for it in node.state().processes}
    finally:
        os.sched_setaffinity(0, cores)
    assert len(policies) == 3 + gateways
    assert set(policies.values()) == {policy}


@pytest.mark.parametrize(
    ("before", "after"),
    [(os.SCHED_OTHER, os.SCHED_BATCH), (os.SCHED_IDLE, os.SCHED_IDLE)],
)
def test_a_chosen_policy_stays(before: int, after: int) -> None:
    """A policy that somebody has chosen for the server isn't changed."""
    code = CHANGED.format(before=before)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == after
