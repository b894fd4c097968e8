"""Names to addresses, without keeping the event loop: getaddrinfo in a thread.

A thread can't be ended, so one that hangs in a name server's silence goes on until the
system's resolver gives up (usually within 30 s); what it finds is dropped.
"""

import os
import socket
from collections.abc import Callable

from .loop import IN, Reactor

Address = tuple[
    socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
]
"""What socket() and connect() take."""


class Resolver:
    """One name being looked up; `found` gets its addresses, or the error. See `cancel`."""

    def __init__(
        self,
        reactor: Reactor,
        host: str,
        port: int,
        found: Callable[[list[Address] | OSError], None],
    ) -> None:
        self._reactor = reactor
        self._found: Callable[[list[Address] | OSError], None] | None = found
        self._result: list[Address] | OSError = []
        self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        reactor.add(self._done, IN, self._finished)
        if _is_number(host):
            self._look_up(host, port)
        else:
            import threading

            threading.Thread(target=self._look_up, args=(host, port), daemon=True).start()

    def cancel(self) -> None:
        """Don't call `found`."""
        self._found = None

    def _look_up(self, host: str, port: int) -> None:
        try:
            # as bytes: for a str, Python would load its tables of international names
            found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)
            self._result = [(family, address) for family, _, _, _, address in found]
        except OSError as error:
            self._result = error
        os.eventfd_write(self._done, 1)

    def _finished(self, _events: int) -> None:
        self._reactor.remove(self._done)
        os.close(self._done)
        if self._found is not None:
            self._found(self._result)


def _is_number(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False
