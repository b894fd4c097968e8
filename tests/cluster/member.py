"""An owner of a link, as a router would be one: it has subjects, and remembers what came."""

from collections.abc import Iterator

from msgspec.structs import replace
from reactor.turning import run_until

from encke.cluster.options import NatsOptions
from encke.cluster.uplink import Uplink
from encke.reactor.loop import Reactor
from encke.scoreboard import NatsLink
from encke.wire.nats import NatsMessage

OPTIONS = NatsOptions(name="test", silence=0.9, connect_timeout=2.0, retry_limit=0.4)


class Member:
    """A link and its owner."""

    def __init__(
        self, reactor: Reactor, options: NatsOptions, *subjects: bytes, start: bool = True
    ) -> None:
        self.reactor = reactor
        self.subjects = dict.fromkeys(subjects)
        self.messages: list[NatsMessage] = []
        self.events: list[str] = []
        self.link = Uplink(reactor, options, self)
        if start:
            self.link.start()

    # what an owner does

    def interest(self) -> Iterator[bytes]:
        self.events.append("interest")
        return (subject for subject in list(self.subjects) if subject in self.subjects)

    def probes(self) -> tuple[list[bytes], list[bytes]]:
        return [], []

    def owns(self, subject: bytes) -> bool:
        return False

    def linked(self) -> None:
        self.events.append("linked")

    def received(self, messages: list[NatsMessage]) -> None:
        self.messages += messages

    def lost(self, reason: str) -> None:
        self.events.append(f"lost: {reason}")

    # what tests do

    def until_ready(self) -> None:
        run_until(self.reactor, lambda: self.link.state is NatsLink.READY)

    def until_away(self) -> None:
        run_until(self.reactor, lambda: self.link.state is NatsLink.AWAY)

    def subscribe(self, *subjects: bytes) -> None:
        """Subscribe, as at a login, and wait until the server has done so."""
        self.subjects.update(dict.fromkeys(subjects))
        assert self.link.subscribe(subjects)
        assert self.flushed()

    def flushed(self) -> bool:
        """Wait until the server has processed all; whether it complained of nothing."""
        results: list[bool] = []
        assert self.link.flush(results.append)
        self.link.write()  # we're between two turns
        run_until(self.reactor, lambda: bool(results))
        return results[0]

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    def until_received(self, count: int) -> list[bytes]:
        """The payloads, once there are so many."""
        run_until(self.reactor, lambda: len(self.messages) >= count)
        return self.payloads()


class Join:
    """Makes a Member, each with a link of its own; waits until it's READY, unless told otherwise.
    `changes` are options."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.members: list[Member] = []

    def __call__(
        self, url: str, *subjects: bytes, ready: bool = True, start: bool = True, **changes: object
    ) -> Member:
        options = replace(OPTIONS, servers=url, **changes)
        member = Member(self._reactor, options, *subjects, start=start)
        self.members.append(member)
        if ready and start:
            member.until_ready()
        return member
