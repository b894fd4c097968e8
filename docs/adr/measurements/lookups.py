"""What a lookup costs in a store, and in a dict that would keep all subscribers in memory.

Every user has --friends subscribers at random. Cold is with nothing of the file in the system's
cache. Of PostgreSQL, the router asks for many publishers at once, and for one if it's idle; name
an empty database, which gets the graph and keeps it.

    python docs/adr/measurements/lookups.py [--users 1000000] [--friends 15]
        [--postgres postgresql://...]
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

from encke.friends.directories import open_directory
from encke.friends.directory import Directory, Lookup
from encke.friends.opening import open_store
from encke.friends.store import Page, Pair
from encke.reactor.loop import Reactor

COUNT = 50_000
"""Lookups timed."""

LIMIT = 256
"""Subscribers asked for at once, as the router does first."""


def pairs(users: int, friends: int) -> Iterator[Pair]:
    """The graph: the subscribers of each user in turn."""
    chance = random.Random(1)
    for publisher in range(1, users + 1):
        for subscriber in chance.sample(range(1, users + 1), friends):
            yield b"%d" % subscriber, b"%d" % publisher


def ask(reactor: Reactor, directory: Directory, publishers: list[bytes]) -> int:
    """Look all of them up; subscribers found."""
    left = [Lookup(publisher, None, LIMIT) for publisher in publishers]
    found = 0
    while left:
        answers: list[list[Page] | None] = []

        def done(pages: list[Page] | None, answers: list[list[Page] | None] = answers) -> None:
            answers.append(pages)
            reactor.stop()

        directory.ask(left, done)
        if not answers:
            reactor._stopped = False  # noqa: SLF001 (a process runs its loop once)
            reactor.run()
        (pages,) = answers
        assert pages is not None
        found += sum(len(page.ids) for page in pages)
        left = left[len(pages) :]
    return found


def timed(where: str, data: str, users: int, count: int, batch: int) -> float:
    """Microseconds a lookup, of so many at random, `batch` asked for at once."""
    reactor = Reactor()
    directory = open_directory(reactor, where, data)
    chance = random.Random(os.getpid())
    ask(reactor, directory, [b"0"])
    questions = [
        [b"%d" % chance.randint(1, users) for _ in range(batch)] for _ in range(count // batch)
    ]
    began = time.perf_counter()
    for question in questions:
        ask(reactor, directory, question)
    seconds = time.perf_counter() - began
    directory.close()
    return seconds / (batch * len(questions)) * 1e6


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_memory(users: int, friends: int) -> None:
    """The same graph as a dict of packed arrays, in a process of its own."""
    before = resident()
    table: dict[bytes, array[int]] = {}
    for subscriber, publisher in pairs(users, friends):
        table.setdefault(publisher, array("Q")).append(int(subscriber))
    used = resident() - before
    some = [b"%d" % random.randint(1, users) for _ in range(COUNT)]
    began = time.perf_counter()
    for publisher in some:
        [b"%d" % subscriber for subscriber in table[publisher]]
    each = (time.perf_counter() - began) / COUNT * 1e6
    print(f"{each:7.1f} us  a dict of packed arrays; {used / 1e6:.0f} MB in this process")


def forget(file: Path) -> None:
    """Let the system's cache have nothing of `file`."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def load(where: str, data: str, users: int, friends: int) -> None:
    """Fill the store."""
    store = open_store(where, data)
    began = time.perf_counter()
    store.load(pairs(users, friends))
    seconds = time.perf_counter() - began
    print(f"{seconds:7.1f} s   to generate and load into {where.partition(':')[0]}")
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--friends", type=int, default=15)
    parser.add_argument("--postgres")
    options = parser.parse_args()
    users, friends = options.users, options.friends
    with tempfile.TemporaryDirectory() as data:
        load("sqlite", data, users, friends)
        file = Path(data) / "friends.sqlite"
        size = file.stat().st_size
        forget(file)
        print(f"{timed('sqlite', data, users, 1000, 1):7.1f} us  SQLite, cold")
        timed("sqlite", data, users, COUNT * 4, 100)
        print(f"{timed('sqlite', data, users, COUNT, 1):7.1f} us  SQLite, warm, one at a time")
        print(f"{timed('sqlite', data, users, COUNT, 50):7.1f} us  SQLite, warm, 50 at once")
        print(f"{size / 1e6:7.0f} MB  the file")
    if options.postgres:
        load(options.postgres, "", users, friends)
        for batch in (1, 10, 100):
            timed(options.postgres, "", users, COUNT, 100)
            each = timed(options.postgres, "", users, COUNT // 5, batch)
            print(f"{each:7.1f} us  PostgreSQL, warm, {batch} at once")
    program = f"import lookups; lookups.in_memory({users}, {friends})"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": path})


if __name__ == "__main__":
    main()
