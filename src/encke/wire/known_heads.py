"""Heads of requests that were parsed before, recognized by their bytes.

A program that sends messages says the same with each of them, but for the user id and
the body. What llhttp has once accepted below such a request line, byte for byte, it
would accept again with the same result: so it isn't asked again. That takes a fifth of
the time of a parser which calls back for each header.

Only what can't be read in two ways is recognized: a POST of HTTP/1.1 whose target has
no character but those below, on a connection that stays open, with a Content-Length,
and wholly there. All else, whatever follows it, and everything new is llhttp's.

Invariant: at most LIMIT heads of at most LONGEST bytes are kept, in all.

Pure.
"""

import re

from .request import END, End, Event, Request

LIMIT = 256
"""Heads that are kept; the oldest makes room."""

LONGEST = 1024
"""Bytes of a head below its request line; a longer one isn't kept."""

_request_line = re.compile(rb"POST (/[A-Za-z0-9\-_.~@:/]*) HTTP/1\.1\r\n").match
_ELSEWHERE = frozenset((b"connection", b"proxy-connection", b"transfer-encoding", b"expect"))
"""Headers that say how to go on: a head with one of them isn't kept."""


class KnownHeads:
    """What the parsers of one process have seen."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[dict[bytes, bytes], int]] = {}

    def read(self, data: bytes, events: list[Event], limit: int) -> int:
        """Append the events of the known requests that `data` begins with; returns their bytes.

        A head longer than `limit` bytes isn't recognized.
        """
        at = 0
        known, size = self._known, len(data)
        while (line := _request_line(data, at)) is not None:
            start = line.end()
            end = data.find(b"\r\n\r\n", start, start + LONGEST)
            if end < 0 or end + 4 - at > limit:
                break
            head = known.get(data[start:end])
            if head is None:
                break
            headers, length = head
            body = end + 4
            after = body + length
            if after > size:
                break
            events += (Request(b"POST", line[1], headers, False), data[body:after], END)
            at = after
        return at

    def learn(self, data: bytes, events: list[Event]) -> None:
        """The parser has made `events` of what `data` begins with: three, or as many as came."""
        line = _request_line(data)
        if line is None:
            return
        match events:
            case [Request() as request, bytes() as body, End.END]:
                pass
            case _:
                return
        if not request.keep_alive or not _ELSEWHERE.isdisjoint(request.headers):
            return
        end = data.find(b"\r\n\r\n", line.end(), line.end() + LONGEST)
        if end < 0 or len(body) != request.content_length:
            return
        if len(self._known) >= LIMIT:
            del self._known[next(iter(self._known))]
        self._known[data[line.end() : end]] = request.headers, len(body)

    def __len__(self) -> int:
        return len(self._known)
