"""Faults while friends change: nothing acknowledged is lost, and no answer is untrue.

Bulk loads and single subscriptions are under way on the control port, somebody publishes all the
while, and the router, or the control process itself, is killed. Both have an SQLite store open.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import httpx
import msgspec
import pytest

from bench.crowd import Crowd, End
from encke.friends.opening import open_store

from .node import PATIENCE, Node, until
from .raw import ask, post
from .test_faults import KILLS, Killer

STAR = "star"
"""Whose subscribers are held against what the store should have."""

BULK = 20_000
"""Lines of a bulk body."""

CHUNK = 500
"""Of those that are sent at once."""

LISTENING = 20
"""Of those who are subscribed one by one, how many listen all the while."""

Pair = tuple[str, str]
"""Subscriber, publisher."""

pytestmark = [pytest.mark.alone, pytest.mark.timeout(60 + 10 * KILLS)]


class Busy:
    """Threads that do something over and over, until the block is left."""

    def __init__(self, *jobs: Callable[[], None]) -> None:
        self._stopping = threading.Event()
        self._failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._repeat, args=(job,)) for job in jobs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not self._failures, self._failures

    def _repeat(self, job: Callable[[], None]) -> None:
        try:
            while not self._stopping.is_set():
                job()
        except Exception as error:  # noqa: BLE001  # told when the block is left
            self._failures.append(error)


class Writers:
    """Who makes subscriptions over HTTP, and what has become of them."""

    def __init__(self, node: Node) -> None:
        self._url = "http://{}:{}".format(*node.control)
        self._numbers = itertools.count()
        self.acknowledged: set[Pair] = set()
        """They are in the store for good."""
        self.singles: set[Pair] = set()
        """Those that were made one by one."""
        self.loads: list[list[Pair]] = []
        """Asked for in bulk."""
        self.cut: list[list[Pair]] = []
        """Those of them whose answer didn't come."""

    def put(self) -> None:
        """One more subscriber of the star's; the same one again if there was no answer."""
        subscriber = f"single{len(self.singles)}"
        try:
            answer = httpx.put(f"{self._url}/users/{subscriber}/subscriptions/{STAR}")
        except httpx.TransportError:
            return
        assert answer.status_code in (201, 204), answer.text
        self.singles.add((subscriber, STAR))
        self.acknowledged.add((subscriber, STAR))

    def load(self) -> None:
        """A bulk body: each hundredth line is a subscriber of the star's."""
        numbers = itertools.islice(self._numbers, BULK)
        pairs = [(f"bulk{it}", f"p{it % 97}" if it % 100 else STAR) for it in numbers]
        self.loads.append(pairs)
        try:
            assert self.add(pairs) == BULK
        except httpx.TransportError:
            self.cut.append(pairs)

    def add(self, pairs: list[Pair]) -> int:
        """Send `pairs` in a streamed body; how many of them were new."""
        answer = httpx.post(
            f"{self._url}/subscriptions",
            content=_body(pairs),
            headers={"Content-Type": "application/x-ndjson"},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["accepted"], told["bad"]) == (len(pairs), 0)
        self.acknowledged.update(pairs)
        return int(told["added"])


def _body(pairs: list[Pair]) -> Iterator[bytes]:
    for start in range(0, len(pairs), CHUNK):
        yield b"".join(
            msgspec.json.encode({"subscriber": subscriber, "publisher": publisher}) + b"\n"
            for subscriber, publisher in pairs[start : start + CHUNK]
        )


class Press:
    """The star publishes: message n is the text n."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.told: list[int | None] = []
        """By message, how many connections got it; None: 503."""

    def publish(self) -> None:
        answer = ask(self._node.address, post(f"/publish/{STAR}", b"%d" % len(self.told)))
        if answer.status == 503:
            answer.problem(503)
            self.told.append(None)
        else:
            assert answer.status == 200, answer
            self.told.append(int(answer.json()["delivered"]))

    @property
    def is_answered(self) -> bool:
        """Whether a message published now is answered with a count."""
        self.publish()
        return self.told[-1] is not None

    def hold_against(self, crowd: Crowd) -> None:
        """Each count is the number of streams that got the message; nobody got one twice."""
        last = b"%d" % (len(self.told) - 1)
        crowd.until(lambda: all(it.messages[-1:] == [last] for it in crowd.streams), "all came")
        assert all(it.end is End.OPEN for it in crowd.streams)
        got = [set(it.messages) for it in crowd.streams]
        assert [len(it.messages) for it in crowd.streams] == list(map(len, got))
        for number, told in enumerate(self.told):
            if told is not None:
                assert told == sum(b"%d" % number in each for each in got), number


def go_on(writers: Writers, press: Press) -> None:
    """Wait until a load that began after the fault is done, and the star is heard again."""
    loads, told = len(writers.loads), len(press.told)
    until(lambda: len(writers.loads) > loads + 1, "loads are done again")
    until(lambda: any(press.told[told:]), "the star is heard again")


@pytest.mark.parametrize("victim", ["router", "control"])
def test_killed_while_friends_change(tmp_path: Path, victim: str) -> None:
    """kill -9 of the router, or of the control process, in bulk loads and single subscriptions.

    The store opens again; every acknowledged subscription is there, in both directions, and a
    publication reaches its subscriber; of a load that wasn't answered the first so many lines
    are, and it can be done again. Publishes are answered 503, or with a true count.
    """
    anchors = [(f"anchor{number}", STAR) for number in range(5)]
    with Node("--gateways", "2", "--data", str(tmp_path)) as node, Crowd(node.address) as crowd:
        writers, press, killer = Writers(node), Press(node), Killer(node)
        writers.add(anchors)
        crowd.open([subscriber for subscriber, _ in anchors])
        crowd.open(f"single{number}" for number in range(LISTENING))
        with Busy(writers.put, writers.load, press.publish):
            for _ in range(KILLS):
                killer.kill(victim)
                go_on(writers, press)
            until(lambda: len(writers.singles) >= LISTENING, "the listeners are subscribed")
        assert len(writers.acknowledged) > KILLS * BULK
        assert bool(writers.cut) == (victim == "control")

        store = open_store("sqlite", str(tmp_path))
        there = {(one.decode(), other.decode()) for one, other in store.pairs()}
        store.close()
        assert writers.acknowledged <= there
        last = (f"single{len(writers.singles)}", STAR)  # its answer may have been cut off
        assert there <= {last, *anchors, *writers.singles, *itertools.chain(*writers.loads)}
        for load in writers.cut:
            kept = sum(pair in there for pair in load)
            assert there.issuperset(load[:kept]), "not the first so many lines"
            assert writers.add(load) == BULK - kept

        fans = sorted(subscriber for subscriber, whose in writers.acknowledged if whose == STAR)
        here = {it.user for it in crowd.streams}
        crowd.open(it for it in fans[:: len(fans) // 200] if it not in here)
        until(lambda: press.is_answered, "the star is heard")
        assert press.told[-1] == len({it.user for it in crowd.streams}), press.told[-1]
        press.hold_against(crowd)
