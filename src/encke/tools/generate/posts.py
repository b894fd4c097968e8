"""A request a message: ``POST /send/{id}`` or ``/publish/{id}``, pipelined on one connection."""

import time
from collections import deque
from typing import NamedTuple

from ..load.target import PLACE, Target
from .account import Account
from .compose import Composer
from .connection import Connection, Counts, Message
from .plan import Plan
from .poller import Poller


class _Request(NamedTuple):
    user: int
    sequence: int
    written: int  # monotonic ns


class Posts(Connection):
    """One sender of single messages; `number` is its number in the stamps."""

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
        before, _, after = target.path.partition(PLACE.encode())
        key = b"Authorization: Bearer %b\r\n" % plan.api_key.encode() if plan.api_key else b""
        self._before = b"POST " + before
        self._after = (
            b"%b HTTP/1.1\r\nHost: %b\r\nUser-Agent: encke-generate\r\n%b"
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: "
        ) % (after, target.host, key)
        self._composer = Composer(
            plan.body.encode(), plan.size, stamped=plan.stamp, published=plan.publish
        )
        self._publish = plan.publish
        self._number = number
        self._first = plan.first_id
        self._most = plan.pipeline
        self._requests: deque[_Request] = deque()

    @property
    def owed(self) -> int:
        return len(self._requests)

    @property
    def crowded(self) -> bool:
        return len(self._requests) >= self._most

    @property
    def oldest(self) -> int:
        return self._requests[0].written if self._requests else 0

    def add(self, user: int, sequence: int) -> None:
        message = self._composer.compose(self._number, sequence)
        self.out += b"%b%d%b%d\r\n\r\n%b" % (
            self._before,
            self._first + user,
            self._after,
            len(message),
            message,
        )
        self._requests.append(_Request(user, sequence, time.monotonic_ns()))

    def answered(self, status: int, answer: Counts) -> None:
        if not self._requests:
            return  # an answer to no question; what follows shows what is wrong
        user, sequence, written = self._requests.popleft()
        self._account.answers.record(time.monotonic_ns() - written)
        if not 200 <= status < 300:
            self.refuse([(user, sequence)], status)
        elif self._publish:
            self._account.all_arrived(self._number, [user], [sequence], answer.delivered or 0)
        else:
            self._account.arrived(user, answer.delivered, elsewhere=bool(answer.forwarded))

    def abandon(self) -> list[Message]:
        owed = [(user, sequence) for user, sequence, _ in self._requests]
        self._requests.clear()
        return owed
