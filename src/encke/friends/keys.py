"""Ids as SQLite keeps them: plain decimal numbers as INTEGER, all others as TEXT.

A number takes 1 to 4 bytes in most rows, where its digits would take 6 or more, and both kinds
go into one column, since it has no affinity. Numbers come before texts in SQLite's order.

Pure. May import: nothing of Encke.
"""

_MAX_DECIMAL = 18
"""Digits of a decimal id that fit 63 bits."""

Key = int | str


def key(id: bytes) -> Key:
    """What stands for `id` in the database."""
    if len(id) <= _MAX_DECIMAL and id.isdigit() and (id[0] != 48 or len(id) == 1):
        return int(id)
    return id.decode("ascii")


def id_of(key: Key) -> bytes:
    """The id that `key` stands for."""
    return b"%d" % key if isinstance(key, int) else key.encode("ascii")
