"""What goes to the other nodes: messages, publications, and those that they are to answer.

Invariants:
- What can't be handed on is said so, message by message.
- What waits is bounded by the uplink's buffer. Before that, senders are slowed down
  (`congested`), but not for long if NATS takes nothing at all.
"""

import time

from ..wire.message import Status, Verb
from ..wire.subjects import Subjects, token
from .errors import MessageTooLarge, UplinkError
from .origins import Origins
from .pulse import Pulse
from .questions import Questions
from .tally import MessageTally
from .uplink import Uplink

HOLD_PENDING = 1024 * 1024
"""Bytes that wait for NATS, from which on senders wait."""

STALL = 0.5
"""Seconds without NATS taking anything after which senders don't wait any longer: what is for
users of this node mustn't, and what isn't gets an error once the buffer is full."""


class Forwarding:
    """That of one node; `tick` it."""

    def __init__(
        self,
        uplink: Uplink,
        subjects: Subjects,
        origins: Origins,
        questions: Questions,
        pulse: Pulse,
        tally: MessageTally,
    ) -> None:
        self._uplink = uplink
        self._subjects = subjects
        self._origins = origins
        self._questions = questions
        self._pulse = pulse
        self._tally = tally
        self._ticked = time.monotonic()
        self._written = 0  # as NATS had taken when it was looked at last
        self._written_at = self._ticked  # when that had become more

    def forward(self, verb: Verb, ids: list[bytes], messages: list[bytes]) -> bytes | None:
        """See Peers."""
        subjects = self._subjects
        where = subjects.users(ids) if verb is Verb.SEND else subjects.publications(ids)
        try:
            self._uplink.publish(where, messages, self._origins.ours)
        except MessageTooLarge:
            return self._forward_what_fits(where, messages)
        except UplinkError:
            self._tally.unforwarded += len(messages)
            return bytes([Status.UNFORWARDED]) * len(messages)
        self._tally.forwarded += len(messages)
        return None

    def _forward_what_fits(self, subjects: list[bytes], messages: list[bytes]) -> bytes:
        limit = self._uplink.max_payload
        fits = [len(message) <= limit for message in messages]
        self._uplink.publish(
            [subject for subject, fit in zip(subjects, fits, strict=True) if fit],
            [message for message, fit in zip(messages, fits, strict=True) if fit],
            self._origins.ours,
        )
        self._tally.forwarded += sum(fits)
        self._tally.unforwarded += len(fits) - sum(fits)
        return bytes(Status.OK if fit else Status.UNFORWARDED for fit in fits)

    def ask(self, verb: Verb, id: bytes, message: bytes, ticket: int) -> bool:
        """See Peers."""
        questions, subjects, pulse = self._questions, self._subjects, self._pulse
        begin = subjects.to_send if verb is Verb.SEND else subjects.to_publish
        try:
            if questions.full:
                raise UplinkError
            number = questions.next
            reply = self._origins.reply + b"%d" % number
            self._uplink.publish((begin + token(id),), (message,), reply)
        except UplinkError:
            self._tally.unforwarded += 1
            return False
        self._tally.forwarded += 1
        questions.ask(ticket, pulse.members.nodes, time.monotonic(), pulse.settled_at)
        self._uplink.flush(lambda done: questions.processed(number, done, time.monotonic()))
        return True

    @property
    def congested(self) -> bool:
        """See Peers."""
        uplink = self._uplink  # what the turn has gathered counts: a turn may release very many
        return uplink.pending > HOLD_PENDING and self._ticked - self._written_at < STALL

    def tick(self, now: float) -> None:
        """See whether NATS takes anything."""
        uplink = self._uplink
        self._ticked = now
        if uplink.written != self._written or not uplink.pending:
            self._written, self._written_at = uplink.written, now
