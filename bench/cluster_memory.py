"""Very many users of one node that is joined to NATS: what they cost, and how soon all are back.

The same node is measured alone just before. Then the NATS server is restarted, and it's timed
until the node is ready again, all of its interest being in place; a second node sends to
random users afterwards, and each message must come.

May import: counts, nats, processes, scenario, stage.
"""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from . import counts
from .nats import NatsServer, nats_servers
from .processes import BenchError
from .scenario import ROOM, Node, generate, node
from .stage import ARRIVAL, NDJSON, SENDERS, Opening, Stage

LOOK = 0.02
"""Seconds between two looks at whether the node is ready."""

PATIENCE = 120.0

CHECKED = 20_000
"""Messages that are sent after the restart."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; sizes in bytes."""

    alone: Opening
    joined: Opening
    nats_before: int
    """PSS of the NATS server without a user."""
    nats_after: int
    nats_open_cpu: float
    """CPU seconds of the NATS server while all logged in."""
    seconds_to_notice: float
    """From the NATS server's end until the node said that it isn't ready."""
    seconds_to_return: float
    """From when the NATS server took clients again until the node was ready."""
    subscriptions: int
    """That the NATS server had then."""
    messages: int
    """Sent through another node afterwards, to random users."""
    refused: int
    wrong: counts.Difference
    closed: int

    @property
    def more_a_user(self) -> float:
        """Of Encke's memory, beyond what it is alone."""
        return self.joined.growth_a_stream - self.alone.growth_a_stream

    @property
    def nats_a_user(self) -> float:
        """Of the NATS server's memory."""
        return (self.nats_after - self.nats_before) / self.joined.streams

    @property
    def faulty(self) -> bool:
        """Whether a message or a stream was lost."""
        return bool(self.refused or self.wrong or self.closed)


def measure(users: int, directory: Path, say: Callable[[str], None]) -> Memory:
    """So many users, alone and joined; `say` is told what is being done. Raises BenchError."""
    say(f"{users:,} users on a node without NATS")
    place = _made(directory / "alone")
    with node(users + ROOM, place / "node.log") as server, Stage(server, users, place) as stage:
        alone = stage.open()
        stage.end()
    say(f"{users:,} users on a node that is joined to NATS")
    place = _made(directory / "joined")
    with nats_servers(1, place) as (nats,):
        before = nats.memory()
        with (
            node(users + ROOM, place / "node.log", nats=nats.url, node_name="full") as server,
            Stage(server, users, place) as stage,
        ):
            used = nats.cpu_seconds()
            joined = stage.open()
            used = nats.cpu_seconds() - used
            after = nats.memory()
            say("the NATS server is restarted")
            noticed, returned = _restart(nats, server)
            subscriptions = nats.subscriptions()
            say(f"{CHECKED:,} messages through another node")
            with node(ROOM, place / "other.log", nats=nats.url, node_name="other") as other:
                refused, wrong = _check(other, users, min(CHECKED, users), place)
            return Memory(
                alone=alone,
                joined=joined,
                nats_before=before,
                nats_after=after,
                nats_open_cpu=used,
                seconds_to_notice=noticed,
                seconds_to_return=returned,
                subscriptions=subscriptions,
                messages=min(CHECKED, users),
                refused=refused,
                wrong=wrong,
                closed=stage.end().closed,
            )


def _restart(nats: NatsServer, server: Node) -> tuple[float, float]:
    """Restart it: seconds until the node wasn't ready, and from then on until it was again."""
    nats.stop()
    noticed = _until_ready(server, wanted=False)
    nats.start()
    return noticed, _until_ready(server, wanted=True)


def _until_ready(server: Node, *, wanted: bool) -> float:
    """Wait until the node says that it is, or isn't, ready; the seconds that it took."""
    began = time.monotonic()
    while _is_ready(server) != wanted:
        if time.monotonic() - began > PATIENCE:
            raise BenchError(
                f"The node {'is still not' if wanted else 'still says that it is'} ready, "
                f"{PATIENCE:g} s after the NATS server was {'started' if wanted else 'ended'}."
            )
        time.sleep(LOOK)
    return time.monotonic() - began


def _is_ready(server: Node) -> bool:
    try:
        url = f"http://{server.control}/health"
        return httpx.get(url, trust_env=False, timeout=30).status_code == 200
    except httpx.HTTPError as error:
        raise BenchError(f"The node doesn't tell its health: {error!r}") from None


def _check(other: Node, users: int, messages: int, place: Path) -> tuple[int, counts.Difference]:
    """Send through `other` to random users: how many were refused, and what didn't come."""
    with generate(
        other.url,
        *NDJSON,
        *("--senders", str(SENDERS), "--max-id", str(users), "--every", "3600"),
        *("--counts", str(place / "sent"), "--count", str(messages)),
    ) as sender:
        said = sender.result(PATIENCE)
    return said.failed, counts.wait_for(counts.total([place / "sent"]), place / "got", ARRIVAL)


def _made(place: Path) -> Path:
    place.mkdir()
    return place
