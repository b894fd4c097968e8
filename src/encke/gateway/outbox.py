"""The outbox: bytes on their way to clients.

What is queued during a turn is written at its end, one write a connection. A short
write or EAGAIN leaves a tail: the rest is kept here, and goes out as the client reads.
No other bytes are kept for anyone.

A tail is the pieces that were queued, and how much of the first is written. Nothing is copied for
it but short pieces, which are joined: of a large message, which has many connections waiting for
the same bytes, there is one copy.

Invariants: bytes leave in the order in which they were queued. A tail is at most
the limit plus one message: a client that has more than the limit waiting when
another message comes is too slow, and is closed, as nginx and Redis do. A sender's
answers are bounded by what was read of them instead: nothing is, while a tail waits.
All tails together are at most the total plus what a turn adds: above it those are closed that have
taken nothing for longest.
"""

import os
from collections.abc import Callable, Sequence

SHARED = 16 * 1024
"""Bytes from which on a piece is kept as it came, and counted once, however many wait for it;
shorter ones are copied."""

PIECES = 64
"""Pieces written at once."""


class _Tail:
    """What waits for a client: `pieces`, but for the first `offset` bytes; `size` is the rest."""

    __slots__ = ("offset", "pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.offset = 0
        self.size = 0


class Outbox:
    """Writes for one gateway's connections.

    `lost(fd)` is called when a connection turns out broken, `too_slow(fd)` when it has
    more waiting than `limit`, `crowded_out(fd)` when all have more waiting than `total`: each of
    them closes it. `blocked(fd)` is called when it has a tail from now on, and `written(fd)` when
    the tail is gone. `limited(fd)` says whether its tail is limited: a sender's isn't.
    """

    __slots__ = (
        "_blocked", "_crowded_out", "_holders", "_limit", "_limited", "_lost", "_too_slow",
        "_total", "_written", "bytes_out", "held", "queued", "tails", "writable",
    )  # fmt: skip

    def __init__(
        self,
        limit: int,
        total: int,
        *,
        lost: Callable[[int], None],
        too_slow: Callable[[int], None],
        crowded_out: Callable[[int], None],
        blocked: Callable[[int], None],
        written: Callable[[int], None],
        limited: Callable[[int], bool],
    ) -> None:
        self._limit = limit
        self._total = total
        self._lost = lost
        self._too_slow = too_slow
        self._crowded_out = crowded_out
        self._blocked = blocked
        self._written = written
        self._limited = limited
        self._holders: dict[int, int] = {}  # tails that have a large piece, by its identity
        self.queued: dict[int, bytes] = {}
        """By descriptor: what is written at the end of the turn."""
        self.tails: dict[int, _Tail] = {}
        """By descriptor: what the kernel didn't take. Who took nothing for longest comes first."""
        self.writable: dict[int, None] = {}
        """Descriptors that take bytes again, who does so for longest first: `go_on` writes."""
        self.held = 0
        """Bytes of memory that wait for slow clients."""
        self.bytes_out = 0

    def queue(self, fd: int, data: bytes) -> bool:
        """Write `data` to `fd` at the end of the turn; False if the client was too slow."""
        queued = self.queued.get(fd)
        if queued is not None:
            if len(queued) <= self._limit:
                self.queued[fd] = queued + data
                return True
            del self.queued[fd]
            if not self._write(fd, (queued,)):
                return False
        tail = self.tails.get(fd)
        if tail is None:
            self.queued[fd] = data
            return True
        return self._append(fd, tail, (data,))

    def write(self, fd: int, pieces: Sequence[bytes]) -> bool:
        """Write `pieces` to `fd` now; False if the client was too slow, or is gone. Large ones
        aren't copied if they have to wait."""
        self.flush_one(fd)
        tail = self.tails.get(fd)
        return self._write(fd, pieces) if tail is None else self._append(fd, tail, pieces)

    def finish(self, fd: int, data: bytes) -> None:
        """Queue the last bytes for `fd`, however much waits for it."""
        tail = self.tails.get(fd)
        if tail is not None:
            self._extend(tail, (data,))
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
                self._keep(fd, (data,), written)
        self.bytes_out += bytes_out
        if self.held > self._total:
            self.fit()

    def flush_one(self, fd: int) -> None:
        """Write now what was queued for `fd`."""
        data = self.queued.pop(fd, None)
        if data is not None:
            self._write(fd, (data,))

    def go_on(self, room: int) -> None:
        """Write tails of those that are `writable`, by turns, about `room` bytes."""
        writable, end = self.writable, self.bytes_out + room
        while writable and self.bytes_out < end:
            fd = next(iter(writable))
            del writable[fd]
            self.write_tail(fd)

    def write_tail(self, fd: int) -> None:
        """`fd` takes bytes again: write of its tail what it takes."""
        tail = self.tails.get(fd)
        if tail is None:
            return
        pieces = tail.pieces
        try:
            first = memoryview(pieces[0])[tail.offset :]
            written = os.writev(fd, [first, *pieces[1:PIECES]])
        except BlockingIOError:
            return
        except OSError:
            self._lost(fd)
            return
        self.bytes_out += written
        del self.tails[fd]
        if written < tail.size:
            self.tails[fd] = tail  # behind those who have taken something earlier
            self._advance(tail, written)
        else:
            self._drop(pieces)
            self._written(fd)

    def fit(self) -> None:
        """Close those who have taken nothing for longest, until what waits is within the total."""
        while self.held > self._total:
            self._crowded_out(next(iter(self.tails)))

    def forget(self, fd: int) -> None:
        """`fd` is about to be closed: drop what waits for it."""
        self.queued.pop(fd, None)
        self.writable.pop(fd, None)
        tail = self.tails.pop(fd, None)
        if tail is not None:
            self._drop(tail.pieces)

    def waiting(self, fd: int) -> bool:
        """Whether anything still waits for `fd`."""
        return fd in self.queued or fd in self.tails

    def _write(self, fd: int, pieces: Sequence[bytes]) -> bool:
        """Write `pieces` now (there's no tail); False if `fd` is broken."""
        try:
            written = os.writev(fd, pieces)
        except BlockingIOError:
            written = 0
        except OSError:
            self._lost(fd)
            return False
        self.bytes_out += written
        if written < sum(map(len, pieces)):
            self._keep(fd, pieces, written)
        return True

    # tails

    def _keep(self, fd: int, pieces: Sequence[bytes], written: int) -> None:
        """All but the first bytes of `pieces` waits from now on."""
        tail = self.tails[fd] = _Tail()
        self._extend(tail, pieces)
        self._advance(tail, written)
        self._blocked(fd)

    def _append(self, fd: int, tail: _Tail, pieces: Sequence[bytes]) -> bool:
        """`pieces` wait behind what waits; False if that was too much."""
        if tail.size > self._limit and self._limited(fd):
            self._too_slow(fd)
            return False
        # a sender who doesn't take the answers isn't read from: that bounds them
        self._extend(tail, pieces)
        return True

    def _extend(self, tail: _Tail, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            tail.size += len(piece)
            if tail.pieces and len(tail.pieces[-1]) + len(piece) < SHARED:
                tail.pieces[-1] += piece
                self.held += len(piece)
                continue
            tail.pieces.append(piece)
            if len(piece) < SHARED:
                self.held += len(piece)
                continue
            holders = self._holders.get(id(piece), 0)
            self._holders[id(piece)] = holders + 1
            if not holders:
                self.held += len(piece)

    def _advance(self, tail: _Tail, written: int) -> None:
        """So many bytes of a tail, but not all of it, are written."""
        tail.size -= written
        offset, pieces, whole = tail.offset + written, tail.pieces, 0
        while offset >= len(pieces[whole]):
            offset -= len(pieces[whole])
            whole += 1
        tail.offset = offset
        if whole:
            self._drop(pieces[:whole])
            del pieces[:whole]

    def _drop(self, pieces: Sequence[bytes]) -> None:
        """These wait no more."""
        for piece in pieces:
            if len(piece) < SHARED:
                self.held -= len(piece)
                continue
            holders = self._holders.pop(id(piece)) - 1
            if holders:
                self._holders[id(piece)] = holders
            else:
                self.held -= len(piece)
