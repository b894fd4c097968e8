"""Whose requests are taken: web pages of other origins are kept out.

A browser sends what any page tells it to, also to this machine, where nobody else gets in. So who
asks for no key looks at what browsers say, and pages can't change:

- **Host**, the name in the URL. A page may have a name that suddenly means this machine (DNS
  rebinding), and is of the same origin then: a foreign name is refused.
- **Sec-Fetch-Site**, how the page that asks stands to what it asks for (Fetch Metadata).
- **Origin**, the page's, for browsers that don't say that; they leave it away where a page only
  fetches what it can't look into.

Programs send neither of the last two. A page of the same origin may do everything, and so may
pages whose origin is allowed.

A head is looked at where it's first parsed: one that's known (http.KnownHeads) was taken before.

Pure.
"""

import re
from collections.abc import Collection, Mapping

from .request import Refusal

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))
"""Methods that change nothing (RFC 9110, 9.2.1)."""

_OWN = frozenset((b"same-origin", b"none"))
"""Sec-Fetch-Site of a page of this origin, and of the user's own wish: typed, or a bookmark."""

_is_loopback = re.compile(rb"127(?:\.\d{1,3}){3}|\[::1\]").fullmatch

FOREIGN_HOST = Refusal(
    403,
    "The name in Host isn't this machine's. Allow it with --allow-host NAME; or let the proxy in "
    "front send 'Host: localhost'; or set an API key.",
)
FOREIGN_PAGE = Refusal(
    403,
    "A page of another origin asked for this. If you followed a link, type the address instead; "
    "else allow its origin with --allow-origin (* lets pages listen only), or set an API key.",
)


class CrossOriginProtection:
    """What is allowed besides."""

    def __init__(
        self, *, hosts: Collection[str] | None, origins: Collection[str], pages: bool = True
    ) -> None:
        """`hosts`: names that Host may have besides a loopback address, in small letters; None:
        any. `origins` whose pages may do everything; ``*``: all pages may read. Without `pages`
        what a page may do isn't looked at: for who asks for a key."""
        self._hosts = None if hosts is None else frozenset(host.encode() for host in hosts)
        self._origins = frozenset(origin.encode() for origin in origins if origin != "*")
        self._all = "*" in origins
        self._pages = pages

    def refusal(
        self, method: bytes, host: bytes | None, headers: Mapping[bytes, bytes]
    ) -> Refusal | None:
        """Why a request isn't taken, if it isn't. `host` names whom it's for; None: nobody."""
        if self._hosts is not None and host is not None:
            name = _without_port(host.lower())
            if name not in self._hosts and not _is_loopback(name):
                return FOREIGN_HOST
        if self._pages and not self._may(method, host, headers):
            return FOREIGN_PAGE
        return None

    def _may(self, method: bytes, host: bytes | None, headers: Mapping[bytes, bytes]) -> bool:
        """In the order of Go's net/http.CrossOriginProtection, but for reading too."""
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin is None and site is None:
            return True
        if origin in self._origins or (self._all and method in _SAFE):
            return True
        if site is not None:
            return site in _OWN
        assert origin is not None
        return host is not None and origin.partition(b"://")[2] == host.lower() != b""


def _without_port(host: bytes) -> bytes:
    name, colon, port = host.rpartition(b":")
    return host if not colon or port.endswith(b"]") else name
