"""The poller: which of the connections is ready.

An epoll of its own for the connections, nested in the event loop's epoll: the loop
sees one descriptor, however many connections there are.

Why nested. epoll_wait on the outer one returns a handful of descriptors (listener,
link, lifeline, this poller), so these are never lost in a crowd of ready clients:
each turn serves the link and the listener once and at most MAX_READY connections.
What nesting would spoil is a shared listener: EPOLLEXCLUSIVE wakes one waiter only
where a process waits in that very epoll; through a nested one every gateway wakes up
for each connection (with 53 of them: 8 times the CPU time, docs/adr/0002). So the
listener stands in the outer epoll, and only connections in here.

Level-triggered. A turn reads at most once from a ready socket; what is left makes it
ready again in the next turn, so nobody re-arms anything. A connection that is reported goes to the
end of the kernel's list: `poll(0, n)` tells of n others next time, even if the first are ready all
the time. Edge-triggered would need a read until EAGAIN, which is one more system call a request,
and a list of those that weren't finished.

Who arms what. A row is registered once, at accept, for what nearly all are waited for: bytes,
or the peer's end. What else is to be reported says `life.interest`, and `Connections.rearm`
alone hands it on to `want`. Nothing is kept here of a connection that is reported as most are.

Who dribbles. A request's head comes in one piece, or in two; an attacker sends it byte by
byte, from thousands of connections, and each byte would wake the gateway up, which costs
ten times what the byte does. So a connection that is still in the middle of a head after
another read is deferred: it stands in a second epoll, which nobody waits on and which is
looked at now and then, a few of them at a time. Once its head is complete, it's recalled.

Who sends much. It would be ready all the time, and first in the list: so it stands in a third
epoll, which is a descriptor of the loop by itself (`heavy_fileno`), see heavy.

fd reuse. Closing a descriptor removes it from the epoll by itself, because nobody
else holds a duplicate of it: gateways never fork. Within one turn a report can be
stale: serving descriptor 9 may close descriptor 10, which was reported as well. New
connections are accepted in another callback of the loop, so 10 can't have a new
owner before this turn's reports are used up; its row is FREE, and skipped.
"""

import select

from .life import READ

MAX_READY = 512
"""Connections served a turn. At 20 us each a turn is then about 10 ms at the most, the
longest that a link frame or an accept waits."""

POLLED = 16
"""Of these, how many are asked for at once: if what they send was much, the turn ends."""


class Poller:
    """The epolls over the connections of one gateway."""

    __slots__ = ("_apart", "_epoll", "_heavy", "_patient", "_unusual", "deferred", "heavy", "poll")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._patient = select.epoll()
        self._heavy = select.epoll()
        self._unusual: dict[int, int] = {}
        self.poll = self._epoll.poll
        """`poll(0, n)`: descriptors with their events, at most n; never waits."""
        self.deferred: set[int] = set()
        """Descriptors of which `deferred_ready` tells, and not `poll`."""
        self.heavy: set[int] = set()
        """Descriptors of which `heavy_ready` tells; none is among the deferred too."""
        self._apart = ((self.deferred, self._patient), (self.heavy, self._heavy))

    def fileno(self) -> int:
        """The descriptor that is readable when a connection is ready."""
        return self._epoll.fileno()

    def heavy_fileno(self) -> int:
        """The one that is readable when a heavy connection is."""
        return self._heavy.fileno()

    def deferred_ready(self, at_most: int) -> list[tuple[int, int]]:
        """Those of the deferred that are ready, at most so many; who waits longest comes first."""
        return self._patient.poll(0, at_most)

    def heavy_ready(self, at_most: int) -> list[tuple[int, int]]:
        """The same of the heavy."""
        return self._heavy.poll(0, at_most)

    def add(self, fd: int) -> None:
        """Report `fd` when it can be read from, or its peer is gone."""
        self._epoll.register(fd, READ)

    def want(self, fd: int, events: int) -> None:
        """Report `events` of `fd` from now on; that it's broken is reported anyway."""
        if events == self._unusual.get(fd, READ):
            return
        if events == READ:
            del self._unusual[fd]
        else:
            self._unusual[fd] = events
        self._where(fd).modify(fd, events)

    def defer(self, fd: int) -> None:
        """Report `fd` by `deferred_ready` only."""
        self._move(fd, self.deferred)

    def weigh(self, fd: int) -> None:
        """Report `fd` by `heavy_ready` only."""
        self._move(fd, self.heavy)

    def recall(self, fd: int) -> None:
        """Report `fd` by `poll` again."""
        self._move(fd, None)

    def forget(self, fd: int) -> None:
        """`fd` is about to be closed."""
        self.deferred.discard(fd)
        self.heavy.discard(fd)
        self._unusual.pop(fd, None)

    def _where(self, fd: int) -> select.epoll:
        for members, epoll in self._apart:
            if fd in members:
                return epoll
        return self._epoll

    def _move(self, fd: int, to: set[int] | None) -> None:
        """Move it from the epoll that it's in to that of `to`, of which it's a member then."""
        before = self._where(fd)
        self.deferred.discard(fd)
        self.heavy.discard(fd)
        if to is not None:
            to.add(fd)
        after = self._where(fd)
        if after is not before:
            before.unregister(fd)
            after.register(fd, self._unusual.get(fd, READ))
