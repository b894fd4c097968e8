"""The other nodes, as a node's router sees them: what goes to them, and what comes.

NATS is told who is here, a SUB for each user (`logins`); so NATS carries a message to
the nodes that it concerns, and this node gives its own to NATS without asking who is where
(`forward`). Publications and questions go to every node. Each node says every second that
it lives, and so all know who has to answer a question (`members`, `questions`).

Invariants:
- Nothing is lost in silence: what can't be handed on is said so; what comes and can't be
  taken is counted, logged, and whoever wants an answer gets one.
- What waits is bounded: questions and answers by number, messages from others by what the
  router hasn't expanded (MAX_REMOTE), messages to them by the link's buffer. Before that, those
  who send are slowed down: `congested` holds this node's, and other nodes' aren't read.
- The messages of one node come in the order in which they were handed on, each once, and
  never back to it: what a NATS server hands out late isn't taken (`origins`).

May import: reactor, wire, log, and this room.
"""

import contextlib
import os
import time
from array import array
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Protocol

import msgspec

from .. import log
from ..errors import BadUserId, FrameError
from ..reactor.loop import Reactor
from ..wire import nodes
from ..wire.message import Status, Verb
from ..wire.nats import Message
from ..wire.nodes import Answer, Figures, Heartbeat
from ..wire.subjects import Subjects, token, user_id
from .errors import LinkError, MessageTooLarge
from .link import Link, State
from .logins import Client as LoginsClient
from .logins import Logins
from .members import SILENCE, Members
from .options import LinkOptions
from .origins import Origins, Verdict
from .questions import Questions

TICK = 0.1
"""Seconds between looks at the clock."""

BEAT = 1.0
"""Seconds between two heartbeats."""

MAX_REMOTE = 16 * 1024 * 1024
"""Bytes of messages from other nodes that the router hasn't expanded yet, beyond which those
that come are dropped: a second's worth, as the link's buffer is on the other side."""

HOLD_REMOTE = 6 * 1024 * 1024
"""Bytes of them from which on NATS isn't read from, until there are less again: a third of a
second's worth, and more than a gateway reads in a turn, so that it needn't wait for the next."""

HOLD_PENDING = 1024 * 1024
"""Bytes that wait for NATS, from which on senders wait."""

STALL = 0.5
"""Seconds without NATS taking anything after which senders don't wait any longer: what is for
users of this node mustn't, and what isn't gets an error once the buffer is full."""

MAX_HELD = 10_000
"""Answers that wait for the link to be READY."""

COMPLAINT_PAUSE = 10.0
"""Seconds between two log lines about messages that were dropped."""

OVERLOADED = "This node can't keep up: the message was dropped."
TOO_LARGE = "The message is larger than this node takes (--body-limit)."
NOT_UTF8 = "The message is not UTF-8."
NO_ID = "The subject's last token is no user's."
LATE = "It comes late, by a link that its node has lost since."
UNKNOWN = "This node can't say who is subscribed now."


class Client(LoginsClient, Protocol):
    """The router."""

    @property
    def remote_bytes(self) -> int:
        """Bytes of messages that `remote` got and that aren't expanded yet."""

    def remote(self, verb: Verb, ids: list[bytes], messages: list[bytes], ticket: int = 0) -> None:
        """Messages of other nodes. With a ticket, `Peers.answer` is called later."""

    def answered(self, ticket: int, count: int | None) -> None:
        """So many connections of other nodes got what was asked with `ticket`. None: some
        nodes haven't said it."""

    def figures(self) -> Figures:
        """This node in numbers."""


class Tally(msgspec.Struct):
    """Messages so far."""

    forwarded: int = 0
    """Handed on to NATS."""
    unforwarded: int = 0
    """That should have been, and couldn't."""
    received: int = 0
    """From other nodes, taken."""
    dropped: int = 0
    """From other nodes, not taken."""


