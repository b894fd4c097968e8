"""Faults between nodes: seeded runs of the checker, and nobody is lied to.

A run opens streams at three nodes, lets senders send, has one fault happen (seed modulo their
number says which, dice with this seed all else), waits until all is whole, and compares what
was promised with what came. Nodes and NATS servers go from run to run.

ENCKE_TEST_CLUSTER_RUNS says how many runs there are (8; 200 for the long run), and
ENCKE_TEST_CLUSTER_SEED with which seed they begin (112, since none of eight faults from there on
lasts long): with one run, that is that run again.
``pytest -s`` shows a line a run.
"""

import os
import sys
import time
from pathlib import Path
from random import Random

import pytest

from bench.crowd import End

from .checker import ClusterChecker
from .faults import FAULTS, Fault, Scene
from .fleet import NODES, Fleets, Shape

RUNS = int(os.environ.get("ENCKE_TEST_CLUSTER_RUNS", "8"))
FIRST = int(os.environ.get("ENCKE_TEST_CLUSTER_SEED", "112"))

ALONE, EVERYWHERE = 8, 5
"""Users of each node who are there only, and users who are on all of them."""

ENOUGH = 150
"""Answers between the beginning and the fault, and between the fault and the end."""


@pytest.mark.timeout(60 + 30 * RUNS)
def test_faults_between_nodes(tmp_path: Path) -> None:
    """Whatever happens: what was promised came, once, in order, to whom it was for; afterwards
    each node reaches every user everywhere again."""
    failed: list[int] = []
    with Fleets(tmp_path) as fleets:
        if fleets.reason:
            say(f"cut NATS: left out, since {fleets.reason}")
        for seed in range(FIRST, FIRST + RUNS):
            fault = FAULTS[seed % len(FAULTS)]
            if fault.needs_cables and fleets.reason:
                continue
            dice = Random(seed)
            shape = dice.choice(list(fault.shapes))
            began = time.monotonic()
            try:
                verdict = run(fleets, fault, shape, seed, dice)
            except AssertionError as error:
                failed.append(seed)
                verdict = f"FAILED: {error}"
                fleets.discard(shape)
            seconds = time.monotonic() - began
            say(f"seed {seed}: {fault.name}, {shape.value}, {seconds:.1f} s: {verdict}")
    say(f"{RUNS - len(failed)} of {RUNS} runs are clean")
    assert not failed, f"ENCKE_TEST_CLUSTER_SEED={failed[0]} ENCKE_TEST_CLUSTER_RUNS=1 is the first"


def run(fleets: Fleets, fault: Fault, shape: Shape, seed: int, dice: Random) -> str:
    """One run; its verdict, in a line."""
    fleet = fleets.get(shape)
    with ClusterChecker(fleet, seed) as checker:
        for index in range(NODES):
            alone = [f"{seed}.{index}.{number}" for number in range(ALONE)]
            checker.open_at(index, alone + [f"{seed}.all.{it}" for it in range(EVERYWHERE)])
        if shape is Shape.ONE:  # who sees the head is reachable
            assert not [it for index in range(NODES) for it in checker.wrong(index)]
        checker.until_whole()
        checker.start_sending()
        checker.until_answered(ENOUGH)
        with checker.trouble():
            what = fault.cause(Scene(fleet, checker, dice))
            fleet.until_joined()
            checker.reopen()
            checker.until_whole()
        checker.until_answered(ENOUGH)
        verdict = checker.verdict()
        fleet.check()
        assert not checker.failures, checker.failures[:3]
        assert verdict.is_clean, "\n    ".join([str(verdict), *checker.explain(verdict)])
        assert not [it for it in checker.crowd.streams if it.end is End.PROPER]
        return (
            f"{what}{': ' if what else ''}{verdict}; {checker.unavailable} unavailable, "
            f"{checker.broken} broken off, {checker.kept} not handed on"
        )


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
