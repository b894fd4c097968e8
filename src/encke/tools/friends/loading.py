"""Loading a file into the store, and telling how far it is."""

import os
import stat
import sys
import time
from typing import BinaryIO

from ...friends.store import Store
from ..load.screen import Rate, Say, live
from .files import Direction, Source

EVERY = 5.0
"""Seconds between two lines, where there's no terminal."""

SHOWN = 0.1
"""Seconds between two changes on a terminal."""


def load(
    store: Store,
    file: BinaryIO,
    name: str,
    *,
    direction: Direction,
    mutual: bool,
    skip_bad: bool,
) -> None:
    """Load `file` into `store`; says so, progress on stderr, the outcome on stdout.

    Raises BadLines, and StoreError.
    """
    began = time.monotonic()
    with live() as say:
        progress = _Progress(say or _print, SHOWN if say else EVERY, _size(file))
        source = Source(
            file,
            name,
            direction=direction,
            mutual=mutual,
            skip_bad=skip_bad,
            on_block=lambda: progress.tell(source),
        )
        added = store.load(source, progress.keep)
    seconds = time.monotonic() - began
    reader = source.reader
    print(f"{reader.lines:,} lines read, {added:,} subscriptions added in {seconds:.1f} s")
    if reader.bad:
        print(f"{reader.bad:,} bad lines were left out:", file=sys.stderr)
        for error in reader.errors:
            print(f"  line {error.number}: {error.reason}", file=sys.stderr)
        if reader.bad > len(reader.errors):
            print("  ...", file=sys.stderr)


class _Progress:
    """Tells how far reading is, not too often."""

    def __init__(self, say: Say, pause: float, size: int) -> None:
        self._say = say
        self._pause = pause
        self._size = size
        self._rate = Rate()
        self._next = time.monotonic() + pause
        self._kept = 0
        self._told = False

    def keep(self, _taken: int, kept: int) -> None:
        """The store has said how many are in it for good."""
        self._kept = kept

    def tell(self, source: Source) -> None:
        now = time.monotonic()
        if now < self._next and not (source.ended and self._told):
            return
        self._next = now + self._pause
        self._told = True
        lines = source.reader.lines
        line = f"{lines:,} lines read"
        if source.ended:
            line += "; the store is putting them in order"
        else:
            if self._size:
                line += f", {source.bytes / self._size:.0%}"
            line += f", {self._rate.of(lines):,.0f}/s"
            if self._kept:
                line += f"; {self._kept:,} are in the store"
        self._say(line)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _size(file: BinaryIO) -> int:
    """Bytes; 0 if it's a pipe, which may bring as many as it likes."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
