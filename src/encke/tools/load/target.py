"""Where requests go: an http:// address, taken apart; and where they come from."""

import socket
from typing import NamedTuple

from ...errors import BadSettings

PLACE = "{}"
"""What stands for the user id in an address."""


_HOSTS = 250


class Target(NamedTuple):
    """A server, and what to ask it for."""

    family: int
    address: tuple[str, int]
    host: bytes
    """As in the Host header."""
    path: bytes

    @property
    def loopback(self) -> bool:
        """Whether it's on this machine, and has any number of source addresses (IPv4)."""
        return self.family == socket.AF_INET and self.address[0].startswith("127.")


def target(url: str) -> Target:
    """`url` taken apart, its host looked up. Raises BadSettings, with what to correct."""
    scheme, found, rest = url.partition("://")
    host, _, path = rest.partition("/")
    if not found or scheme.lower() != "http" or not host or "@" in host:
        raise BadSettings(f"{url}: write http://HOST:PORT/PATH.")
    if not all(33 <= ord(character) < 127 for character in rest):
        raise BadSettings(f"{url}: has characters that an address can't have; write them as %XX.")
    name, port = _host_and_port(host, url)
    try:
        family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise BadSettings(f"{url}: {name} is not known ({error}).") from None
    where = (str(address[0]), int(address[1]))
    return Target(int(family), where, host.encode(), f"/{path}".encode())


def _host_and_port(host: str, url: str) -> tuple[str, int]:
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, "80"
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise BadSettings(f"{url}: {port!r} is no port; write http://HOST:PORT/PATH.")
    return name.removeprefix("[").removesuffix("]"), int(port)


def source(run: int, number: int) -> str:
    """The `number`-th loopback address from which run `run` connects.

    127.x.y.z, with x and y made from `run` (a process id), so that two runs seldom share
    one, nor find the ports of the run before still waiting for their end (TIME_WAIT).
    """
    network = run + number // _HOSTS
    return f"127.{1 + network // 256 % 254}.{network % 256}.{1 + number % _HOSTS}"
