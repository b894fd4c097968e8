"""The scoreboard: who is there, what they say, and what remains of the dead."""

import subprocess
import sys
import time

import pytest

from encke.scoreboard import (
    CONTROL,
    COUNTERS,
    FIRST_GATEWAY,
    NODE,
    ROUTER,
    ROWS,
    SILENT,
    SUPERVISOR,
    Field,
    Row,
    Scoreboard,
    State,
    Watcher,
)


@pytest.fixture
def board() -> Scoreboard:
    """An empty scoreboard."""
    return Scoreboard()


def test_it_begins_empty(board: Scoreboard) -> None:
    """No process, no count."""
    assert list(board.processes()) == []
    assert all(board.total(field) == 0 for field in Field)


def test_rows_are_apart(board: Scoreboard) -> None:
    """What one row says, no other says: whatever the field, up to 64 bits."""
    for field in Field:
        board.row(FIRST_GATEWAY)[field] = (1 << 64) - 1 - field
    assert [board.row(FIRST_GATEWAY)[field] for field in Field] == [
        (1 << 64) - 1 - field for field in Field
    ]
    for neighbour in (FIRST_GATEWAY - 1, FIRST_GATEWAY + 1):
        assert not any(board.row(neighbour)[field] for field in Field)


def test_who_has_a_process_id_is_there(board: Scoreboard) -> None:
    """Processes are listed in the order of their rows, gaps or not; the node is none."""
    there = [SUPERVISOR, ROUTER, CONTROL, FIRST_GATEWAY + 1, FIRST_GATEWAY + 7, ROWS - 1]
    for index in [NODE, *there]:
        board.row(index)[Field.PID] = 100 + index
    assert [row.index for row in board.processes()] == there
    assert [row.index for row in board.gateways()] == there[3:]
    assert [row[Field.PID] for row in board.gateways()] == [100 + index for index in there[3:]]


def gateway(board: Scoreboard, number: int, connections: int, state: State = State.READY) -> Row:
    """The row of a gateway for 10 connections."""
    row = board.row(FIRST_GATEWAY + number)
    row[Field.PID], row[Field.STATE] = 100 + number, state
    row[Field.CAPACITY], row[Field.CONNECTIONS] = 10, connections
    row[Field.TICK] = round(time.monotonic() * 1000)
    return row


def test_full(board: Scoreboard) -> None:
    """The node is full once each gateway that there may be has as many connections as it can, or
    more."""
    assert not board.full(2)
    gateway(board, 0, 10)
    assert board.full(1)
    assert not board.full(2)  # there's to be another
    second = gateway(board, 1, 9)
    assert not board.full(2)
    second[Field.CONNECTIONS] = 12
    assert board.full(2)
    assert not board.full(3)
    gateway(board, 2, 10, State.STARTING)
    assert not board.full(3)


def test_full_beside_who_hangs(board: Scoreboard) -> None:
    """Who hangs has no room; but where all hang, that's not for want of it."""
    first, second = gateway(board, 0, 10), gateway(board, 1, 0)
    second[Field.TICK] -= round(SILENT * 1000) + 100
    assert board.full(2)
    first[Field.TICK] = second[Field.TICK]
    assert not board.full(2)


def test_totals(board: Scoreboard) -> None:
    """A total is over those who are there."""
    for index, streams in ((FIRST_GATEWAY, 3), (FIRST_GATEWAY + 1, 4)):
        board.row(index)[Field.PID] = 1
        board.row(index)[Field.STREAMS] = streams
    board.row(FIRST_GATEWAY + 2)[Field.STREAMS] = 100  # nobody is there
    assert board.total(Field.STREAMS) == 7


def test_the_dead_leave_their_counters(board: Scoreboard) -> None:
    """A process that died takes its gauges along, its counters stay in the totals, once."""
    row = board.row(FIRST_GATEWAY)
    for field in Field:
        row[field] = 5
    before = {field: board.total(field) for field in Field}
    board.retire(FIRST_GATEWAY)
    board.retire(FIRST_GATEWAY)
    assert list(board.processes()) == []
    for field in Field:
        assert board.total(field) == (before[field] if field in COUNTERS else 0)


def test_a_place_remembers_its_restarts(board: Scoreboard) -> None:
    """How often a place was refilled survives the refilling."""
    row = board.row(FIRST_GATEWAY)
    row[Field.PID], row[Field.STATE], row[Field.RESTARTS] = 1, State.READY, 2
    board.retire(FIRST_GATEWAY)
    assert row[Field.RESTARTS] == 2
    assert row[Field.STATE] == State.ABSENT


def test_processes_see_each_other() -> None:
    """What a child writes, its parent reads, also when the child was killed."""
    program = """
import os, signal
from encke.scoreboard import Field, Scoreboard
board = Scoreboard()
if (pid := os.fork()) == 0:
    board.row(4)[Field.STREAMS] = 42
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(pid, 0)
assert board.row(4)[Field.STREAMS] == 42
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_silence(board: Scoreboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks sees how long a process hasn't ticked; but not what was before they looked, or
    while they were stopped."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("time.monotonic_ns", lambda: int(now * 1e9))
    row = board.row(FIRST_GATEWAY)
    watcher = Watcher()
    assert watcher.silent(row) == 0.0
    row[Field.TICK] = 1
    assert watcher.silent(row) == 0.0
    for _ in range(20):
        now += 0.5
        watcher.look()
    assert watcher.silent(row) == 10.0
    row.tick()
    now += 1.0
    watcher.look()
    assert watcher.silent(row) == 1.0
    now += 1.1
    watcher.look()  # late
    assert watcher.silent(row) == 0.0
    now += 0.5
    watcher.look()
    assert watcher.silent(row) == 0.5
    row.tick()
    now -= 0.25
    assert watcher.silent(row) == 0.0
