"""A friends' store that can't be used is said at start, and by /health from then on."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from system.node import Node, until
from system.raw import ask, post

from encke.friends.opening import open_store
from encke.friends.sqlite.place import FILE
from encke.settings import Settings

from .alone import Alone


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control processes that look very often."""
    monkeypatch.setattr("encke.control.store_watch.CHECK_EVERY", 0.05)


@pytest.fixture
def control(often: None, tmp_path: Path) -> Iterator[Alone]:
    with Alone(Settings(data=str(tmp_path / "data"))) as control:
        yield control


def friends(control: Alone) -> object:
    """What /health says of them; nothing: all is well."""
    answer = control.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    return answer.json().get("friends")


def make(data: Path) -> Path:
    """A good file in `data`."""
    with closing(open_store("sqlite", str(data))) as store:
        store.add([(b"1", b"2")])
    return data / FILE


def test_hostile_a_corrupt_file_at_start(tmp_path: Path) -> None:
    """The log says so, with what to do, before anybody asks; /health does; streams and senders are
    served; and once a good file is there, both say that."""
    file = make(tmp_path / "data")
    file.write_bytes(b"dear diary, " * 1000)
    with Node("--data", str(tmp_path / "data"), "--gateways", "1") as node:
        until(lambda: b'"friends":"unavailable"' in node.get("/health")[1], "it's said")
        assert node.get("/health")[0] == 200
        (line,) = (line for line in node.log if "event=friends-unavailable" in line)
        assert "level=error" in line
        assert "move it away" in line
        assert ask(node.address, post("/send/1", b"x")).json() == {"delivered": 0}
        ask(node.address, post("/publish/1", b"x")).problem(503)
        make(tmp_path / "good").rename(file)
        until(lambda: node.get("/health")[1] == b'{"status":"ready"}', "it's said, too")
        assert any("event=friends-available" in line for line in node.log)
        assert ask(node.address, post("/publish/1", b"x")).json() == {"delivered": 0}


def test_hostile_no_directory_at_start(control: Alone, tmp_path: Path) -> None:
    """A directory that can't be made is said although nobody has friends yet."""
    until(lambda: friends(control) is None, "all is well")
    (tmp_path / "data").touch()
    until(lambda: friends(control) == "unavailable", "it's said")
    (tmp_path / "data").unlink()
    until(lambda: friends(control) is None, "it's well again")
    assert not (tmp_path / "data").exists()


def test_hostile_damaged_later(control: Alone, tmp_path: Path) -> None:
    """A file that was whole at start, and isn't any more; also where the control process has it
    open."""
    file = make(tmp_path / "data")
    assert control.client.put("/users/5/subscriptions/6").status_code == 201
    assert friends(control) is None
    file.write_bytes(b"dear diary, " * 1000)
    Path(f"{file}-wal").unlink()
    until(lambda: friends(control) == "unavailable", "it's said")
    answer = control.client.put("/users/5/subscriptions/7")
    assert answer.status_code == 503
    assert "move it away" in answer.json()["detail"]
    make(tmp_path / "good").rename(file)
    until(lambda: friends(control) is None, "it's well again")
    assert control.client.put("/users/5/subscriptions/7").status_code == 201


def test_hostile_a_store_that_hangs(
    often: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that doesn't answer is unavailable, until it does."""
    make(tmp_path / "data")
    (tmp_path / "slow").touch()
    opened = open_store

    def slowly(friends: str, data: str) -> object:
        until((lambda: not (tmp_path / "slow").exists()), "it answers")
        return opened(friends, data)

    monkeypatch.setattr("encke.control.friends.open_store", slowly)
    with Alone(Settings(data=str(tmp_path / "data"))) as control:
        until(lambda: friends(control) == "unavailable", "it's said")
        (tmp_path / "slow").unlink()
        until(lambda: friends(control) is None, "it's well again")


def test_hostile_friends_that_are_off(often: None, tmp_path: Path) -> None:
    """Then there's nothing to say of them."""
    (tmp_path / "data").touch()
    with Alone(Settings(data=str(tmp_path / "data"), friends="off")) as control:
        for _ in range(20):
            assert friends(control) is None


@pytest.mark.skipif(os.getuid() != 0, reason="takes root, to be another user who may not write")
def test_hostile_a_directory_that_may_not_be_written() -> None:
    """Who may not write there is told before there is anything to write."""
    program = (
        "import os, sys; from encke.friends.sqlite.place import check_place\n"
        "os.setuid(65534)\n"
        "for name in ('there', 'there/new/data'):\n"
        "    try: check_place(sys.argv[1] + '/' + name)\n"
        "    except Exception as error: print(type(error).__name__, error)"
    )
    (data := Path(f"/tmp/encke-place-{os.getpid()}")).joinpath("there").mkdir(parents=True)
    try:
        said = subprocess.run(
            [sys.executable, "-c", program, data], capture_output=True, text=True, check=True
        ).stdout.splitlines()
    finally:
        shutil.rmtree(data)
    assert len(said) == 2
    for line in said:
        assert line.startswith(f"StoreError {data}/there can't be written to. ")
        assert "--data" in line
