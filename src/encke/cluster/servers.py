"""The NATS servers that there are: those of the URLs we were given, and those learned since."""

import random
import re
from collections import deque
from collections.abc import Iterable

import msgspec

from ..errors import BadSettings
from ..wire.http import percent_decoded

DEFAULT_PORT = 4222

_url = re.compile(
    r"(?:(?P<scheme>[a-z]+)://)?"
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
).fullmatch
_is_number = re.compile(r"[0-9.]+|.*:.*").fullmatch


class Server(msgspec.Struct, frozen=True):
    """One server, and what it takes to log in."""

    host: str
    port: int = DEFAULT_PORT
    tls: bool = False
    """Whether to insist on TLS; without, it's the server's decision."""
    user: str = ""
    password: str = ""
    token: str = ""
    tls_name: str = ""
    """Name that its certificate must have, if it isn't the host's."""

    def __str__(self) -> str:
        """host:port, without secrets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(urls: str, *, tls: bool = False) -> list[Server]:
    """The servers of `urls`, with commas between them; `tls` is insisted on at all of them, or at
    those of tls://.

    Raises BadSettings for what is no URL of NATS; the message has no secrets in it.
    """
    servers = [_server(url.strip(), tls) for url in urls.split(",") if url.strip()]
    if not servers:
        raise BadSettings("No NATS server is named; write nats://HOST:4222.")
    return servers


def _server(url: str, tls: bool) -> Server:
    match = _url(url)
    without_secrets = re.sub(r"(://|^).*@", r"\1...@", url)
    if match is None or not 0 < int(match["port"] or DEFAULT_PORT) <= 65_535:
        raise BadSettings(
            f"{without_secrets!r} is no address of NATS; write nats://HOST:4222 or tls://HOST:4222,"
            " with USER:PASSWORD@ or TOKEN@ before HOST where needed, and %40 for an @ in them."
        )
    scheme, user, password = match["scheme"] or "nats", match["user"], match["password"]
    if scheme not in ("nats", "tls"):
        raise BadSettings(f"{without_secrets!r}: only nats:// and tls:// are supported.")
    return Server(
        host=match["host"].strip("[]"),
        port=int(match["port"] or DEFAULT_PORT),
        tls=tls or scheme == "tls",
        user=_decoded(user) if password is not None else "",
        password=_decoded(password or ""),
        token=_decoded(user or "") if password is None else "",
    )


def _decoded(part: str) -> str:
    return percent_decoded(part.encode()).decode(errors="replace")


class Pool:
    """Whom to try next: each in turn, in random order, so that nodes spread over servers."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._given = list(servers)
        random.shuffle(self._given)
        self._turn = deque(self._given)

    def __len__(self) -> int:
        return len(self._turn)

    def next(self) -> Server:
        """The one whose turn it is."""
        server = self._turn.popleft()
        self._turn.append(server)
        return server

    def learn(self, addresses: Iterable[str], current: Server) -> None:
        """Take `addresses` (host:port) for all servers of the cluster of `current`.

        They are spoken to like `current`. Those that are gone are forgotten, but for
        the ones that were given.
        """
        given = {(server.host, server.port) for server in self._given}
        learned = {_learned(address, current) for address in addresses if _url(address)}
        learned = {server for server in learned if (server.host, server.port) not in given}
        kept = [server for server in self._turn if server in learned or server in self._given]
        new = [server for server in learned if server not in kept]
        random.shuffle(new)
        self._turn = deque(kept + new)


def _learned(address: str, current: Server) -> Server:
    """The server at `address`. A certificate rarely names a bare number: it's the host's then
    by which the cluster was found."""
    match = _url(address)
    assert match is not None
    host = match["host"].strip("[]")
    return msgspec.structs.replace(
        current,
        host=host,
        port=int(match["port"] or DEFAULT_PORT),
        tls_name=(current.tls_name or current.host) if _is_number(host) else "",
    )
