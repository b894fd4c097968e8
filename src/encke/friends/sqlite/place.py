"""Where the file is: who may read it, and what else can be said of that without SQLite, which
costs a process memory; and without pathlib, which brings urllib.

What is made here is for its owner alone, whatever the umask; SQLite gives the log and the index the
rights of the database. Files that everyone may read or write, as an older Encke made them, are
closed to all others. What only a group may was somebody's choice, and stays. A directory that
exists is left as it is, since it may be anything (`--data /tmp`): its files keep what is in them.
"""

import contextlib
import os
import stat

from ...errors import StoreError

FILE = "friends.sqlite"
LOG, INDEX, FILES = "-wal", "-shm", "-files"
"""What the names of the files beside it end in: see names.py."""

OWNER_ONLY = 0o600

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make(file: str) -> None:
    """Make the database `file`, empty, and its directory, or close them to others."""
    os.makedirs(os.path.dirname(os.path.abspath(file)), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
    for suffix in ("", LOG, INDEX, FILES):
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name := file + suffix)
            if status.st_uid == os.geteuid() and status.st_mode & stat.S_IRWXO:
                os.chmod(name, OWNER_ONLY)


def others_may_write(data: str) -> bool:
    """Whether users but the owner may put files into the directory `data`, or take them out."""
    try:
        return bool(os.stat(data).st_mode & _OTHERS_MAY_WRITE)
    except OSError:
        return False


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
