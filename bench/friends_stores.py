"""The graph of friends, made and loaded as users do: by ``encke friends``, a process each."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from random import Random

import msgspec

from encke.friends.opening import open_store

from .servers.encke import environment_of_ours
from .servers.processes import BenchError

LOOKUPS = 2_000
"""Publishers whose subscribers are looked up, to time it."""

LIMIT = 256
"""Subscribers that are asked for at once, as the router does first."""

_added = re.compile(r"([\d,]+) subscriptions added").search


class Made(msgspec.Struct, frozen=True):
    """The file of subscriptions."""

    users: int
    subscriptions: int
    seconds: float
    """0: it was there."""


class Loaded(msgspec.Struct, frozen=True):
    """A store was loaded."""

    store: str
    subscriptions: int
    seconds: float
    """From the start of ``encke friends load`` to its end."""
    bytes: int
    """On disk."""
    lookup_us: float
    """To look up the subscribers of somebody, the mean over random users, one after the other."""


def make(users: int, friends: int, file: Path) -> Made:
    """Make the article's graph. Raises BenchError."""
    began = time.monotonic()
    with file.open("wb") as out:
        _run("generate", "--users", str(users), "--friends", str(friends), out=out.fileno())
    return Made(users, count(file), time.monotonic() - began)


def count(file: Path) -> int:
    """Lines of the file."""
    with file.open("rb") as opened:
        return sum(piece.count(b"\n") for piece in iter(lambda: opened.read(1 << 20), b""))


def load(name: str, file: Path, users: int, *, friends: str, data: Path) -> Loaded:
    """Load `file` into the store that `friends` and `data` name; its size is 0, since that's
    asked for in another way each. Raises BenchError."""
    began = time.monotonic()
    said = _run("load", str(file), "--friends", friends, "--data", str(data))
    seconds = time.monotonic() - began
    found = _added(said)
    if found is None:
        raise BenchError(f"encke friends load said: {said}")
    lookup = _lookup(friends, data, _some(users))
    return Loaded(name, int(found[1].replace(",", "")), seconds, 0, lookup)


def size(data: Path) -> int:
    """Bytes of the SQLite store in `data`, with all of its files."""
    return sum(file.stat().st_size for file in data.glob("friends.sqlite*"))


def _some(users: int) -> Sequence[bytes]:
    return [b"%d" % user for user in Random(1).choices(range(1, users + 1), k=LOOKUPS)]


def _lookup(friends: str, data: Path, publishers: Sequence[bytes]) -> float:
    """Microseconds a lookup."""
    with closing(open_store(friends, str(data))) as store:
        for publisher in islice(publishers, 100):
            store.subscribers(publisher, None, LIMIT)
        began = time.perf_counter()
        for publisher in publishers:
            store.subscribers(publisher, None, LIMIT)
        return (time.perf_counter() - began) / len(publishers) * 1e6


def _run(command: str, *arguments: str, out: int = subprocess.PIPE) -> str:
    """``encke friends COMMAND``, with no settings of ours; what it printed. Raises BenchError."""
    done = subprocess.run(
        [sys.executable, "-m", "encke", "friends", command, *arguments],
        stdout=out,
        stderr=subprocess.PIPE,
        env=environment_of_ours(),
        check=False,
    )
    if done.returncode:
        said = done.stderr[-2000:].decode(errors="replace")
        raise BenchError(f"encke friends {command} failed:\n{said}")
    return (done.stdout or b"").decode()
