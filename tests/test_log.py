"""The log: a line an event, whole, and never waited for."""

import os
import pty
import subprocess
import sys
import termios

import pytest

from encke import log

PROGRAM = """
from encke import log
dropped = 0
def count():
    global dropped
    dropped += 1
log.begin()
log.count_dropped(count)
for number in range(20_000):
    log.info("spoken", number=number)
print(dropped)
"""
"""It says much, and then how many lines it couldn't."""


def dropped(stderr: int) -> int:
    """How many lines it couldn't write to this descriptor, which stays as it was."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=stderr, check=True
    )
    assert os.get_blocking(stderr)
    return int(ran.stdout)


def test_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    """It has time, level and event; values with spaces are quoted, line breaks escaped."""
    log.warning("tried", what='a "b"\nc', where="x", nothing="")
    stamp, rest = capfd.readouterr().err.split(" ", 1)
    assert stamp.startswith("ts=20")
    assert rest == 'level=warning event=tried what="a \\"b\\"\\nc" where=x nothing=""\n'


def test_hostile_values(capfd: pytest.CaptureFixture[str]) -> None:
    """A line is one that a pipe takes whole: of a long value both ends are left. What isn't
    Unicode is escaped."""
    log.error("crashed", traceback="begin" + "\n" * 100_000 + "end", name="\udcff")
    (line,) = capfd.readouterr().err.splitlines()
    assert len(line) < log.LONGEST
    assert 'traceback="begin\\n' in line
    assert "\\n ... \\n" in line
    log.error("crashed", name="\udcff", many="x" * 2_990, too_many="y" * 2_990)
    (line,) = capfd.readouterr().err.splitlines()
    assert "name=\\udcff many=xxx" in line
    assert len(line) == log.LONGEST - 2


def test_hostile_pipe_that_nobody_empties() -> None:
    """What it takes is written, the rest dropped; the pipe's other writers may still wait."""
    theirs, ours = os.pipe()
    lost = dropped(ours)
    os.close(ours)
    with os.fdopen(theirs, "rb") as reader:
        written = reader.read().splitlines()
    assert 0 < lost < 20_000
    assert len(written) == 20_000 - lost
    assert all(b" event=spoken number=" in line for line in written)


def test_hostile_terminal_that_is_stopped() -> None:
    """Ctrl-S at a terminal stops its output, not the server."""
    theirs, ours = pty.openpty()
    termios.tcflow(ours, termios.TCOOFF)
    assert dropped(ours) == 20_000
    termios.tcflow(ours, termios.TCOON)
    os.close(ours)
    os.close(theirs)


def test_hostile_disk_that_takes_half_a_line() -> None:
    """What comes after it begins a line of its own."""
    taken = b""
    rooms = [99, 3, 0, 99]

    def put(line: bytes) -> int:
        nonlocal taken
        part = line[: rooms.pop(0)]
        taken += part
        return len(part)

    lost = 0

    def count() -> None:
        nonlocal lost
        lost += 1

    output = log._Output(put)
    output.dropped = count
    for line in (b"one\n", b"second\n", b"third\n", b"four\n"):
        output.write(line)
    assert (taken, lost) == (b"one\nsec\nfour\n", 2)
