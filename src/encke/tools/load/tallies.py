"""Tallies: a number for each user, packed, that outlives the tool if it's given a file.

The file holds nothing but 32-bit little-endian numbers, user by user, and is a shared
mapping: it's up to date while the tool runs. ``encke generate --counts sent`` and
``encke flood --counts got`` for the same users write the same file if nothing was lost
or doubled: ``cmp sent got`` proves it.

Beside them, the sums of publications' keys (load.stamp): 64-bit numbers, in the same way.
"""

import mmap
import sys

from ...errors import BadSettings


def tallies(users: int, file: str = "") -> "memoryview[int]":
    """A number for each of `users`, all 0; in `file`, which is overwritten, if one is named.

    Raises BadSettings if it can't be written.
    """
    return memoryview(_mapped(max(1, users) * 4, file)).cast("I")[:users]


def sums(users: int, file: str) -> "memoryview[int]":
    """The same with 64-bit numbers."""
    return memoryview(_mapped(max(1, users) * 8, file)).cast("Q")[:users]


def _mapped(size: int, file: str) -> mmap.mmap:
    if sys.byteorder != "little":
        raise BadSettings("The counts are written by machines with little-endian numbers only.")
    if not file:
        return mmap.mmap(-1, size)
    try:
        with open(file, "w+b") as opened:
            opened.truncate(size)
            return mmap.mmap(opened.fileno(), size)
    except OSError as error:
        raise BadSettings(f"{file}: {error.strerror}; name a file that can be written.") from None
