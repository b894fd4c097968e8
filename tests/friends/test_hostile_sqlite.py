"""What an operator may do to friends.sqlite while it's open: put a backup in its place, write over
it, cut it off. Nobody dies of it, and nothing that was acknowledged is lost."""

import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from encke.errors import StoreError
from encke.friends.directories import open_directory
from encke.friends.opening import open_store
from encke.friends.sqlite.place import FILE
from encke.friends.store import Pair, Store
from encke.reactor.loop import Reactor

from .asking import asked
from .conftest import Place
from .killed import numbered
from .test_killed import TESTS, both_directions, writing

BACKUP = [(b"%d".ljust(100, b"b") % number, b"p") for number in range(700)]
OLD = [(b"%d".ljust(100, b"o") % number, b"p") for number in range(900)]
MANY = [(b"m%d" % number, b"q") for number in range(100)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file, in which there are OLD."""
    with closing(open_store("sqlite", str(tmp_path / "data"))) as store:
        store.add(OLD)
    return tmp_path / "data" / FILE


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Another file, in which there are BACKUP."""
    with closing(open_store("sqlite", str(tmp_path / "backup"))) as store:
        store.add(BACKUP)
    return tmp_path / "backup" / FILE


def kept(file: Path) -> set[Pair]:
    """What is in the file for who opens it anew, once it was found to be sound."""
    copy = file.parent.with_name("kept")
    shutil.copytree(file.parent, copy, dirs_exist_ok=True)
    with closing(sqlite3.connect(copy / FILE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with closing(open_store("sqlite", str(copy))) as store:
        pairs = set(store.pairs())
        both_directions(store, pairs)
    shutil.rmtree(copy)
    return pairs


@contextmanager
def asking(data: Path, look_every: float = 0) -> Iterator[Callable[[], str]]:
    """A process that has a directory open, as a router has; what it says when it's asked."""
    program = (
        "import sys; from encke.errors import StoreError\n"
        "import encke.friends.sqlite.directory; encke.friends.sqlite.directory.LOOK_EVERY = "
        f"{look_every}\n"
        "from encke.friends.directories import open_directory\n"
        "from encke.reactor.loop import Reactor; from friends.asking import asked\n"
        "reactor = Reactor(); directory = open_directory(reactor, 'sqlite', sys.argv[1])\n"
        "for line in sys.stdin:\n"
        "    try: print(*[id.decode() for id in asked(reactor, directory, b'p')], flush=True)\n"
        "    except StoreError as error: print('StoreError:', error, flush=True)\n"
    )
    path = os.pathsep.join([TESTS, *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", program, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:

        def ask() -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            said = process.stdout.readline()
            assert said, f"it died: {process.wait()}"
            return said.strip()

        yield ask
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


def ids_of(pairs: list[Pair]) -> str:
    return " ".join(sorted(subscriber.decode() for subscriber, _ in pairs))


def test_hostile_the_file_is_not_mapped(file: Path) -> None:
    """Of what is looked up nothing is mapped but the log's index, which SQLite must share."""
    reactor = Reactor()
    directory = open_directory(reactor, "sqlite", str(file.parent))
    assert len(asked(reactor, directory, b"p")) == len(OLD)
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    assert {name for name in mapped if str(file) in name} <= {f"{file}-shm"}
    directory.close()


def cut(file: Path) -> None:
    os.truncate(file, 0)


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def write_over(file: Path) -> None:
    file.write_bytes(b"dear diary, " * 10_000)


def cut_index(file: Path) -> None:
    os.truncate(f"{file}-shm", 0)


def cut_all(file: Path) -> None:
    for each in file.parent.iterdir():
        os.truncate(each, 0)


@pytest.mark.parametrize("damage", [cut, halve, write_over, cut_index, cut_all])
@pytest.mark.parametrize("managed", [False, True], ids=["read", "managed"])
def test_hostile_damage_in_place(
    file: Path, backup: Path, damage: Callable[[Path], None], managed: bool
) -> None:
    """Who looks up lives, says what is wrong, and is well again once a backup was put there."""
    managing = open_store("sqlite", str(file.parent)) if managed else None
    with asking(file.parent) as ask:
        assert ask() == ids_of(OLD)
        damage(file)
        for _ in range(3):
            said = ask()
            assert said in ("", ids_of(OLD)) or said.startswith("StoreError:"), said
        shutil.copy(backup, new := file.with_name("new"))
        new.rename(file)
        assert ask() == ids_of(BACKUP)
        if managing is not None:
            with managing_ends(managing, damage):
                assert managing.add(MANY) == len(MANY)
                assert kept(file) == {*BACKUP, *MANY}
        assert ask() == ids_of(BACKUP)
    assert kept(file) >= set(BACKUP)


@pytest.mark.parametrize("damage", [cut_index, cut_all])
def test_hostile_damage_between_two_looks(file: Path, damage: Callable[[Path], None]) -> None:
    """However lately the names were looked at: what was cut of the index isn't touched."""
    with asking(file.parent, look_every=3600) as ask:
        assert ask() == ids_of(OLD)
        damage(file)
        for _ in range(3):
            said = ask()
            assert said in ("", ids_of(OLD)) or said.startswith("StoreError:"), said


@contextmanager
def managing_ends(store: Store, damage: Callable[[Path], None]) -> Iterator[None]:
    try:
        yield
    finally:
        store.close()


@pytest.mark.parametrize("first", ["who asks", "who manages"])
def test_hostile_a_backup_is_put_in_place(file: Path, backup: Path, first: str) -> None:
    """Whoever notices first: what is acknowledged after `mv backup friends.sqlite` is in the
    new file and is looked up there, and nothing of the old one's log gets into it."""
    store = open_store("sqlite", str(file.parent))
    with asking(file.parent) as ask:
        store.add([(b"unsaved", b"p")])  # which is in the log alone
        assert "unsaved" in ask()
        backup.rename(file)
        if first == "who asks":
            assert ask() == ids_of(BACKUP)
        assert store.add([(b"new", b"p")]) == 1
        assert store.subscriptions(b"new").ids == [b"p"]
        assert ask() == ids_of([*BACKUP, (b"new", b"p")])
        assert kept(file) == {*BACKUP, (b"new", b"p")}
        store.close()
        assert store is not None
        assert ask() == ids_of([*BACKUP, (b"new", b"p")])
    assert kept(file) == {*BACKUP, (b"new", b"p")}


def test_hostile_several_manage(file: Path, backup: Path, tmp_path: Path) -> None:
    """One of two that manage (`encke friends load` is the other) notices late, or only closes: it
    takes nothing away from who has the new file open."""
    one, other, third = (open_store("sqlite", str(file.parent)) for _ in range(3))
    for number, store in enumerate((one, other, third)):
        store.add([(b"s%d" % number, b"old")])
    backup.rename(file)
    assert one.add([(b"one", b"new")]) == 1
    other.close()
    assert one.add([(b"two", b"new")]) == 1
    assert third.add([(b"three", b"new")]) == 1
    expected = {*BACKUP, *((id, b"new") for id in (b"one", b"two", b"three"))}
    assert set(one.pairs()) == expected
    assert kept(file) == expected
    one.close()
    third.close()
    assert kept(file) == expected


def acknowledged(process: "subprocess.Popen[str]", count: int) -> list[int]:
    """What it has said so far, and hasn't been read: waits until that's `count` numbers."""
    assert process.stdout is not None
    lines, fd = b"", process.stdout.fileno()
    while lines.count(b"\n") < count or select.select([fd], [], [], 0)[0]:
        said = os.read(fd, 1 << 20)
        assert said, "it ended"
        lines += said
    return [int(line) for line in lines.splitlines()]


@pytest.mark.parametrize("alive", [True, False], ids=["in use", "killed"])
def test_hostile_who_comes_after_the_backup(file: Path, backup: Path, alive: bool) -> None:
    """Who opens a file that was put there later, while others have the old one open and haven't
    noticed yet, or after they were killed, doesn't take the old one's log for the new one's."""
    with writing(Place("sqlite", str(file.parent)), "add") as process, asking(file.parent) as ask:
        acknowledged(process, 20)
        assert ask()
        process.send_signal(signal.SIGSTOP)
        if not alive:
            process.kill()
            process.wait()
        assert Path(f"{file}-wal").stat().st_size
        backup.rename(file)
        store = open_store("sqlite", str(file.parent))
        assert store.add(MANY) == len(MANY)
        assert ask() == ids_of(BACKUP)
        assert kept(file) == {*BACKUP, *MANY}
        store.close()
        if alive:
            acknowledged(process, 0)
            process.send_signal(signal.SIGCONT)
            later = acknowledged(process, 50)[1:]  # the first may be of before
            process.kill()
            assert kept(file) >= {*BACKUP, *MANY, *numbered(range(later[0], later[-1] + 1))}


def test_hostile_in_the_middle_of_a_change(file: Path, backup: Path) -> None:
    """A change that went into a file whose name another one has got meanwhile is made to that one
    before it's acknowledged."""
    store = open_store("sqlite", str(file.parent))

    def watch(statement: str) -> None:
        if statement == "COMMIT" and backup.exists():
            backup.rename(file)

    store._database.set_trace_callback(watch)  # type: ignore[attr-defined]
    assert store.add([OLD[0], (b"new", b"p")]) == 2
    assert kept(file) == {*BACKUP, OLD[0], (b"new", b"p")}
    store.close()


def test_hostile_in_the_middle_of_a_load(file: Path, backup: Path) -> None:
    """A load is told that it has to begin anew, and nothing of it was called safe."""
    store = open_store("sqlite", str(file.parent))
    safe = []

    def pairs() -> Iterator[Pair]:
        yield from MANY
        backup.rename(file)
        yield from OLD

    with pytest.raises(StoreError, match="begin anew"):
        store.load(pairs(), lambda _, kept: safe.append(kept))
    assert not any(safe)
    assert store.load(MANY) == len(MANY)
    assert kept(file) == {*BACKUP, *MANY}
    store.close()


def test_hostile_in_the_middle_of_an_export(file: Path, backup: Path) -> None:
    """What is exported is one file's, or an error."""
    store = open_store("sqlite", str(file.parent))
    store.add([(b"s%d" % number, b"z") for number in range(10_000)])
    drawn = store.pairs()
    next(drawn)
    backup.rename(file)
    with pytest.raises(StoreError, match="begin anew"):
        list(drawn)
    assert set(store.pairs()) == set(BACKUP)
    store.close()


@pytest.mark.parametrize("gone", [["-wal"], ["-wal", "-shm"], ["-shm"], ["", "-wal", "-shm"]])
def test_hostile_tidied_up(file: Path, gone: list[str]) -> None:
    """Who removes the log, or all, of a file that's in use: what was acknowledged before and is
    still in the file, and all that is acknowledged from then on, is found by who opens it."""
    with writing(Place("sqlite", str(file.parent)), "add") as process:
        assert process.stdout is not None
        for _ in range(50):
            process.stdout.readline()
        for suffix in gone:
            os.unlink(f"{file}{suffix}")
        after = [int(process.stdout.readline()) for _ in range(100)][50:]
        process.kill()
        after += [int(line) for line in process.stdout]
    there = kept(file)
    assert {(b"%d" % number, b"p%d" % (number * 7919 % 1009)) for number in after} <= there
    assert ("" in gone) or set(OLD) <= there
