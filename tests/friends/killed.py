"""A process that writes to a store and says what is acknowledged, for tests that kill it.

python -m friends.killed FRIENDS DATA add|load
"""

import sys
from collections.abc import Iterator

from encke.friends.opening import open_store
from encke.friends.store import Pair

LOADED = 300_000


def numbered(numbers: range) -> Iterator[Pair]:
    for number in numbers:
        yield b"%d" % number, b"p%d" % (number * 7919 % 1009)


def say(*what: object) -> None:
    sys.stdout.write(" ".join(map(str, what)) + "\n")
    sys.stdout.flush()


def main(friends: str, data: str, what: str) -> None:
    store = open_store(friends, data)
    if what == "add":
        for number in range(1_000_000):
            store.add(list(numbered(range(number, number + 1))))
            say(number)
    else:
        store.load(numbered(range(LOADED)), say)
        say("loaded")


if __name__ == "__main__":
    main(*sys.argv[1:])
