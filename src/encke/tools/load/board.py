"""A scoreboard: counters of several processes, in shared memory.

Made before the fork; one row of 64-bit numbers a process, which that process alone
writes. Whoever reads may see a row half updated, which is good enough for counters.
"""

import mmap


class Board:
    """`rows` times `width` numbers, all 0."""

    def __init__(self, rows: int, width: int) -> None:
        self._width = width
        self._rows = rows
        self._cells = memoryview(mmap.mmap(-1, rows * width * 8)).cast("Q")

    def row(self, index: int) -> "memoryview[int]":
        """The row of one process."""
        return self._cells[index * self._width : (index + 1) * self._width]

    def column(self, index: int) -> list[int]:
        """One number of each process."""
        return list(self._cells[index :: self._width])

    def total(self, index: int) -> int:
        """One number, summed over the processes."""
        return sum(self._cells[index :: self._width])
