"""Who wants to know whether the NATS server has processed everything: it's asked with PING.

Invariants:
- At most one PING is under way. Who asks meanwhile shares the next one, so that the server is
  asked once for very many logins.
- Each callback is called once: with True if the server has processed all that was written
  before its PING, and complained of nothing since the PONG before.

Pure.
"""

from collections.abc import Callable

Done = Callable[[bool], None]


class Flushes:
    """Those of one connection after the other."""

    def __init__(self) -> None:
        self.pinged = False
        """Whether a PING is under way; set it with one that nobody waits for."""
        self._waiting: list[Done] = []  # to share the next PING
        self._under_way: list[Done] = []  # for the PONG
        self._complained = False  # since the last PONG

    def __len__(self) -> int:
        """How many wait for the PONG."""
        return len(self._under_way)

    def add(self, done: Done) -> None:
        """One more."""
        self._waiting.append(done)

    def due(self) -> bool:
        """Whether a PING is to be sent now; it's taken for sent then."""
        if self.pinged or not self._waiting:
            return False
        self._under_way, self._waiting = self._waiting, []
        self.pinged = True
        return True

    def complained(self) -> None:
        """The server did, of something that was written since the last PING, or before."""
        self._complained = True

    def pong(self) -> None:
        """The PING is answered."""
        self.pinged = False
        processed, self._complained = not self._complained, False
        under_way, self._under_way = self._under_way, []
        for done in under_way:
            done(processed)

    def reset(self) -> list[Done]:
        """The connection is gone. Gives back all who wait: they are to be told False."""
        gone = [*self._under_way, *self._waiting]
        self._under_way, self._waiting = [], []
        self.pinged = self._complained = False
        return gone
