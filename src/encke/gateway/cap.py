"""The cap: what happens once there are as many connections as may be.

As long as another gateway of the node has room, this one leaves newcomers to it. When none has, a
reserve of RESERVE descriptors is used, so that nobody stands at the door without a word:

- Who sends is served, as ever.
- Who asks for a stream gets one as long as there are fewer than the capacity; else is told to come
  back later (`refusals.FULL`), and goes.
- Once the reserve is used up too, each newcomer takes the place of another of those who came into
  it, of who hasn't finished a request for longest; but nobody goes in the tick in which they came,
  or have finished one, except who has been told to, and one a tick. Until then newcomers wait at
  the door. If all in the reserve are busy, one of all others goes, in the order of `_GIVE_WAY`.

So there are never more streams than the capacity, and never more connections than that and the
reserve; and who sends several times a second isn't kept out by those who come again and again.

Pure, but for `close`.
"""

from collections.abc import Callable, Iterable

from .columns import Columns
from .life import BODY, FREE, HEAD, IDLE, LINGERING, LOGGING_IN, NEW, STREAM, WAITING

RESERVE = 64
"""Connections beyond the capacity; as many descriptors are kept for them (RESERVED_FILES)."""

_GIVE_WAY = (IDLE, LINGERING, NEW, HEAD, BODY)
"""Who goes first: who is between two requests, or has been answered; who hasn't said anything yet,
or nothing whole."""

_NO_USE = (NEW, HEAD, BODY, LINGERING)
"""Who has said nothing whole, or won't say any more."""

_LOOKS = 32
"""So many in the same state are looked at; the one that has been in it for longest goes."""


class Cap:
    """The cap of one gateway."""

    __slots__ = (
        "_capacity", "_close", "_columns", "_exception", "_full", "_hand", "_now", "guests",
        "limit",
    )  # fmt: skip

    def __init__(
        self,
        columns: Columns,
        capacity: int,
        full: Callable[[], bool],
        close: Callable[[int], None],
    ) -> None:
        """`capacity` in connections; `full` says whether no gateway of the node has room; `close`
        closes the connection of a row."""
        self._columns = columns
        self._capacity = capacity
        self._full = full
        self._close = close
        self._hand = 0
        self.guests: dict[int, int] = {}
        """Who came into the reserve, and the tick in which they did, or have finished a request;
        whose is the longest ago is first. Some may be gone, until the next tick."""
        self.limit = capacity
        """Connections that are accepted before others have to go."""
        self._now = 0
        self._exception = 0  # the last tick in which one went too early

    def tick(self, open: int) -> None:
        """The clock ticks, where there are `open` connections."""
        self._now += 1
        for fd in [fd for fd in self.guests if not self._is_guest(fd)]:
            del self.guests[fd]
        self.look(open)

    def look(self, open: int) -> None:
        """Find out whether the reserve is to be used, where there are `open` connections."""
        spare = RESERVE if open >= self._capacity and self._full() else 0
        self.limit = self._capacity + spare

    def takes(self, open: int) -> bool:
        """Whether another may come to `open` connections."""
        return open < self.limit or (self.limit > self._capacity and self._gives_way() >= 0)

    def make_room(self, newcomer: int, open: int) -> None:
        """`newcomer` was accepted, and there are `open` now: if that's too many, another goes."""
        self.guests.pop(newcomer, None)  # its descriptor's last owner
        if open <= self._capacity:
            return
        if open > self.limit and (fd := self._gives_way(newcomer)) >= 0:
            if self.guests.get(fd) == self._now and self._columns.state[fd] != LINGERING:
                self._exception = self._now
            self._close(fd)
        self.guests[newcomer] = self._now

    def served(self, ready: Iterable[tuple[int, int]]) -> None:
        """These connections, with their events, had their turn: of the guests, who finished a
        request, and stays, is the last to go."""
        guests, states = self.guests, self._columns.state
        for fd, _ in ready:
            if fd in guests and states[fd] not in _NO_USE:
                del guests[fd]
                guests[fd] = self._now

    def admits(self, open: int, streams: int) -> bool:
        """Whether one of the `open` connections may become a stream, where there are `streams`."""
        if open <= self._capacity:
            return True
        count = self._columns.state.count
        return streams + count(LOGGING_IN) + count(WAITING) < self._capacity

    def _gives_way(self, newcomer: int = -1) -> int:
        """Who goes for the newcomer; -1: nobody."""
        states, all_busy, first = self._columns.state, True, -1
        for fd, since in self.guests.items():
            if (state := states[fd]) in _GIVE_WAY:
                if since < self._now or state == LINGERING:
                    return fd
                all_busy = False
                if first < 0:
                    first = fd
        if not all_busy:
            return first if self._exception < self._now else -1
        for state in _GIVE_WAY:
            if (fd := self._longest(state, newcomer)) >= 0:
                return fd
        return -1

    def _is_guest(self, fd: int) -> bool:
        return FREE < self._columns.state[fd] < STREAM

    def _longest(self, state: int, but: int) -> int:
        """Of some others who are in `state`, who has been for longest; -1: there is none. The next
        time others are looked at."""
        states, deadlines = self._columns.state, self._columns.deadline
        found, at = -1, self._hand
        for _ in range(_LOOKS):
            at = states.find(state, at)
            if at < 0:
                at = states.find(state)
                if at < 0:
                    break
            if at != but and (found < 0 or deadlines[at] < deadlines[found]):
                found = at
            at += 1
        self._hand = max(0, at)
        return found
