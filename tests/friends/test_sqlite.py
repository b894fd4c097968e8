"""SQLite in particular: the file, and what may be wrong with it."""

import os
import shutil
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.errors import StoreError
from encke.friends.directories import open_directory
from encke.friends.directory import Lookup
from encke.friends.opening import open_store
from encke.friends.sqlite.file import VERSION
from encke.friends.sqlite.keys import key, keys
from encke.friends.sqlite.place import FILE
from encke.friends.store import Page
from encke.reactor.loop import Reactor

from .asking import ask, asked
from .test_stores import ALIKE, ids

QUESTION = Lookup(b"p", None, 10)


@given(st.lists(ids | st.integers(0, 10**19).map(lambda number: b"%d" % number)))
def test_keys_are_distinct_and_printed_as_they_came(some: list[bytes]) -> None:
    """Each id has one key, which SQLite prints as the id; many at once have the same."""
    some += ALIKE
    assert keys(some) == [key(id) for id in some]
    assert [str(key(id)).encode() for id in some] == some


def refused(data: Path, *, match: str) -> None:
    """Both store and directory say `match`."""
    with pytest.raises(StoreError, match=match):
        open_store("sqlite", str(data))
    with pytest.raises(StoreError, match=match):
        open_directory(Reactor(), "sqlite", str(data)).ask([QUESTION], lambda _: None)


def test_a_newer_schema(tmp_path: Path) -> None:
    """A file of a newer Encke isn't touched: update."""
    open_store("sqlite", str(tmp_path)).close()
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    refused(tmp_path, match="newer Encke")


def test_no_database(tmp_path: Path) -> None:
    """A file of something else isn't touched: move it away."""
    (tmp_path / FILE).write_bytes(b"dear diary, " * 1000)
    refused(tmp_path, match="move it away")
    assert (tmp_path / FILE).read_bytes().startswith(b"dear diary")


def test_no_directory(tmp_path: Path) -> None:
    """A directory that can't be made: name another one."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="--data"):
        open_store("sqlite", str(tmp_path / "file" / "data"))


@pytest.mark.skipif(os.getuid() != 0, reason="takes root, to be another user who may not write")
def test_not_writable(tmp_path: Path) -> None:
    """Who may not write is told so."""
    open_store("sqlite", str(tmp_path)).close()
    tmp_path.chmod(0o755)
    program = (
        "import os, sys, encke.friends.sqlite.store; from encke.friends.opening import open_store\n"
        "os.setuid(65534)\n"
        "try: open_store('sqlite', sys.argv[1]).add([(b'1', b'2')])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    shutil.copytree(tmp_path, data := Path("/tmp") / f"encke-{os.getpid()}")
    try:
        said = subprocess.run(
            [sys.executable, "-c", program, data], capture_output=True, text=True, check=True
        ).stdout
    finally:
        shutil.rmtree(data)
    assert said.startswith("StoreError"), said
    assert "the user that Encke runs as" in said


def test_a_full_disk(tmp_path: Path) -> None:
    """What doesn't fit is said, nothing of it is kept, and what was there can be read."""
    store = open_store("sqlite", str(tmp_path))
    store.add([(b"s", b"p")])
    database = store._database  # type: ignore[attr-defined]
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    many = [(b"%d" % number, b"p") for number in range(10_000)]
    with pytest.raises(StoreError, match="make room"):
        store.add(many)
    with pytest.raises(StoreError, match="make room"):
        store.load(many)
    assert list(store.pairs()) == [(b"s", b"p")]
    store.close()


def test_a_file_in_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory notices that the file was removed, or another one put in its place."""
    monkeypatch.setattr("encke.friends.sqlite.directory.LOOK_EVERY", 0.0)
    reactor = Reactor()
    directory = open_directory(reactor, "sqlite", str(tmp_path / "data"))
    for subscriber in (b"1", b"2"):
        store = open_store("sqlite", str(tmp_path / "data"))
        store.add([(subscriber, b"p")])
        assert asked(reactor, directory, b"p") == [subscriber]
        store.close()
        (tmp_path / "data").rename(tmp_path / f"was{subscriber.decode()}")
        assert ask(reactor, directory, QUESTION) == [Page([], more=False)]
        assert not (tmp_path / "data").exists()
    directory.close()


def test_a_directory_recovers(tmp_path: Path) -> None:
    """Once the file can be read again, it is: nothing has to be started anew."""
    open_store("sqlite", str(tmp_path)).close()
    good = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(b"x" * len(good))
    directory = open_directory(Reactor(), "sqlite", str(tmp_path))
    with pytest.raises(StoreError):
        directory.ask([QUESTION], lambda _: None)
    (tmp_path / FILE).write_bytes(good)
    assert ask(Reactor(), directory, QUESTION) == [Page([], more=False)]
    directory.close()


def test_the_log_is_cut_back(tmp_path: Path) -> None:
    """After a load, and after very many changes, the log is small; a directory that is open
    doesn't keep it long."""
    store = open_store("sqlite", str(tmp_path))
    directory = open_directory(Reactor(), "sqlite", str(tmp_path))
    log = tmp_path / f"{FILE}-wal"
    store.load((b"%d" % number, b"p%d" % (number % 7)) for number in range(200_000))
    assert ask(Reactor(), directory, QUESTION) is not None
    assert log.stat().st_size == 0
    sizes = []
    for start in range(0, 30_000, 100):
        store.add([(b"%d" % number, b"q%d" % number) for number in range(start, start + 100)])
        ask(Reactor(), directory, QUESTION)
        sizes.append(log.stat().st_size)
    assert max(sizes) < 16 * 1024 * 1024
    assert any(before == after for before, after in pairwise(sizes))
    directory.close()
    store.close()


def test_fifteen_a_user_fit(tmp_path: Path) -> None:
    """A pair takes at most 26 bytes, both directions together: 390 MB for fifteen million."""
    store = open_store("sqlite", str(tmp_path))
    users, friends = 20_000, 15
    first = 4_000_000  # as many bytes a number as a million users take
    store.load(
        (b"%d" % (first + user), b"%d" % (first + (user * 31 + 7919 * friend) % users))
        for user in range(users)
        for friend in range(friends)
    )
    assert (tmp_path / FILE).stat().st_size <= 26 * users * friends
    store.close()
