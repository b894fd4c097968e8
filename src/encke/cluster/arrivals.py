"""What comes from the other nodes, or from whoever else publishes, and goes to the router.

Invariants:
- What can't be taken is counted, logged, and whoever wants an answer gets one.
- What waits is bounded, by what the router hasn't expanded (MAX_REMOTE). Before that nothing is
  read from NATS any more (HOLD_REMOTE).
- Who asked while this node was taken for lost was told a number without it, so it doesn't deliver
  that (`Pulse.behind`).
- The messages of one node come in the order in which they were handed on, each once, and never
  back to it: what a NATS server hands out late isn't taken (`origins`).
"""

import time
from collections.abc import Callable, Mapping

from ..errors import BadUserId
from ..wire.message import Verb
from ..wire.nats import NatsMessage
from ..wire.subjects import NOBODY, user_id
from .complaints import Complaints
from .local_router import LocalRouter
from .origins import Origins, Verdict
from .pulse import Pulse
from .replies import Replies
from .tally import MessageTally
from .uplink import Uplink

MAX_REMOTE = 16 * 1024 * 1024
"""Bytes of messages from other nodes that the router hasn't expanded yet, beyond which those
that come are dropped: a second's worth, as the uplink's buffer is on the other side."""

HOLD_REMOTE = 6 * 1024 * 1024
"""Bytes of them from which on NATS isn't read from, until there are less again: a third of a
second's worth, and more than a gateway reads in a turn, so that it needn't wait for the next."""

OVERLOADED = "This node can't keep up: the message was dropped."
TOO_LARGE = "The message is larger than this node takes (--body-limit)."
NOT_UTF8 = "The message is not UTF-8."
NO_ID = "The subject's last token is no user's."
STOPPED = "This node was stopped, or cut off: it can't tell whether the answer was waited for."
LATE = "It comes late, by a link that its node has lost since."

Kinds = Mapping[bytes, Verb | Callable[[NatsMessage], None]]
"""What comes by the subscription of a sid: messages with a verb, or what is for a function. By
any other sid come messages that are sent to a user of this node."""


class Arrivals:
    """Those at one node; `tick` them."""

    def __init__(
        self,
        uplink: Uplink,
        origins: Origins,
        pulse: Pulse,
        router: LocalRouter,
        replies: Replies,
        tally: MessageTally,
        kinds: Kinds,
        body_limit: int,
    ) -> None:
        """`body_limit` is the largest message, in bytes, that is taken."""
        self._uplink = uplink
        self._origins = origins
        self._pulse = pulse
        self._router = router
        self._replies = replies
        self._tally = tally
        self._kinds = kinds
        self._body_limit = body_limit
        self._complaints = Complaints("messages-dropped")

    def end_turn(self) -> None:
        """Read on, if the router has caught up."""
        if self._uplink.held and self._router.remote_bytes <= HOLD_REMOTE:
            self._uplink.hold(False)

    def tick(self) -> None:
        """Log what was dropped."""
        self._complaints.tick()

    def received(self, messages: list[NatsMessage]) -> None:
        """Messages."""
        if self._all_usual(messages):
            self._take(
                Verb.SEND,
                [message.sid.replace(b",", b".") for message in messages],
                [message.payload for message in messages],
            )
        else:
            self._look_at_each(messages)

    def _all_usual(self, messages: list[NatsMessage]) -> bool:
        """Whether all of them are for users who are here, in ASCII, by their nodes' newest links,
        and nobody wants an answer."""
        payloads = [message.payload for message in messages]
        replies = {message.reply for message in messages}
        return (
            replies - {b""} <= self._origins.newest.keys()
            and self._kinds.keys().isdisjoint([message.sid for message in messages])
            and all(map(bytes.isascii, payloads))
            and max(map(len, payloads)) <= self._body_limit
        )

    def _look_at_each(self, messages: list[NatsMessage]) -> None:
        """Take what can be taken; consecutive ones that are alike go to the router together."""
        kinds, limit, newest = self._kinds, self._body_limit, self._origins.newest
        verb = Verb.SEND
        ids: list[bytes] = []
        payloads: list[bytes] = []
        for message in messages:
            kind = kinds.get(message.sid)
            payload = message.payload
            if kind is None:  # our own SUB's sid: a user's token
                id, kind = message.sid.replace(b",", b"."), Verb.SEND
            elif not isinstance(kind, Verb):
                kind(message)
                continue
            else:
                id = _user_of(message.subject)
                if not id and message.subject.endswith(NOBODY):
                    continue  # a node has seen whether it may publish there
            reply = message.reply
            if reply in newest:
                reply = b""
            elif reply:
                verdict = self._judge(reply)
                if verdict >= Verdict.LATE:
                    continue
                if verdict is Verdict.TAKE:
                    reply = b""
            if reply or not id or len(payload) > limit or not payload.isascii():
                refusal = _refusal(id, payload, limit)
                if refusal or reply:
                    self._take(verb, ids, payloads)
                    ids, payloads = [], []
                    self._take_one(kind, id, payload, reply, refusal)
                    continue
            if kind is not verb:
                self._take(verb, ids, payloads)
                verb, ids, payloads = kind, [], []
            ids.append(id)
            payloads.append(payload)
        self._take(verb, ids, payloads)

    def _judge(self, reply: bytes) -> Verdict:
        verdict = self._origins.judge(reply)
        if verdict is Verdict.LATE:
            self._drop(LATE, 1)
        return verdict

    def _take(self, verb: Verb, ids: list[bytes], messages: list[bytes]) -> None:
        if not ids:
            return
        if self._router.remote_bytes > MAX_REMOTE:
            self._drop(OVERLOADED, len(ids))
            return
        self._tally.received += len(ids)
        self._router.remote(verb, ids, messages)
        if self._router.remote_bytes > HOLD_REMOTE:
            self._uplink.hold(True)

    def _take_one(self, verb: Verb, id: bytes, payload: bytes, reply: bytes, refusal: str) -> None:
        """A message whose sender wants an answer, or that is to be refused."""
        if not refusal and self._router.remote_bytes > MAX_REMOTE:
            refusal = OVERLOADED
        if not refusal and self._pulse.behind(time.monotonic()):
            refusal = STOPPED
        if refusal:
            self._drop(refusal, 1)
            if reply:
                self._replies.refuse(reply, refusal)
            return
        self._tally.received += 1
        self._router.remote(verb, [id], [payload], self._replies.owe(reply))

    def _drop(self, why: str, count: int) -> None:
        self._tally.dropped += count
        self._complaints.add(count, reason=why)
        self._complaints.tick()


def _refusal(id: bytes, payload: bytes, limit: int) -> str:
    """Why a message can't be taken; empty: it can."""
    if not id:
        return NO_ID
    if len(payload) > limit:
        return TOO_LARGE
    try:
        payload.decode()
    except UnicodeDecodeError:
        return NOT_UTF8
    return ""


def _user_of(subject: bytes) -> bytes:
    """The user id whose token is the last one of `subject`; empty if it's nobody's."""
    try:
        return user_id(subject[subject.rfind(b".") + 1 :])
    except BadUserId:
        return b""
