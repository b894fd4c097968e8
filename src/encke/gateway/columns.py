"""The columns: all that is kept of a connection while it sleeps.

A connection's row is numbered by its file descriptor: descriptors are small and
dense, the kernel hands out the lowest free one, and epoll reports them, so neither a
slot allocator nor a map from descriptor to slot is needed. A row is 25 bytes::

    handle     Q  8   its 64-bit name (ids): gateway | generation | this row
    user       q  8   >= 0: the user id, if it is a plain decimal number;
                      < 0: -1 - key into `_texts`, where other ids are
    count      I  4   messages written to it, where its protocol numbers them
    deadline   I  4   tick at which its state has lasted long enough; 0: never
    state      B  1   where in its life it is (life); a stream's says of which kind it is too

A million rows are 25 MB. The columns grow by whole steps as descriptors do, and are
bounded by the open-files limit. The generation in `handle` outlives the connection:
it goes up each time the row is taken, so a handle of old never matches.

Pure.
"""

from array import array

from .. import ids
from .life import AFTER, NEVER, Event

_TAKEN, _CLOSED = AFTER[Event.TAKEN], AFTER[Event.CLOSED]
_STEP = 1024
_MAX_DECIMAL = 18
"""Digits of a decimal id that fit 63 bits."""


class Columns:
    """The rows of all connections of one gateway."""

    __slots__ = (
        "_first", "_free_keys", "_texts", "count", "deadline", "handle", "state", "user",
    )  # fmt: skip

    def __init__(self, gateway: int) -> None:
        self._first = ids.handle(gateway, 0, 0)
        self.handle = array("Q")
        self.user = array("q")
        self.count = array("I")
        self.deadline = array("I")
        self.state = bytearray()
        self._texts: list[bytes] = []
        self._free_keys: list[int] = []

    def __len__(self) -> int:
        """Number of rows, taken or free."""
        return len(self.state)

    def take(self, fd: int) -> None:
        """A new connection has descriptor `fd`: its row starts its next generation."""
        if fd >= len(self.state):
            self._grow(fd)
        after = _TAKEN[self.state[fd]]
        assert after != NEVER, "it isn't free"
        self.state[fd] = after
        handle = self.handle[fd]
        generation = ids.generation_of(handle) + 1 & ids.GENERATION_MASK
        self.handle[fd] = self._first | generation << ids.GENERATION_SHIFT | fd
        self.count[fd] = 0

    def free(self, fd: int) -> None:
        """The connection of row `fd` is gone."""
        after = _CLOSED[self.state[fd]]
        assert after != NEVER, "it's free"
        self.state[fd] = after
        self.deadline[fd] = 0
        user = self.user[fd]
        if user < 0:
            self._texts[-1 - user] = b""
            self._free_keys.append(-1 - user)
            self.user[fd] = 0

    def set_user(self, fd: int, id: bytes) -> None:
        """Keep the user id of row `fd`."""
        if len(id) <= _MAX_DECIMAL and id.isdigit() and (id[0] != 48 or len(id) == 1):
            self.user[fd] = int(id)
            return
        if self._free_keys:
            key = self._free_keys.pop()
            self._texts[key] = id
        else:
            key = len(self._texts)
            self._texts.append(id)
        self.user[fd] = -1 - key

    def get_user(self, fd: int) -> bytes:
        """The user id of row `fd`."""
        user = self.user[fd]
        return b"%d" % user if user >= 0 else self._texts[-1 - user]

    def _grow(self, fd: int) -> None:
        rows = (fd // _STEP + 1) * _STEP - len(self.state)
        for column in (self.handle, self.user, self.count, self.deadline):
            column.frombytes(bytes(column.itemsize * rows))
        self.state.extend(bytes(rows))
