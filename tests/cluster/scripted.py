"""A server that says what a test tells it, rightly or wrongly, on the test's own loop."""

import socket
from typing import Self

from encke.reactor.loop import GONE, IN, Reactor

INFO = b'INFO {"server_id":"x","version":"2.15.1","headers":true,"max_payload":1000} \r\n'


class Scripted:
    """Says its first line to who connects, and the next one whenever it's spoken to.

    None instead of a line: it closes.
    """

    def __init__(self, reactor: Reactor, *lines: bytes | None) -> None:
        self._reactor = reactor
        self._lines = lines
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.heard: list[bytes] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"nats://{self.address}"
        reactor.add(self._listener.fileno(), IN, self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            if each.fileno() >= 0:
                self._reactor.remove(each.fileno())
                each.close()

    @property
    def connections(self) -> int:
        """How often someone connected."""
        return len(self._open)

    def _accept(self, _events: int) -> None:
        connection, _ = self._listener.accept()
        self._open.append(connection)
        rest = list(self._lines)

        def say() -> None:
            line = rest.pop(0) if rest else b""
            if line is None:
                self._reactor.remove(connection.fileno())
                connection.close()
            else:
                connection.send(line)

        def hear(_events: int) -> None:
            try:
                data = connection.recv(1 << 20)
            except OSError:
                data = b""
            if data:
                self.heard.append(data)
                say()
            else:
                self._reactor.remove(connection.fileno())
                connection.close()

        self._reactor.add(connection.fileno(), IN | GONE, hear)
        say()
