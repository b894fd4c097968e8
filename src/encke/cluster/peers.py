"""The other nodes, as a node's router sees them: what goes to them, and what comes.

NATS is told who is here, a SUB for each user (`logins`); so NATS carries a message to
the nodes that it concerns, and this node gives its own to NATS without asking who is where
(`forwarding`). Publications and questions go to every node (`questions`, `replies`). Each node
says every second that it lives (`pulse`), and so all know who has to answer a question
(`members`). What comes goes to the router (`arrivals`).

Invariants:
- Nothing is lost in silence: what can't be handed on is said so; what comes and can't be
  taken is counted, logged, and whoever wants an answer gets one.
- What waits is bounded: questions and answers by number, messages in both directions by bytes.
  Before that, those who send are slowed down: `congested` holds this node's, and other nodes'
  aren't read.
- The messages of one node come in the order in which they were handed on, each once, and
  never back to it.
"""

import os
import time
from array import array
from collections.abc import Iterable
from itertools import chain

from ..errors import FrameError
from ..reactor.loop import Reactor
from ..scoreboard import NatsLink
from ..wire import nodes
from ..wire.message import Verb
from ..wire.nats import NatsMessage
from ..wire.nodes import Heartbeat
from ..wire.subjects import Subjects
from .arrivals import Arrivals, Kinds
from .forwarding import Forwarding
from .local_router import LocalRouter
from .logins import Logins
from .members import Members
from .options import NatsOptions
from .origins import Origins
from .pulse import Pulse
from .questions import Questions
from .replies import Replies
from .tally import MessageTally
from .uplink import Uplink

TICK = 0.1
"""Seconds between looks at the clock."""

BEAT = 1.0
"""Seconds between two heartbeats."""


class Peers:
    """The other nodes; `start` it. Make it after the router's own `after_turn` hook."""

    def __init__(
        self,
        reactor: Reactor,
        options: NatsOptions,
        subjects: Subjects,
        router: LocalRouter,
        *,
        timeout: float,
        patience: float,
        body_limit: int,
    ) -> None:
        """Nodes have `timeout` seconds to answer. Clients wait `patience` seconds for their
        login. `body_limit` is the largest message, in bytes, that is taken from others.

        Raises BadSettings if a URL or a file is of no use.
        """
        node = os.urandom(6).hex()
        self._subjects = subjects
        self.node = node
        """Our name among the others, another one at each start."""
        self.tally = MessageTally()
        self.link = uplink = Uplink(reactor, options, self)
        self._origins = Origins(subjects, node, os.urandom(8).hex())
        self._questions = Questions(timeout, router.answered)
        self.logins = Logins(uplink, subjects, router, patience)
        self._pulse = Pulse(
            node, uplink, subjects.node, options, router, self._questions, self._origins
        )
        self._replies = Replies(node, uplink, subjects)
        self._forwarding = Forwarding(
            uplink, subjects, self._origins, self._questions, self._pulse, self.tally
        )
        self._kinds: Kinds = {  # by sid
            subjects.all_publications: Verb.PUBLISH,
            subjects.to_send + b"*": Verb.SEND,
            subjects.to_publish + b"*": Verb.PUBLISH,
            b"%b%b.*" % (subjects.reply, node.encode()): self._answer_came,
            subjects.node + b"*": self._pulse.came,
        }
        self._arrivals = Arrivals(
            uplink,
            self._origins,
            self._pulse,
            router,
            self._replies,
            self.tally,
            self._kinds,
            body_limit,
        )
        reactor.every(TICK, self._tick)
        reactor.every(BEAT, self._beat)

    @property
    def members(self) -> Members:
        """Who is there."""
        return self._pulse.members

    def start(self) -> None:
        """Make the first attempt at NATS."""
        self.link.start()

    def close(self) -> None:
        """Say goodbye, and end the link for good."""
        self._pulse.beat(leaving=True)
        self.link.close()

    # what the router hands on

    def forward(self, verb: Verb, ids: list[bytes], messages: list[bytes]) -> bytes | None:
        """Hand `messages[k]` for `ids[k]` on to the nodes concerned. None: all were; else a
        Status each, OK or UNFORWARDED."""
        return self._forwarding.forward(verb, ids, messages)

    def ask(self, verb: Verb, id: bytes, message: bytes, ticket: int) -> bool:
        """Hand one on to all nodes, each of which is to answer; `LocalRouter.answered` gets the
        ticket, now or later. False: it couldn't be handed on."""
        return self._forwarding.ask(verb, id, message, ticket)

    @property
    def congested(self) -> bool:
        """Whether senders had better wait, since NATS doesn't keep up."""
        return self._forwarding.congested

    def answer(self, ticket: int, count: int | None) -> None:
        """So many connections here got the message that `LocalRouter.remote` was given with
        `ticket`; None: nobody can say."""
        self._replies.answer(ticket, count)

    # who is here

    def logged_in(self, gateway: int, handles: "array[int]") -> None:
        """These have logged in: `LocalRouter.reachable` is called once the others reach them."""
        self.logins.logged_in(gateway, handles)

    def changed(self, changes: dict[bytes, bool]) -> None:
        """Ids that have come (True) or gone (False) in this turn, which is about to end."""
        self.logins.end_turn(changes)
        self._arrivals.end_turn()

    # what the uplink calls (owner.UplinkOwner)

    def interest(self) -> Iterable[bytes]:
        """All subjects to subscribe to, those of all nodes first."""
        return chain(self._kinds, self.logins.interest())

    def probes(self) -> tuple[list[bytes], list[bytes]]:
        """One of each kind that we publish; nobody takes notice of them."""
        subjects, node = self._subjects, self.node.encode()
        where = [*subjects.probes(), self._origins.reply + b"0", subjects.node + node]
        return where, [b""] * (len(where) - 1) + [b"{}"]

    def owns(self, subject: bytes) -> bool:
        """Whether it's a subject of the nodes: answers elsewhere are whoever's wish who asks."""
        return self._subjects.owns(subject)

    def linked(self) -> None:
        """We're joined, with all interest."""
        self._origins.linked()
        self._pulse.linked()
        self.logins.linked()
        self._replies.linked()
        self._pulse.beat()

    def lost(self, reason: str) -> None:
        """We're alone."""
        self._replies.lost()
        self._questions.fail()

    def received(self, messages: list[NatsMessage]) -> None:
        """Messages."""
        self._arrivals.received(messages)

    def _answer_came(self, message: NatsMessage) -> None:
        begin = self._origins.reply
        number = message.subject[len(begin) :]
        if not message.subject.startswith(begin) or not number.isdigit() or len(number) > 18:
            return
        try:
            answer = nodes.reply(message.payload)
        except FrameError:
            return  # maybe NATS itself: nobody is there
        self._questions.answer(int(number), answer, time.monotonic())

    def seen(self) -> list[tuple[float, Heartbeat]]:
        """The nodes of which something was heard, and when; and this one, if it's joined."""
        return self._pulse.seen()

    # the clock

    def _beat(self) -> None:
        if self.link.state is NatsLink.READY:
            self._pulse.beat()
            self.logins.beat()

    def _tick(self) -> None:
        now = time.monotonic()
        self._pulse.tick(now)
        self._forwarding.tick(now)
        if self.link.state is NatsLink.READY:
            self._questions.tick(now)
        self.logins.tick(now)
        self._arrivals.tick()
