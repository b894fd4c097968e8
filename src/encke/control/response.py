"""What a handler gives back: a response, one that comes later, or what takes the request's body.

A handler on the loop never waits. What needs the friends' store gives a `Later`, which the
store's thread resolves; what reads a body of any length gives a `Body`, whose every piece is
answered by a `Later`, so that no more is read before the piece is dealt with.

Pure: the date comes from the caller.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from ..wire.response import Headers, response

NOT_STORED: Headers = ((b"Cache-Control", b"no-store"),)
"""Of what is another thing a moment later."""


class Response(msgspec.Struct, frozen=True):
    """A whole response; without a content type it has no body."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = b""
    headers: Headers = ()

    def encoded(self, *, date: bytes, close: bool, head_only: bool) -> bytes:
        """As it travels; with `head_only` (the answer to HEAD) without its body."""
        return response(
            self.status,
            self.body,
            date=date,
            content_type=self.content_type,
            headers=self.headers,
            close=close,
            head_only=head_only,
        )


class Later:
    """A response that isn't known yet. None, of a Body's piece: there's none yet, go on.

    Both `resolve` and `then` are called once, in either order, on the loop.
    """

    __slots__ = ("_resolved", "_response", "_then")

    def __init__(self) -> None:
        self._resolved = False
        self._response: Response | None = None
        self._then: Callable[[Response | None], None] | None = None

    def resolve(self, response: Response | None) -> None:
        """It is known."""
        self._resolved, self._response = True, response
        if self._then is not None:
            self._then(response)

    def then(self, callback: Callable[[Response | None], None]) -> None:
        """Call `callback` with it, now or once it's known."""
        self._then = callback
        if self._resolved:
            callback(self._response)


class Body(Protocol):
    """What takes a request's body, one piece at a time."""

    def feed(self, piece: bytes) -> Later:
        """A piece. A response ends the request before its end."""

    def finish(self) -> Later:
        """The end: here is the response."""


Outcome = Response | Later | Body
