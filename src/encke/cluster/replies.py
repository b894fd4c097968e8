"""What this node answers to those who want to know how many connections got a message.

Invariant: whoever is to be told is told once: when the router knows, or at once if the message
isn't taken. While the uplink is being restored answers wait, at most MAX_HELD; without
a link they are lost, and who asked finds out by time. Nothing is said at a subject of the
nodes but where they want answers: who may not publish there can't have a node do so.
"""

from ..scoreboard import NatsLink
from ..wire import nodes
from ..wire.nodes import Reply
from ..wire.subjects import Subjects
from .uplink import Uplink

MAX_HELD = 10_000
"""Answers that wait for the uplink to be READY."""

UNKNOWN = "This node can't say who is subscribed now."


class Replies:
    """Those of one node."""

    def __init__(self, node: str, uplink: Uplink, subjects: Subjects) -> None:
        """We're called `node`."""
        self._node = node
        self._subjects = subjects
        self._uplink = uplink
        self._tickets: dict[int, bytes] = {}  # -> the subject of the answer
        self._next_ticket = 0
        self._held: list[tuple[bytes, bytes]] = []  # subject and payload

    def owe(self, reply: bytes) -> int:
        """An answer is wanted at `reply`; the ticket with which `answer` is to be called."""
        ticket = self._next_ticket = self._next_ticket + 1
        self._tickets[ticket] = reply
        return ticket

    def answer(self, ticket: int, count: int | None) -> None:
        """So many connections here got the message of `ticket`; None: nobody can say."""
        reply = self._tickets.pop(ticket)
        error = UNKNOWN if count is None else ""
        self._say(reply, Reply(self._node, count or 0, error))

    def refuse(self, reply: bytes, why: str) -> None:
        """The message that wants an answer at `reply` isn't taken."""
        self._say(reply, Reply(self._node, 0, why))

    def linked(self) -> None:
        """What was held can leave."""
        held, self._held = self._held, []
        for subject, payload in held:
            self._uplink.offer(subject, payload)

    def lost(self) -> None:
        """There's nobody to tell."""
        self._held.clear()

    def _say(self, subject: bytes, answer: Reply) -> None:
        ours = self._subjects.owns(subject)
        if ours and not subject.startswith(self._subjects.reply):
            return
        payload = nodes.encode(answer)
        if self._uplink.state is not NatsLink.RESTORING:
            self._uplink.offer(subject, payload)
        elif len(self._held) < MAX_HELD:
            self._held.append((subject, payload))
