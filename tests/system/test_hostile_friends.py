"""What an operator does to friends.sqlite beneath a running node: no process dies of it, no stream
ends, and what was acknowledged stays."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from bench.crowd import Crowd, End
from encke.friends.opening import open_store
from encke.friends.sqlite.place import FILE

from .node import Node, until
from .raw import ask, post

FANS = [f"fan{number}" for number in range(20)]
OTHERS = [(b"%d" % number, b"other%d" % (number % 50)) for number in range(20_000)]
PAIRS = [*((fan.encode(), b"star") for fan in FANS), *OTHERS]


@pytest.fixture(params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """A node whose star has FANS."""
    keep(tmp_path / "data", PAIRS)
    with Node("--gateways", str(request.param), "--data", str(tmp_path / "data")) as node:
        yield node


def keep(data: Path, pairs: list[tuple[bytes, bytes]]) -> None:
    with closing(open_store("sqlite", str(data))) as store:
        store.load(pairs)


def publish(node: Node) -> int | None:
    """How many connections got it; None: 503."""
    answer = ask(node.address, post("/publish/star", b"x"))
    if answer.status == 503:
        answer.problem(503)
        return None
    assert answer.status == 200, answer
    return int(answer.json()["delivered"])


def cut(data: Path) -> None:
    os.truncate(data / FILE, 0)


def write_over(data: Path) -> None:
    (data / FILE).write_bytes(b"dear diary, " * 10_000)


def cut_all(data: Path) -> None:
    for file in data.iterdir():
        os.truncate(file, 0)


@pytest.mark.parametrize("damage", [cut, write_over, cut_all])
def test_hostile_damage_closes_no_stream(
    node: Node, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    """Publications are refused, or reach whom they still reach; all else goes on. After `mv backup
    friends.sqlite` they reach everyone, and a change is in the new file, also after kill -9."""
    data, subscription = tmp_path / "data", "/users/new/subscriptions/star"
    keep(tmp_path / "backup", PAIRS)
    with Crowd(node.address) as crowd, httpx.Client(base_url=node.control_url) as control:
        crowd.open([*FANS, "new"])
        assert publish(node) == len(FANS)
        before = node.named_pids()
        damage(data)
        for number in range(30):
            assert publish(node) in (None, 0, len(FANS)), number
            assert ask(node.address, post("/send/new", b"x")).json() == {"delivered": 1}
        assert node.named_pids() == before
        (tmp_path / "backup" / FILE).rename(data / FILE)
        until(lambda: publish(node) == len(FANS), "the backup is read")
        assert control.put(subscription).status_code == 201
        until(lambda: publish(node) == len(FANS) + 1, "the change is in effect")
        assert node.named_pids() == before
        crowd.poll()
        assert all(stream.end is End.OPEN for stream in crowd.streams)
        for process in (*node.pids(), node.pid):
            os.kill(process, 9)
        node.process.wait()
    with closing(open_store("sqlite", str(data))) as store:
        assert set(store.pairs()) == {*PAIRS, (b"new", b"star")}
