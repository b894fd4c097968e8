"""What the pages of other origins are told (CORS; Fetch standard, 3.3).

A browser lets a page read an answer of another origin only if the answer names the page's origin.
Before an unusual request, as one with a key or with JSON in it, it asks whether the page may: the
preflight, an OPTIONS.

Origins that are named are trusted with cookies. `*` is told as it is, which browsers take for
requests without cookies only: to name whatever origin asks instead would open every user's streams
to every page.

Pure.
"""

from collections.abc import Collection

from .response import Headers

_HEADERS = b"Authorization, Cache-Control, Content-Type, Last-Event-ID, X-Requested-With"
"""Of those that a script may set, what senders and the replacements of EventSource send."""

_MAX_AGE = b"7200"
"""Seconds for which a browser needn't ask again: as many as Chromium remembers it."""

_VARY = (b"Vary", b"Origin")
_ALLOW = b"Access-Control-Allow-Origin"
_CREDENTIALS = (b"Access-Control-Allow-Credentials", b"true")


class Cors:
    """The origins whose pages may read answers."""

    def __init__(self, origins: Collection[str]) -> None:
        """`origins` as browsers send them, or ``*``."""
        named = {origin.encode() for origin in origins if origin != "*"}
        vary: Headers = (_VARY,) if named else ()
        self._named: dict[bytes, Headers] = {
            origin: ((_ALLOW, origin), _CREDENTIALS, _VARY) for origin in named
        }
        self._others: Headers = ((_ALLOW, b"*"), *vary) if "*" in origins else vary
        self._all = "*" in origins

    def headers(self, origin: bytes | None) -> Headers:
        """Of the answer to a request whose Origin is this; None: it has none."""
        return self._others if origin is None else self._named.get(origin, self._others)

    def told(self, origin: bytes | None) -> Headers:
        """The same where no cache keeps the answer: who isn't a page needn't be told anything."""
        return () if origin is None else self.headers(origin)

    def preflight(self, origin: bytes | None, methods: bytes) -> Headers | None:
        """Of the answer to a preflight, where `methods` are answered; None: its page may do nothing
        here."""
        if origin is None or not (self._all or origin in self._named):
            return None
        return (
            *self.headers(origin),
            (b"Access-Control-Allow-Methods", methods),
            (b"Access-Control-Allow-Headers", _HEADERS),
            (b"Access-Control-Max-Age", _MAX_AGE),
        )
