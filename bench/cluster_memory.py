"""Very many users of one node that is joined to NATS: what they cost, and how soon all are back.

The same node is measured alone just before. Then the NATS server is restarted, and it's timed
until the node is ready again, all of its interest being in place; a second node sends to
random users afterwards, and each message must come.
"""

from pathlib import Path

import msgspec

from . import counts
from .course import Course
from .servers.encke import ROOM, Encke
from .servers.nats import NatsServer
from .servers.processes import until
from .stage import ARRIVAL, NDJSON, SENDERS, Opening, Stage
from .tools import generate

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


def measure(users: int, course: Course) -> Memory:
    """So many users, alone and joined. Raises BenchError."""
    course.done(f"{users:,} users on a node without NATS")
    room = ("--max-connections", str(users + ROOM))
    with Encke(*room) as server, Stage(server, users, course.place("alone")) as stage:
        alone = stage.open()
        stage.end()
    course.done(f"{users:,} users on a node that is joined to NATS")
    place = course.place("joined")
    with NatsServer(course.place("nats")) as nats:
        before = sum(nats.settled_memory(40).values())
        joined_to = ("--nats", nats.url, "--node-name")
        with (
            Encke(*room, *joined_to, "full") as server,
            Stage(server, users, place) as stage,
        ):
            used = nats.cpu_seconds()
            joined = stage.open()
            used = nats.cpu_seconds() - used
            after = sum(nats.settled_memory(40).values())
            course.done("the NATS server is restarted")
            nats.leave()
            noticed = _until_ready(server, wanted=False)
            nats.start()
            returned = _until_ready(server, wanted=True)
            subscriptions = nats.subscriptions()
            checked = min(CHECKED, users)
            course.done(f"{checked:,} messages through another node")
            with Encke("--max-connections", str(ROOM), *joined_to, "other") as other:
                refused, wrong = _check(other, users, checked, place)
            return Memory(
                alone=alone,
                joined=joined,
                nats_before=before,
                nats_after=after,
                nats_open_cpu=used,
                seconds_to_notice=noticed,
                seconds_to_return=returned,
                subscriptions=subscriptions,
                messages=checked,
                refused=refused,
                wrong=wrong,
                closed=stage.end().closed,
            )


def _until_ready(server: Encke, *, wanted: bool) -> float:
    """Wait until the node says that it is, or isn't, ready; the seconds that it took."""
    what = f"the node is {'' if wanted else 'not '}ready, the NATS server having changed"
    return until(lambda: (server.get("/health")[0] == 200) == wanted, what, PATIENCE, LOOK)


def _check(other: Encke, users: int, messages: int, place: Path) -> tuple[int, counts.Difference]:
    """Send through `other` to random users: how many were refused, and what didn't come."""
    with generate(
        other.url,
        *NDJSON,
        *("--senders", str(SENDERS), "--max-id", str(users)),
        *("--counts", str(place / "sent"), "--count", str(messages)),
    ) as sender:
        said = sender.result(PATIENCE)
    return said.failed, counts.wait_for(counts.total([place / "sent"]), place / "got", ARRIVAL)
