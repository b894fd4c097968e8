"""What senders are told, as bytes: each answer is made once a second, however many get it.

Pure, but for the date. Invariant: what is kept is of this second.
"""

import random
import time

from ..wire.response import Headers, not_now, problem, response
from .routes import Problem

_Outcome = tuple[int, bool | None, bool]
"""Connections that got a message; whether it was handed on to other nodes, None if there's nothing
to say of that; whether the connection ends with this answer."""


class Delivered(dict[_Outcome, bytes]):
    """The answers to single messages, by what became of them."""

    def __init__(self) -> None:
        super().__init__()
        self.date = b""

    def __missing__(self, outcome: _Outcome) -> bytes:
        connections, forwarded, close = outcome
        known = b""
        if forwarded is not None:
            known = b', "forwarded": true' if forwarded else b', "forwarded": false'
        body = b'{"delivered": %d%b}' % (connections, known)
        data = self[outcome] = response(200, body, date=self.date, close=close)
        return data


class Answers:
    """The answers of one gateway; `tick` it once a second."""

    def __init__(self) -> None:
        self.delivered = Delivered()
        """`delivered[outcome]`: what the sender of a single message is told."""
        self._refusals: dict[tuple[Problem, bool], bytes] = {}  # those that very many get
        self.tick()

    def tick(self) -> None:
        """A second may have passed: date the answers anew."""
        self.date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
        self.delivered.clear()
        self.delivered.date = self.date
        self._refusals.clear()

    def accepted(
        self, accepted: int, delivered: int, forwarded: int | None, *, close: bool
    ) -> bytes:
        """What the sender of an NDJSON body is told."""
        more = b"" if forwarded is None else b', "forwarded": %d' % forwarded
        body = b'{"accepted": %d, "delivered": %d%b}' % (accepted, delivered, more)
        return response(200, body, date=self.date, close=close)

    def preflight(self, headers: Headers, *, close: bool) -> bytes:
        """What a browser is told that asks whether a page may."""
        return response(204, b"", date=self.date, content_type=b"", headers=headers, close=close)

    def not_now(self, why: Problem, *, least: float, close: bool) -> bytes:
        """What who accepts an event stream is told instead of a 503: to come back after `least`
        seconds, or what `why` says, and at most twice as many, so that not all come at once."""
        said = dict(why.headers).get(b"Retry-After", b"0")
        after = max(least, int(said)) * (1 + random.random())
        return not_now(why.detail, after, date=self.date, close=close)

    def refused(
        self,
        why: Problem,
        *,
        close: bool,
        head_only: bool = False,
        more: dict[str, int] | None = None,
        shared: bool = False,
    ) -> bytes:
        """What is told instead; `more` adds members. `shared`: very many are told the same, for it
        doesn't go by what they sent."""
        shared = shared and more is None
        known = self._refusals.get((why, close)) if shared else None
        if known is None:
            known = problem(
                why.status,
                why.detail,
                date=self.date,
                headers=why.headers,
                close=close,
                head_only=head_only,
                more=more,
            )
            if shared:
                self._refusals[why, close] = known
        return known
