"""Whom each stream asks for what: numbered addresses, or a file with one a line.

`Addresses` are made before the fork.
"""

import mmap
from array import array
from collections.abc import Iterator, Sequence
from typing import Protocol

from ...errors import BadSettings
from ..load.target import PLACE, Target, target


class Addresses(Protocol):
    """The address of each stream, from 0 on."""

    def __len__(self) -> int: ...

    def __getitem__(self, stream: int) -> tuple[Target, bytes]:
        """The server, and the path to ask for."""


# Some servers decide by these which kind of stream they make; nchan refuses without.
HEADERS = ("User-Agent: encke-flood", "Accept: text/event-stream, */*", "TE: chunked")


def headers(more: Sequence[str] = ()) -> bytes:
    """Lines of a request, `more` among them. Raises BadSettings."""
    for line in more:
        name, colon, _ = line.partition(":")
        if not colon or not name or not line.isprintable() or not line.isascii():
            raise BadSettings(f"--header {line!r}: write 'Name: value'.")
    return "".join(f"{line}\r\n" for line in (*HEADERS, *more)).encode()


def request(server: Target, path: bytes, headers: bytes) -> bytes:
    """What opens a stream."""
    return b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (path, server.host, headers)


class Numbered:
    """`url` with ids from `first` on in place of ``{}``. Raises BadSettings."""

    def __init__(self, url: str, first: int, count: int) -> None:
        self._server = target(url)
        self._before, place, self._after = self._server.path.partition(PLACE.encode())
        if not place and count > 1:
            raise BadSettings(f"{url}: write {PLACE} where the user id stands.")
        self._numbered = bool(place)
        self._first = first
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, stream: int) -> tuple[Target, bytes]:
        if not self._numbered:
            return self._server, self._before
        return self._server, b"%b%d%b" % (self._before, self._first + stream, self._after)


class Listed:
    """The first `count` addresses of `file`, or all if it's 0; empty lines are left out.

    The file stays where it is, mapped; all that is kept is where each line begins.
    Raises BadSettings, with the number of a line that is no address.
    """

    def __init__(self, file: str, count: int = 0) -> None:
        self._servers: dict[bytes, Target] = {}
        self._starts = array("Q")
        try:
            with open(file, "rb") as opened:
                self._text = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: it's empty
            reason = error.strerror if isinstance(error, OSError) else "is empty"
            raise BadSettings(f"{file}: {reason}; it takes an http:// address a line.") from None
        for number, (start, line) in enumerate(self._lines(), 1):
            if not line:
                continue
            if count and len(self._starts) == count:
                break
            host, _ = _split(line)
            if host not in self._servers:
                try:
                    self._servers[host] = target(line.decode("ascii", "replace"))
                except BadSettings as error:
                    raise BadSettings(f"{file}: line {number}: {error}") from None
            self._starts.append(start)
        if len(self._starts) < max(1, count):
            raise BadSettings(f"{file} has {len(self._starts)} addresses, fewer than asked for.")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, stream: int) -> tuple[Target, bytes]:
        start = self._starts[stream]
        end = self._text.find(b"\n", start)
        host, path = _split(self._text[start : end if end >= 0 else None].strip())
        return self._servers[host], path

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        start = 0
        for line in iter(self._text.readline, b""):
            yield start, line.strip()
            start += len(line)


def _split(url: bytes) -> tuple[bytes, bytes]:
    """(scheme and host, path) of an address."""
    scheme, found, rest = url.partition(b"://")
    host, _, path = rest.partition(b"/")
    return scheme + found + host, b"/" + path
