"""Who lives: each node says every second that it does, and hears it of the others.

Invariants: who is silent is lost, unless it's we who couldn't hear: while we didn't run, didn't
read, or NATS itself said nothing. A question waits for every node that is there, and for as long
as we can't have heard of all (`settled_at`). Who may have been called lost meanwhile is `behind`,
until NATS has passed on that it lives.
"""

import time

from ..errors import FrameError
from ..scoreboard import NatsLink
from ..wire import nodes
from ..wire.nats import NatsMessage
from ..wire.nodes import Heartbeat
from .local_router import LocalRouter
from .members import SILENCE, Members
from .options import NatsOptions
from .origins import Origins
from .questions import Questions
from .uplink import Uplink


class Pulse:
    """That of one node; `beat` every second, and `tick` it."""

    def __init__(
        self,
        node: str,
        uplink: Uplink,
        subject: bytes,
        options: NatsOptions,
        router: LocalRouter,
        questions: Questions,
        origins: Origins,
    ) -> None:
        """We're called `node`; heartbeats go to the subject that begins so."""
        self.members = Members()
        self._node = node
        self._uplink = uplink
        self._subject = subject
        self._options = options
        self._router = router
        self._questions = questions
        self._origins = origins
        now = self._ticked = time.monotonic()
        self._behind = False
        self._linked_at = now
        self.settled_at = now
        """From when on whoever is there has been heard of."""

    def linked(self) -> None:
        """We hear, and are heard."""
        now = self._linked_at = time.monotonic()
        self._behind = False
        self.settled_at = now + SILENCE
        self.members.forgive(now)

    def beat(self, *, leaving: bool = False) -> None:
        """Say that we live, or that we leave."""
        heartbeat = self._heartbeat(leaving=leaving)
        self._uplink.offer(self._subject + self._node.encode(), nodes.encode(heartbeat))

    def seen(self) -> list[tuple[float, Heartbeat]]:
        """The nodes of which something was heard, and when; and this one, if it's joined."""
        there = self.members.seen()
        if self._uplink.state is NatsLink.READY:
            there.append((time.monotonic(), self._heartbeat(leaving=False)))
        return there

    def _heartbeat(self, *, leaving: bool) -> Heartbeat:
        figures = self._router.figures()
        return Heartbeat(
            figures.users,
            figures.connections,
            figures.messages,
            figures.delivered,
            node=self._node,
            name=self._options.name,
            version=self._options.version,
            linked=round(time.monotonic() - self._linked_at, 3),
            link=self._origins.number,
            leaving=leaving,
        )

    def came(self, message: NatsMessage) -> None:
        """Another node lives, or leaves."""
        try:
            heartbeat = nodes.heartbeat(message.payload)
        except FrameError:
            return
        node, now = heartbeat.node, time.monotonic()
        if self._subject + node.encode() != message.subject or node == self._node:
            return
        self._origins.announced(node, heartbeat.link)
        if heartbeat.leaving:
            self.members.left(node)
            self._questions.left(node, now)
        elif self.members.heard(heartbeat, now):
            self._questions.joined(node, now - heartbeat.linked)

    def tick(self, now: float) -> None:
        """See who has fallen silent."""
        stopped = now - self._ticked > SILENCE / 2
        self._ticked = now
        unheard = self._uplink.unheard(now) > SILENCE / 2
        if stopped or unheard or self._uplink.held:  # it's we who couldn't hear
            self.members.forgive(now)
        if (stopped or unheard) and not self._behind:  # nor could they hear us
            self.beat()
            self._behind = self._uplink.flush(self._caught_up)
        if self._uplink.state is NatsLink.READY:
            for node in self.members.silent(now):
                self._questions.lost(node)

    def behind(self, now: float) -> bool:
        """Whether what comes may be of a time when the others had to take us for lost."""
        return self._behind or now - self._ticked > SILENCE / 2

    def _caught_up(self, _processed: bool) -> None:
        self._behind = False
