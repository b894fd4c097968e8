"""Which files have the names now: an operator may give them to others while we have them open.

::

    friends.sqlite         the database
    friends.sqlite-wal     its log: what was written last is there only
    friends.sqlite-shm     the log's index, which all who have the file open map and share
    friends.sqlite-files   ours: the numbers (inodes) of these three, which belong together

`mv backup friends.sqlite` leaves the log of the old file beside the new one, and SQLite, which
knows only names, would take it for the new one's. So whoever opens the files writes down which
ones they are, before each transaction looks whether they still are, and takes another database's
log away before opening anything; all that one process at a time.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ...errors import StoreError
from .place import FILES, INDEX, LOG, OWNER_ONLY

INDEX_SIZE = 32 * 1024
"""Bytes of an index in use, at least; SQLite's file format, "WAL-Index". What is shorter was cut
off, and who reads what is mapped of it dies."""

_SUFFIXES = (("", 0), (LOG, 0), (INDEX, INDEX_SIZE))

LOOK = 0.005
"""Seconds between two tries to be the only one who opens."""

_File = tuple[int, int]  # device and inode


class Names(msgspec.Struct, frozen=True):
    """Who has the names; None: nobody."""

    database: _File | None = None
    log: _File | None = None
    index: _File | None = None


def look(file: Path) -> Names:
    """Who has the names of the database `file` now."""
    return Names(*(_at(f"{file}{suffix}", size) for suffix, size in _SUFFIXES))


def index_is_cut(index: str) -> bool:
    """Whether the file `index` is too short for who has mapped it; one stat(2)."""
    try:
        return os.stat(index).st_size < INDEX_SIZE
    except OSError:
        return False  # what is mapped is whole, under no name


def take_away(file: Path) -> None:
    """If `file` isn't the database that the log was written for, or its log is gone, let go what is
    left of it. To be called by who is `alone`."""
    now, old = look(file), _written(file)
    if (now.database, now.log) == (old.database, old.log):
        return
    for suffix, its, was in ((LOG, now.log, old.log), (INDEX, now.index, old.index)):
        if was is not None and its == was:
            with suppress(FileNotFoundError):
                os.unlink(f"{file}{suffix}")


def write_down(file: Path, names: Names) -> None:
    """`names` belong together. To be called by who is `alone`."""
    if names != _written(file):
        new = f"{file}{FILES}.new"
        with open(
            new, "wb", opener=lambda name, flags: os.open(name, flags, OWNER_ONLY)
        ) as written:
            written.write(msgspec.json.encode(_Together(_boot(), names)))
        os.replace(new, f"{file}{FILES}")


class _Together(msgspec.Struct):
    """What is written down: on another machine, or another day, the numbers mean other files."""

    boot: str
    names: Names


def _written(file: Path) -> Names:
    try:
        written = msgspec.json.decode(Path(f"{file}{FILES}").read_bytes(), type=_Together)
    except (FileNotFoundError, msgspec.MsgspecError):
        return Names()
    return written.names if written.boot == _boot() else Names()


def _boot() -> str:
    """Which run of the kernel this is: random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()


@contextmanager
def alone(file: Path, patience: float) -> Iterator[None]:
    """Nobody else opens `file` inside; raises StoreError if that takes longer than `patience`."""
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise StoreError(
                        f"Another program keeps {file.parent} locked: let it end."
                    ) from None
                time.sleep(LOOK)
        yield
    finally:
        os.close(directory)  # and unlocked


def _at(name: str, size: int) -> _File | None:
    try:
        return _number(os.stat(name), size)
    except FileNotFoundError:
        return None


def _number(status: os.stat_result, size: int) -> _File | None:
    """Of a file that has `size` bytes at least."""
    return (status.st_dev, status.st_ino) if status.st_size >= size else None
