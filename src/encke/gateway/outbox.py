"""The outbox: bytes on their way to clients.

What is queued during a turn is written at its end, one write a connection. A short
write or EAGAIN leaves a tail: the rest is kept here, and goes out as the client reads.
No other bytes are kept for anyone.

Invariants: bytes leave in the order in which they were queued. A tail is at most
the limit plus one message: a client that has more than the limit waiting when
another message comes is too slow, and is closed, as nginx and Redis do. A sender's
answers are bounded by what was read of them instead: nothing is, while a tail waits.
"""

import os
from collections.abc import Callable


class Outbox:
    """Writes for one gateway's connections.

    `lost(fd)` is called when a connection turns out broken, `too_slow(fd)` when it has
    more waiting than `limit`, `blocked(fd)` when it has a tail from now on, and `written(fd)` when
    the tail is gone. `limited(fd)` says whether its tail is limited: a sender's isn't.
    """

    __slots__ = (
        "_blocked", "_limit", "_limited", "_lost", "_too_slow", "_written",
        "bytes_out", "queued", "tails",
    )  # fmt: skip

    def __init__(
        self,
        limit: int,
        *,
        lost: Callable[[int], None],
        too_slow: Callable[[int], None],
        blocked: Callable[[int], None],
        written: Callable[[int], None],
        limited: Callable[[int], bool],
    ) -> None:
        self._limit = limit
        self._lost = lost
        self._too_slow = too_slow
        self._blocked = blocked
        self._written = written
        self._limited = limited
        self.queued: dict[int, bytes] = {}
        """By descriptor: what is written at the end of the turn."""
        self.tails: dict[int, bytes] = {}
        """By descriptor: what the kernel didn't take."""
        self.bytes_out = 0

    def queue(self, fd: int, data: bytes) -> bool:
        """Write `data` to `fd` at the end of the turn; False if the client was too slow."""
        queued = self.queued.get(fd)
        if queued is not None:
            if len(queued) <= self._limit:
                self.queued[fd] = queued + data
                return True
            del self.queued[fd]
            if not self._write(fd, queued):
                return False
        tail = self.tails.get(fd)
        if tail is None:
            self.queued[fd] = data
        elif len(tail) <= self._limit or not self._limited(fd):
            # a sender who doesn't take the answers isn't read from: that bounds them
            self.tails[fd] = tail + data
        else:
            self._too_slow(fd)
            return False
        return True

    def finish(self, fd: int, data: bytes) -> None:
        """Queue the last bytes for `fd`, however much waits for it."""
        if fd in self.tails:
            self.tails[fd] += data
        else:
            self.queued[fd] = self.queued.get(fd, b"") + data

    def flush(self) -> None:
        """Write what was queued."""
        queued, self.queued = self.queued, {}
        write = os.write  # as _write, without a call a connection
        bytes_out = 0
        for fd, data in queued.items():
            try:
                written = write(fd, data)
            except BlockingIOError:
                written = 0
            except OSError:
                self._lost(fd)
                continue
            bytes_out += written
            if written < len(data):
                self._keep(fd, data[written:])
        self.bytes_out += bytes_out

    def flush_one(self, fd: int) -> None:
        """Write now what was queued for `fd`."""
        data = self.queued.pop(fd, None)
        if data is not None:
            self._write(fd, data)

    def writable(self, fd: int) -> None:
        """`fd` takes bytes again: write of its tail what it takes."""
        tail = self.tails.get(fd)
        if tail is None:
            return
        try:
            written = os.write(fd, tail)
        except BlockingIOError:
            return
        except OSError:
            self._lost(fd)
            return
        self.bytes_out += written
        if written < len(tail):
            self.tails[fd] = tail[written:]
        else:
            del self.tails[fd]
            self._written(fd)

    def forget(self, fd: int) -> None:
        """`fd` is about to be closed: drop what waits for it."""
        self.queued.pop(fd, None)
        self.tails.pop(fd, None)

    def waiting(self, fd: int) -> bool:
        """Whether anything still waits for `fd`."""
        return fd in self.queued or fd in self.tails

    @property
    def tail_bytes(self) -> int:
        """Bytes that wait for slow clients."""
        return sum(map(len, self.tails.values()))

    def _write(self, fd: int, data: bytes) -> bool:
        """Write `data` now (there's no tail); False if `fd` is broken."""
        try:
            written = os.write(fd, data)
        except BlockingIOError:
            written = 0
        except OSError:
            self._lost(fd)
            return False
        self.bytes_out += written
        if written < len(data):
            self._keep(fd, data[written:])
        return True

    def _keep(self, fd: int, rest: bytes) -> None:
        self.tails[fd] = rest
        self._blocked(fd)
