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
ready again in the next turn, so nobody re-arms anything and one loud client can't
starve the others. Edge-triggered would need a read until EAGAIN, which is one more
system call a request, and a list of those that weren't finished.

Who arms what. A row is registered once, at accept, for what nearly all are waited for: bytes,
or the peer's end. What else is to be reported says `life.interest`, and `Connections.rearm`
alone hands it on to `want`; of who is reported as all others are, nothing is kept here.

Who dribbles. A request's head comes in one piece, or in two; an attacker sends it byte by
byte, from thousands of connections, and each byte would wake the gateway up, which costs
ten times what the byte does. So a connection that is still in the middle of a head after
another read is deferred: it stands in a second epoll, which nobody waits on and which is
looked at now and then, a few of them at a time. Once its head is complete, it's recalled.

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


class Poller:
    """An epoll over the connections of one gateway."""

    __slots__ = ("_epoll", "_patient", "_unusual", "deferred", "poll")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._patient = select.epoll()
        self._unusual: dict[int, int] = {}
        self.poll = self._epoll.poll
        """`poll(0, MAX_READY)`: descriptors with their events; never waits."""
        self.deferred: set[int] = set()
        """Descriptors of which `poll` says nothing."""

    def fileno(self) -> int:
        """The descriptor that is readable when a connection is ready."""
        return self._epoll.fileno()

    def deferred_ready(self, at_most: int) -> list[tuple[int, int]]:
        """Those of the deferred that are ready, at most so many; who waits longest comes first."""
        return self._patient.poll(0, at_most)

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
        (self._patient if fd in self.deferred else self._epoll).modify(fd, events)

    def defer(self, fd: int) -> None:
        """Report `fd` by `deferred_ready` only."""
        if fd not in self.deferred:
            self.deferred.add(fd)
            self._epoll.unregister(fd)
            self._patient.register(fd, self._unusual.get(fd, READ))

    def recall(self, fd: int) -> None:
        """Report `fd` by `poll` again, if it's deferred."""
        if fd in self.deferred:
            self.deferred.discard(fd)
            self._patient.unregister(fd)
            self._epoll.register(fd, self._unusual.get(fd, READ))

    def forget(self, fd: int) -> None:
        """`fd` is about to be closed."""
        self.deferred.discard(fd)
        self._unusual.pop(fd, None)
