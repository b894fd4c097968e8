"""NDJSON: many messages a request, ``POST /send`` or ``/publish``, on one connection.

A body is streamed: its lines leave as chunks, when they are due. It ends after `batch`
messages, or a second, and its answer says what became of them; the next one begins at
once, without waiting for that.
"""

import time
from array import array
from collections import deque

import msgspec

from ..load.target import Target
from .account import Account
from .compose import Composer
from .connection import Connection, Counts, Message
from .plan import Plan
from .poller import Poller

MOST_BODIES = 4
"""Bodies of a sender without an answer, at most."""
LONGEST = 1_000_000_000
"""Nanoseconds that a body goes on, however few messages come."""


class _Body:
    """The messages of one body; `ended` is 0 while it goes on."""

    __slots__ = ("began", "ended", "sequences", "users")

    def __init__(self, began: int) -> None:
        self.users = array("I")
        self.sequences = array("I")
        self.began = began
        self.ended = 0


class Bodies(Connection):
    """One sender of NDJSON; `number` is its number in the stamps."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        poller: Poller,
        account: Account,
        again: deque[Message],
        number: int,
    ) -> None:
        super().__init__(target, poller, account, again, retry=plan.retry)
        key = b"Authorization: Bearer %b\r\n" % plan.api_key.encode() if plan.api_key else b""
        self._head = (
            b"POST %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: encke-generate\r\n%b"
            b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        ) % (target.path, target.host, key)
        escaped = msgspec.json.encode(plan.body)[1:-1]
        self._composer = Composer(escaped, plan.size, stamped=plan.stamp, published=plan.publish)
        self._constant = self._composer.constant
        self._number = number
        self._first = plan.first_id
        self._batch = plan.batch
        self._lines = bytearray()  # of the last body, not yet in `out`
        self._bodies: deque[_Body] = deque()  # without an answer; the last one may go on

    @property
    def owed(self) -> int:
        return sum(len(body.users) for body in self._bodies)

    @property
    def crowded(self) -> bool:
        return len(self._bodies) >= MOST_BODIES and bool(self._bodies[-1].ended)

    @property
    def oldest(self) -> int:
        return self._bodies[0].ended if self._bodies else 0

    def add(self, user: int, sequence: int) -> None:
        bodies = self._bodies
        if not bodies or bodies[-1].ended:
            bodies.append(_Body(time.monotonic_ns()))
            self.out += self._head
        body = bodies[-1]
        message = self._constant or self._composer.compose(self._number, sequence)
        self._lines += b'{"id":"%d","data":"%b"}\n' % (self._first + user, message)
        users = body.users
        users.append(user)
        body.sequences.append(sequence)
        if len(users) >= self._batch:
            self.end()

    def end(self) -> None:
        if self._bodies and not self._bodies[-1].ended:
            self._write_lines()
            self.out += b"0\r\n\r\n"
            self._bodies[-1].ended = time.monotonic_ns()

    def tick(self, now: float, timeout: float) -> None:
        if self._bodies and self._bodies[-1].began + LONGEST < now * 1e9:
            self.end()
            self.flush()
        super().tick(now, timeout)

    def flush(self) -> None:
        self._write_lines()
        super().flush()

    def answered(self, status: int, answer: Counts) -> None:
        if not self._bodies:
            return  # an answer to no question; what follows shows what is wrong
        body = self._bodies.popleft()
        accepted = len(body.users)
        if body.ended:
            self._account.answers.record(time.monotonic_ns() - body.ended)
        else:
            self._lines.clear()  # refused before its end
        if not 200 <= status < 300:
            accepted = min(accepted, answer.accepted or 0)
            rest = zip(body.users[accepted:], body.sequences[accepted:], strict=True)
            self.refuse(list(rest), status)
        self._account.all_arrived(
            self._number, body.users[:accepted], body.sequences[:accepted], answer.delivered or 0
        )

    def abandon(self) -> list[Message]:
        owed: list[Message] = []
        for body in self._bodies:
            owed.extend(zip(body.users, body.sequences, strict=True))
        self._bodies.clear()
        self._lines.clear()
        return owed

    def _write_lines(self) -> None:
        """One chunk of what was added since the last one."""
        if self._lines:
            self.out += b"%x\r\n%b\r\n" % (len(self._lines), bytes(self._lines))
            self._lines.clear()
