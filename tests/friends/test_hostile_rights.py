"""Who may read the friends: their owner alone, whatever the umask, and whoever made the file."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from system.node import Node, until

from encke.friends.directories import open_directory
from encke.friends.opening import open_store
from encke.friends.sqlite.place import FILE
from encke.reactor.loop import Reactor

from .asking import asked


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """New files may be for everybody, as far as others care."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(data: Path) -> dict[str, int]:
    """The files in `data`, and who may what with them."""
    return {each.name.removeprefix(FILE): each.stat().st_mode & 0o777 for each in data.iterdir()}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


ALL = {"": 0o600, "-wal": 0o600, "-shm": 0o600, "-files": 0o600}


def test_hostile_what_is_made(umask: int, tmp_path: Path) -> None:
    """The directory is 0700, all files in it are 0600: the log, its index, and our own."""
    data = tmp_path / "new" / "data"
    with closing(open_store("sqlite", str(data))) as store:
        store.add([(b"1", b"2")])
        assert mode(data) == 0o700
        assert modes(data) == ALL
        assert mode(tmp_path / "new") == 0o777 & ~umask  # which others may share
    assert modes(data) == ALL
    for suffix in ("-wal", "-shm", "-files"):
        Path(f"{data / FILE}{suffix}").unlink()
    directory = open_directory(reactor := Reactor(), "sqlite", str(data))
    assert asked(reactor, directory, b"2") == [b"1"]
    assert modes(data) == ALL
    directory.close()


def test_hostile_what_the_command_makes(umask: int, tmp_path: Path) -> None:
    """So it is with `encke friends load`, which may come before any server."""
    data = tmp_path / "data"
    subprocess.run(
        [sys.executable, "-m", "encke", "friends", "load", "-", "--data", str(data)],
        input=b"1\t2\n",
        check=True,
        capture_output=True,
    )
    assert mode(data) == 0o700
    assert set(modes(data).values()) == {0o600}


@pytest.mark.parametrize(
    ("there", "then"),
    [(0o644, 0o600), (0o666, 0o600), (0o664, 0o600), (0o602, 0o600), (0o640, 0o640)],
    ids=oct,
)
def test_hostile_what_was_there(tmp_path: Path, there: int, then: int) -> None:
    """A file that everyone may read, as an older Encke made it, is closed when the server starts;
    one that only a group may read was opened to that group by somebody, and stays. The directory
    stays too: it may be anybody's."""
    data = tmp_path / "data"
    with closing(open_store("sqlite", str(data))) as store:
        store.add([(b"1", b"2")])
    for each in data.iterdir():
        each.chmod(there)
    data.chmod(0o755)
    with Node("--data", str(data), "--gateways", "1") as node:
        until(lambda: mode(data / FILE) == then, "it's closed")
        until(lambda: set(modes(data).values()) <= {then, 0o600}, "so are the others")
        assert not any("data-open" in line for line in node.log)
    assert mode(data) == 0o755


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777], ids=oct)
def test_hostile_a_directory_that_others_may_write_to(tmp_path: Path, mode: int) -> None:
    """That is said, with what to type: they could put other friends there."""
    (data := tmp_path / "data").mkdir()
    data.chmod(mode)
    with Node("--data", str(data), "--gateways", "1") as node:
        until(lambda: "event=data-open" in node.said, "it's said")
        (line,) = (line for line in node.log if "event=data-open" in line)
        assert f"directory={data}" in line
        assert "chmod go-w" in line
    assert data.stat().st_mode & 0o7777 == mode