class Peers:
    """The other nodes; `start` it. Make it after the router's own `after_turn` hook."""

    def __init__(
        self,
        reactor: Reactor,
        options: LinkOptions,
        subjects: Subjects,
        client: Client,
        *,
        timeout: float,
        patience: float,
        body_limit: int,
    ) -> None:
        """Nodes have `timeout` seconds to answer. Clients wait `patience` seconds for their
        login. `body_limit` is the largest message, in bytes, that is taken from others.

        Raises BadSettings if a URL or a file is of no use.
        """
        self.node = os.urandom(6).hex()
        """Our name among the others, another one at each start."""
        self.members = Members()
        self.tally = Tally()
        self.link = Link(reactor, options, self)
        self.logins = Logins(self.link, subjects, client, patience)
        self._options = options
        self._subjects = subjects
        self._client = client
        self._body_limit = body_limit
        self._questions = Questions(timeout, client.answered)
        # answers of ours
        self._tickets: dict[int, bytes] = {}  # -> the subject of the answer
        self._next_ticket = 0
        self._held: list[tuple[bytes, bytes]] = []  # subject and payload
        # the clock's
        now = self._ticked = time.monotonic()
        self._linked_at = now
        self._settled_at = now  # whoever is there has been heard of
        self._written = 0  # as NATS had taken when it was looked at last
        self._written_at = now  # when that had become more
        # complaints
        self._unlogged = 0
        self._why = ""
        self._complain_at = now
        self._origins = Origins(subjects, self.node)
        replies = b"%b%b.*" % (subjects.reply, self.node.encode())
        self._kinds: dict[bytes, Verb | Callable[[Message], None]] = {  # by sid
            subjects.all_publications: Verb.PUBLISH,
            subjects.to_send + b"*": Verb.SEND,
            subjects.to_publish + b"*": Verb.PUBLISH,
            replies: self._answer_came,
            subjects.node + b"*": self._heartbeat_came,
        }
        reactor.every(TICK, self._tick)
        reactor.every(BEAT, self._beat)

    def start(self) -> None:
        """Make the first attempt at NATS."""
        self.link.start()

    def close(self) -> None:
        """Say goodbye, and end the link for good."""
        self._say_that_we_live(leaving=True)
        self.link.close()

    # what the router hands on

    def forward(self, verb: Verb, ids: list[bytes], messages: list[bytes]) -> bytes | None:
        """Hand `messages[k]` for `ids[k]` on to the nodes concerned. None: all were; else a
        Status each, OK or UNFORWARDED."""
        subjects = self._subjects
        where = subjects.users(ids) if verb is Verb.SEND else subjects.publications(ids)
        try:
            self.link.publish(where, messages, self._origins.ours)
        except MessageTooLarge:
            return self._forward_what_fits(where, messages)
        except LinkError:
            self.tally.unforwarded += len(messages)
            return bytes([Status.UNFORWARDED]) * len(messages)
        self.tally.forwarded += len(messages)
        return None

    def _forward_what_fits(self, subjects: list[bytes], messages: list[bytes]) -> bytes:
        limit = self.link.max_payload
        fits = [len(message) <= limit for message in messages]
        self.link.publish(
            [subject for subject, fit in zip(subjects, fits, strict=True) if fit],
            [message for message, fit in zip(messages, fits, strict=True) if fit],
            self._origins.ours,
        )
        self.tally.forwarded += sum(fits)
        self.tally.unforwarded += len(fits) - sum(fits)
        return bytes(Status.OK if fit else Status.UNFORWARDED for fit in fits)

    def ask(self, verb: Verb, id: bytes, message: bytes, ticket: int) -> bool:
        """Hand one on to all nodes, each of which is to answer; `Client.answered` gets the
        ticket, now or later. False: it couldn't be handed on."""
        questions, subjects = self._questions, self._subjects
        begin = subjects.to_send if verb is Verb.SEND else subjects.to_publish
        try:
            if questions.full:
                raise LinkError
            reply = self._origins.reply + b"%d" % questions.next
            self.link.publish((begin + token(id),), (message,), reply)
        except LinkError:
            self.tally.unforwarded += 1
            return False
        self.tally.forwarded += 1
        questions.ask(ticket, self.members.nodes, time.monotonic(), self._settled_at)
        return True

    @property
    def congested(self) -> bool:
        """Whether senders had better wait, since NATS doesn't keep up."""
        link = self.link  # what the turn has gathered counts: a turn may release very many
        return link.pending > HOLD_PENDING and self._ticked - self._written_at < STALL

    # who is here

    def logged_in(self, gateway: int, handles: "array[int]") -> None:
        """These have logged in: `Client.reachable` is called once the others reach them."""
        self.logins.logged_in(gateway, handles)

    def changed(self, changes: dict[bytes, bool]) -> None:
        """Ids that have come (True) or gone (False) in this turn, which is about to end."""
        self.logins.end_turn(changes)
        if self.link.held and self._client.remote_bytes <= HOLD_REMOTE:
            self.link.hold(False)

    # what the link calls (link.Owner)

    def interest(self) -> Iterable[bytes]:
        """All subjects to subscribe to, those of all nodes first."""
        return chain(self._kinds, self.logins.interest())

    def linked(self) -> None:
        """We're joined, with all interest."""
        now = self._linked_at = time.monotonic()
        self._origins.linked()
        self._settled_at = now + SILENCE
        self.members.forgive(now)
        self.logins.linked()
        held, self._held = self._held, []
        for subject, payload in held:
            self._publish(subject, payload)
        self._say_that_we_live()

    def lost(self, reason: str) -> None:
        """We're alone."""
        self._held.clear()
        self._questions.fail()

    def received(self, messages: list[Message]) -> None:
        """Messages."""
        if self._all_usual(messages):
            self._take(
                Verb.SEND,
                [message.sid.replace(b",", b".") for message in messages],
                [message.payload for message in messages],
            )
        else:
            self._look_at_each(messages)

    def _all_usual(self, messages: list[Message]) -> bool:
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

    def _look_at_each(self, messages: list[Message]) -> None:
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
            reply = message.reply
            if reply in newest:
                reply = b""
            elif reply:
                verdict = self._origins.judge(reply)
                if verdict is Verdict.LATE:
                    self._drop(LATE, 1)
                if verdict >= Verdict.LATE:
                    continue
                if verdict is Verdict.TAKE:
                    reply = b""
            if reply or not id or len(payload) > limit or not payload.isascii():
                refusal = self._refusal(id, payload)
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

    def _refusal(self, id: bytes, payload: bytes) -> str:
        """Why a message can't be taken; empty: it can."""
        if not id:
            return NO_ID
        if len(payload) > self._body_limit:
            return TOO_LARGE
        try:
            payload.decode()
        except UnicodeDecodeError:
            return NOT_UTF8
        return ""

    def _take(self, verb: Verb, ids: list[bytes], messages: list[bytes]) -> None:
        if not ids:
            return
        if self._client.remote_bytes > MAX_REMOTE:
            self._drop(OVERLOADED, len(ids))
            return
        self.tally.received += len(ids)
        self._client.remote(verb, ids, messages)
        if self._client.remote_bytes > HOLD_REMOTE:
            self.link.hold(True)

    def _take_one(self, verb: Verb, id: bytes, payload: bytes, reply: bytes, refusal: str) -> None:
        """A message whose sender wants an answer, or that is to be refused."""
        if not refusal and self._client.remote_bytes > MAX_REMOTE:
            refusal = OVERLOADED
        if refusal:
            self._drop(refusal, 1)
            if reply:
                self._say(reply, Answer(self.node, 0, refusal))
            return
        ticket = self._next_ticket = self._next_ticket + 1
        self._tickets[ticket] = reply
        self.tally.received += 1
        self._client.remote(verb, [id], [payload], ticket)

    def answer(self, ticket: int, count: int | None) -> None:
        """So many connections here got the message of `ticket`; None: nobody can say."""
        reply = self._tickets.pop(ticket)
        error = UNKNOWN if count is None else ""
        self._say(reply, Answer(self.node, count or 0, error))

    def _say(self, subject: bytes, answer: Answer) -> None:
        payload = nodes.encode(answer)
        if self.link.state is not State.RESTORING:
            self._publish(subject, payload)
        elif len(self._held) < MAX_HELD:
            self._held.append((subject, payload))

    def _publish(self, subject: bytes, payload: bytes) -> None:
        """Publish, if that's possible: who waits for it finds out by time if it isn't."""
        with contextlib.suppress(LinkError):
            self.link.publish((subject,), (payload,))

    # the others

    def _answer_came(self, message: Message) -> None:
        number = message.subject.rpartition(b"-")[2]
        if not number.isdigit() or len(number) > 18:
            return
        try:
            answer = nodes.answer(message.payload)
        except FrameError:
            return  # maybe NATS itself: nobody is there
        self._questions.answer(int(number), answer, time.monotonic())

    def _heartbeat_came(self, message: Message) -> None:
        try:
            heartbeat = nodes.heartbeat(message.payload)
        except FrameError:
            return
        node, now = heartbeat.node, time.monotonic()
        if self._subjects.node + node.encode() != message.subject or node == self.node:
            return
        if heartbeat.leaving:
            self.members.left(node)
            self._questions.left(node, now)
        elif self.members.heard(heartbeat, now):
            self._questions.joined(node, now - heartbeat.linked)

    def seen(self) -> list[tuple[float, Heartbeat]]:
        """The nodes of which something was heard, and when; and this one, if it's joined."""
        there = self.members.seen()
        if self.link.state is State.READY:
            there.append((time.monotonic(), self._heartbeat(leaving=False)))
        return there

    def _say_that_we_live(self, *, leaving: bool = False) -> None:
        heartbeat = self._heartbeat(leaving=leaving)
        self._publish(self._subjects.node + self.node.encode(), nodes.encode(heartbeat))

    def _heartbeat(self, *, leaving: bool) -> Heartbeat:
        figures = self._client.figures()
        return Heartbeat(
            figures.users,
            figures.connections,
            figures.messages,
            figures.delivered,
            node=self.node,
            name=self._options.name,
            version=self._options.version,
            linked=round(time.monotonic() - self._linked_at, 3),
            leaving=leaving,
        )

    # the clock

    def _beat(self) -> None:
        if self.link.state is State.READY:
            self._say_that_we_live()
            self.logins.beat()

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked > SILENCE / 2:  # it's we who were stopped
            self.members.forgive(now)
        self._ticked = now
        if self.link.held:  # nor do we hear of anyone
            self.members.forgive(now)
        if self.link.written != self._written or not self.link.pending:
            self._written, self._written_at = self.link.written, now
        if self.link.state is State.READY:
            for node in self.members.silent(now):
                self._questions.lost(node)
            self._questions.tick(now)
        self.logins.tick(now)
        if self._unlogged and now >= self._complain_at:
            self._complain()

    def _drop(self, why: str, count: int) -> None:
        self.tally.dropped += count
        self._unlogged += count
        self._why = why
        if time.monotonic() >= self._complain_at:
            self._complain()

    def _complain(self) -> None:
        log.error("messages-dropped", reason=self._why, times=self._unlogged)
        self._unlogged = 0
        self._complain_at = time.monotonic() + COMPLAINT_PAUSE


def _user_of(subject: bytes) -> bytes:
    """The user id whose token is the last one of `subject`; empty if it's nobody's."""
    try:
        return user_id(subject[subject.rfind(b".") + 1 :])
    except BadUserId:
        return b""
