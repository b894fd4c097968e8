"""Did each user get each message, and none twice? By what the tools count for each user.

``encke generate --counts`` and ``encke flood --counts`` keep a 32-bit number for each
user in a file that is up to date at any time (load.tallies). Several runs of the
generator have a file each; their sum must be what the flood counts.
"""

import operator
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

LOOK = 0.02
"""Seconds between two looks at what has come: a million numbers are compared in a millisecond."""


class Difference(msgspec.Struct, frozen=True):
    """Messages that did not come, or came more than once, and to how many users."""

    lost: int = 0
    doubled: int = 0
    users: int = 0

    def __bool__(self) -> bool:
        return bool(self.users)

    def __str__(self) -> str:
        if not self:
            return "none lost or doubled"
        return f"{self.lost:,} lost, {self.doubled:,} doubled, of {self.users:,} users"


def total(files: Sequence[Path]) -> "array[int]":
    """The sums of the numbers in `files`, user by user."""
    sums = _numbers(files[0])
    for file in files[1:]:
        sums = array("I", map(operator.add, sums, _numbers(file)))
    return sums


def wait_for(sent: "array[int]", got: Path, patience: float) -> Difference:
    """Wait until `got` holds what was sent, or nothing more comes for `patience` seconds."""
    expected = sent.tobytes()
    if wait(lambda: got.read_bytes() == expected, lambda: came(got), patience):
        return Difference()
    return difference(sent, _numbers(got))


def wait(done: Callable[[], bool], count: Callable[[], int], patience: float) -> bool:
    """Wait until all is `done`, or for so many seconds nothing is added to `count`, which is asked
    rarely, since a sum costs more than a comparison; whether it's done."""
    before, looked = -1, time.monotonic()
    since = looked
    while not done():
        now = time.monotonic()
        if now - looked > patience / 4:
            looked, counted = now, count()
            if counted != before:
                before, since = counted, now
            elif now - since > patience:
                return False
        time.sleep(LOOK)
    return True


def came(got: Path) -> int:
    """Messages that have come, to all users."""
    return sum(_numbers(got))


def difference(sent: "array[int]", got: "array[int]") -> Difference:
    """What is wrong with `got`."""
    pairs = [(a, b) for a, b in zip(sent, got, strict=True) if a != b]
    return Difference(
        lost=sum(max(0, a - b) for a, b in pairs),
        doubled=sum(max(0, b - a) for a, b in pairs),
        users=len(pairs),
    )


def _numbers(file: Path) -> "array[int]":
    numbers = array("I")
    numbers.frombytes(file.read_bytes())
    return numbers
