"""Where the file is, and what can be said of that without SQLite, which costs a process memory; and
without pathlib, which brings urllib."""

import os

from ...errors import StoreError

FILE = "friends.sqlite"


def check_place(data: str) -> None:
    """Raises StoreError if the directory `data` can't be made, or no file in it."""
    there = directory = os.path.abspath(data)
    while not os.path.exists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        reason = f"{there} is no directory"
    elif not os.access(there, os.W_OK | os.X_OK):
        reason = f"{there} can't be written to"
    else:
        return
    raise unusable(directory, reason)


def unusable(directory: object, reason: str) -> StoreError:
    """Why `directory` is of no use, and what to do."""
    return StoreError(
        f"{reason}. Make {directory} a directory that the user that Encke runs as may write to, "
        "or name another one with --data."
    )
