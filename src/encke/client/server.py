"""Where a server is, and how one asks it: the URL, and the heads of requests."""

import functools
import math
import socket
import ssl
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ..errors import BadSettings
from ..version import VERSION

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_CONTROL = "http://127.0.0.1:8001"

KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]
"""A silent stream may be an idle user or a dead network: TCP asks after 30 s, and again every 10 s;
after three questions without answer the stream is lost."""

PORTS = {"http": 80, "https": 443}


class Field(NamedTuple):
    """A line of a request's head."""

    name: str
    value: str


class Server:
    """A port of a server's, as ``http://HOST:PORT``; a path before Encke's own is kept.

    `api_key` is shown with each request that `head` is told to show it with.

    Raises BadSettings if `url` is none, or `api_key` can't be in a head.
    """

    def __init__(self, url: str, api_key: str = "") -> None:
        wrong = BadSettings(f"{url!r} is no address of a server; write http://HOST:PORT.")
        try:
            parsed = urlsplit(url)
            port, host = parsed.port, parsed.hostname or ""
            host.encode("ascii" if ":" in host else "idna")
        except (ValueError, TypeError, AttributeError):
            raise wrong from None
        rest = parsed.query or parsed.fragment or parsed.username or parsed.password
        if parsed.scheme not in PORTS or not host or rest or not url.isprintable() or " " in url:
            raise wrong
        given: object = api_key
        if not isinstance(given, str) or not given.isascii() or not given.isprintable():
            raise BadSettings("The API key has a character that can't be in a head of HTTP.")
        self.host = host if ":" in host else host.encode("idna").decode()
        self.port = port or PORTS[parsed.scheme]
        self.tls = parsed.scheme == "https"
        self._path = quote(parsed.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        place = f"[{self.host}]" if ":" in self.host else self.host
        if port and port != PORTS[parsed.scheme]:
            place += f":{port}"
        self.url = f"{parsed.scheme}://{place}{self._path}"
        """In its canonical form, without a slash at its end."""
        self._usual = f" HTTP/1.1\r\nHost: {place}\r\nUser-Agent: encke/{VERSION}\r\n"
        self._key = f"Authorization: Bearer {api_key}\r\n" if api_key else ""

    def head(self, method: str, path: str, *fields: Field, key: bool = True) -> bytes:
        """The head of a request; its body, if it has one, follows."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
        shown = self._key if key else ""
        return f"{method} {self._path}{path}{self._usual}{shown}{lines}\r\n".encode("ascii")


def seconds(timeout: float) -> float:
    """`timeout`; raises BadSettings if it's none."""
    given: object = timeout
    if not isinstance(given, int | float) or not 0 < given < math.inf:
        raise BadSettings(f"timeout is a number of seconds, not {timeout!r}.")
    return timeout


@functools.cache
def tls() -> ssl.SSLContext:
    """What all connections check certificates by: made once, for reading them takes 20 ms."""
    return ssl.create_default_context()
