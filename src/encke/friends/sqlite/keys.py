"""Ids as SQLite keeps them: plain decimal numbers as INTEGER, all others as TEXT.

A number takes 1 to 4 bytes in most rows, where its digits would take 6 or more, and both kinds
go into one column, since it has no affinity. Numbers come before texts in SQLite's order. What
isn't written as SQLite would write it, like 007, is a text; so is 0, which leaves one thing less
to ask of each id.

Pure.
"""

from collections.abc import Iterable

Key = int | str

FIRST = -1
"""Before the key of any id."""

_MAX_DECIMAL = 18
"""Digits of a decimal id that fit 63 bits."""


def key(id: bytes) -> Key:
    """What stands for `id` in the database."""
    return int(id) if id.isdigit() and id >= b"1" and len(id) <= _MAX_DECIMAL else id.decode()


def keys(ids: Iterable[bytes]) -> list[Key]:
    """`key` of each, for very many: without the calls."""
    longest = _MAX_DECIMAL
    return [
        int(id) if id.isdigit() and id >= b"1" and len(id) <= longest else id.decode() for id in ids
    ]
