"""The checker for nodes that are joined through NATS: `bench.checker` over several of them.

Streams have the number of their node as tag. Of each node's two senders one waits for the
whole cluster (``?wait=cluster``), the other one doesn't, and sends single messages and NDJSON in
turns. What they are told, and what follows from it:

- who waits is told how many connections got the message, on all nodes: so many must have;
- who doesn't is told how many did on this node, and how many messages were handed on to
  NATS. That they were promises nothing of their arrival elsewhere, but what wasn't handed on
  must not come elsewhere;
- 503, or a request that broke off, promises nothing.

In any case nothing may be doubled, reordered, or come to anybody else.

What excuses, and nothing else does:

- of a promised arrival: a stream of the user, on a node that the promise is about, ended after
  the message was sent (its gateway or node was killed): it may have got it;
- of a count that was too small (denied): who waited did so in a time of trouble. A node
  that isn't heard of is taken for dead, and not waited for; what NATS still carries to it then
  comes without having been counted.

A time of trouble lasts from `LATE` before a fault until all nodes reach all users again, which
is probed. Outside of it more holds: whatever was acknowledged and handed on must come on each
stream of its user that is there all the time, on whichever node; if not, it's *missing*.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

from system.node import until

from bench.checker import Checker, Request, Verdict, compare, encoded
from bench.crowd import End, Stream
from bench.raw import Answer, Raw

from .fleet import NODES, Fleet

LATE = 1.0
"""Seconds within which a message that was handed on has surely come, if nothing is wrong, and
interest has spread from server to server."""

Trouble = tuple[float, float]
"""When it began and when it was over."""

_probes = itertools.count()


class ClusterChecker(Checker):
    """Streams and senders at a fleet's nodes: sender k is at node k // 2, and waits if k is odd."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        super().__init__(fleet.nodes[0].address, seed=seed, senders=2 * NODES, lines=5)
        self.pause = 0.002
        self.kept = 0
        """Messages that were not handed on."""
        self.troubles: list[Trouble] = []
        self._fleet = fleet

    def open_at(self, index: int, users: list[str]) -> list[Stream]:
        """Open a stream for each of `users` at this node; senders pick from them from now on."""
        opened = self.crowd.open(users, index, address=self._fleet.nodes[index].address)
        known = set(self._users)
        self._users += [it.user for it in opened if it.user not in known]
        return opened

    def reopen(self) -> None:
        """Open anew what has broken off, where it was."""
        users = {(it.tag, it.user) for it in self.crowd.streams if it.end is End.OPEN}
        for index in range(NODES):
            gone = {it.user for it in self.crowd.streams if it.tag == index}
            self.open_at(index, sorted(it for it in gone if (index, it) not in users))

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Something is wrong until the block is left."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.troubles.append((began - LATE, time.monotonic()))

    def until_whole(self, seconds: float = 30.0) -> None:
        """Wait until each node reaches each user on all of their streams."""
        for index in range(NODES):
            last: list[str] = []

            def reaches_all(index: int = index, last: list[str] = last) -> bool:
                last[:] = self.wrong(index)
                return not last and self._knows_all(index)

            try:
                until(reaches_all, f"node {index} reaches all users", seconds)
            except AssertionError as error:
                raise AssertionError(f"{error}: {last[:5]}") from None

    def wrong(self, index: int) -> list[str]:
        """What is wrong with what this node is told when it sends a message to each user."""
        users = list(self._users)
        sender = b"probe%d" % next(_probes)
        messages = [
            (user, b"%b:%d:%b" % (sender, number, user.encode()))
            for number, user in enumerate(users)
        ]
        began = time.monotonic()
        counts: list[int | None] = []
        with suppress(OSError, AssertionError), Raw(self._fleet.nodes[index].address) as probe:
            probe.send(b"".join(encoded([it], "?wait=cluster") for it in messages))
            counts.extend(self._delivered(probe.answer()) for _ in users)
        counts += [None] * (len(users) - len(counts))
        there = [it.user for it in self.crowd.streams if it.end is End.OPEN]
        expected = [there.count(user) for user in users]
        self._requests += [
            Request([it], began, count) for it, count in zip(messages, counts, strict=True)
        ]
        return [
            f"{user}: {count}, not {right}"
            for user, count, right in zip(users, counts, expected, strict=True)
            if count != right
        ]

    def _delivered(self, answer: Answer) -> int | None:
        return self._told(answer, 1)

    def _knows_all(self, index: int) -> bool:
        """Whether this node knows all others, and is linked."""
        state = self._fleet.nodes[index].state()
        return state.nats_link == "ready" and state.nodes == NODES - 1

    # how these senders send

    def _dial(self, name: int) -> Raw:
        return Raw(self._fleet.nodes[name // 2].address)

    def _draw(self, name: int, dice: Random) -> list[str]:
        return dice.choices(self._users, k=1 if name % 2 or dice.random() < 0.5 else self._lines)

    def _encode(self, name: int, messages: list[tuple[str, bytes]]) -> bytes:
        return encoded(messages, "?wait=cluster" if name % 2 else "")

    def _judge(
        self, name: int, messages: list[tuple[str, bytes]], began: float, answer: Answer | None
    ) -> Request:
        delivered = self._told(answer, len(messages))
        if name % 2:
            return Request(messages, began, delivered)
        forwarded = None
        if answer is not None and delivered is not None:
            forwarded = int(answer.json()["forwarded"])
            self.kept += len(messages) - forwarded
        return Request(messages, began, delivered, name // 2, forwarded)

    # the verdict

    def _compare(self, deaths_excuse: bool) -> Verdict:
        return compare_nodes(
            list(self._requests), list(self.crowd.streams), self.troubles, deaths_excuse
        )

    def explain(self, verdict: Verdict) -> Iterator[str]:
        """What is known of some of the messages that broke a promise."""
        for name, messages in verdict.broken.items():
            for message in messages[:5]:
                request = next(
                    it for it in self._requests if message in [sent for _, sent in it.messages]
                )
                told = f"{request.delivered} at {request.tag}, {request.forwarded} handed on"
                at = [f"{request.began - began:.3f}" for began, _ in self.troubles]
                streams = [it for it in self.crowd.streams if message in it.messages]
                came = [(it.tag, it.end.name) for it in streams]
                yield f"{name} {message!r}: sent {at} s into trouble, told: {told}; came: {came}"

    def _is_settled(self, verdict: Verdict) -> bool:
        return not verdict.lost and not verdict.missing


def compare_nodes(
    requests: list[Request],
    streams: list[Stream],
    troubles: list[Trouble],
    deaths_excuse: bool = True,
) -> Verdict:
    """The verdict on what senders at several nodes were told and what came."""
    verdict = compare(requests, streams, deaths_excuse=deaths_excuse)
    quiet = [it for it in requests if not _troubled(it, troubles)]
    excused = {it.messages[0][1] for it in requests if it.tag is None and _troubled(it, troubles)}
    return verdict._replace(
        denied=[it for it in verdict.denied if it not in excused],
        missing=list(_missing(quiet, streams)),
    )


def _troubled(request: Request, troubles: list[Trouble]) -> bool:
    return any(began <= request.began <= ended for began, ended in troubles)


def _missing(requests: list[Request], streams: list[Stream]) -> Iterator[bytes]:
    came = {it: set(it.messages) for it in streams}
    by_user: dict[str, list[Stream]] = {}
    for stream in streams:
        if stream.opened_at and not stream.ended_at:
            by_user.setdefault(stream.user, []).append(stream)
    for request in requests:
        if request.delivered is None or request.forwarded not in (None, len(request.messages)):
            continue
        for user, message in request.messages:
            for stream in by_user.get(user, ()):
                if stream.opened_at + LATE < request.began and message not in came[stream]:
                    yield message
