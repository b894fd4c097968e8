"""Who is here, as NATS knows it; and the logins that wait until it does.

Invariant: whoever is called reachable is. NATS has processed the SUB of their id on the
connection that there is, and complained of none. If it refuses one (at its limit of
subscriptions, say), it doesn't say which, so nobody is called reachable until it takes
them all; those who were keep what they have.

Logins wait as long as their clients do (`patience`), and so don't pile up without bounds.
"""

import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator

from ..scoreboard import NatsLink
from ..wire.subjects import Subjects
from .local_router import LocalRouter
from .uplink import Uplink

_Login = tuple[int, "array[int]"]
"""A gateway, and handles of its connections."""


class Logins:
    """Those of one node."""

    def __init__(
        self, uplink: Uplink, subjects: Subjects, router: LocalRouter, patience: float
    ) -> None:
        self._uplink = uplink
        self._subjects = subjects
        self._router = router
        self._patience = patience
        self._new: list[_Login] = []  # of this turn
        self._waiting: deque[tuple[float, list[_Login]]] = deque()  # since then
        self._refused: set[bytes] = set()  # ids of which NATS has refused one

    def __len__(self) -> int:
        """How many batches wait for a link, or for NATS to take them."""
        return len(self._waiting)

    def logged_in(self, gateway: int, handles: "array[int]") -> None:
        """These have logged in."""
        self._new.append((gateway, handles))

    def end_turn(self, changes: dict[bytes, bool]) -> None:
        """Tell NATS of the ids that have come (True) or gone (False)."""
        users, uplink = self._subjects.users, self._uplink
        come = [id for id, here in changes.items() if here]
        if len(come) < len(changes):
            gone = [id for id, here in changes.items() if not here]
            self._refused.difference_update(gone)
            uplink.unsubscribe(users(gone))
        if come:
            uplink.subscribe(users(come))
        if self._new:
            new, self._new = self._new, []
            if self._refused:  # one of them may be among these
                self._wait(come, new)
            else:
                self._flush(come, new)

    def interest(self) -> Iterator[bytes]:
        """The subjects of all who are here; see owner.UplinkOwner."""
        self._refused.clear()
        user, is_here = self._subjects.user, self._router.is_here
        return (user(id) for id in self._router.interest() if is_here(id))

    def linked(self) -> None:
        """NATS has processed all that `interest` gave."""
        if not self._refused:
            waiting, self._waiting = self._waiting, deque()
            for _, logins in waiting:
                self._reach(logins)

    def beat(self) -> None:
        """Now and then, on a link that is READY: subscribe once more to what was refused."""
        if self._refused:
            ids = [id for id in self._refused if self._router.is_here(id)]
            logins = [login for _, logins in self._waiting for login in logins]
            self._refused.clear()
            self._waiting.clear()
            self._uplink.subscribe(self._subjects.users(ids))
            self._flush(ids, logins)

    def tick(self, now: float) -> None:
        """Forget logins whose clients have been told by now that they can't log in."""
        while self._waiting and now - self._waiting[0][0] > self._patience:
            self._waiting.popleft()

    def _flush(self, ids: list[bytes], logins: list[_Login]) -> None:
        """Once NATS has processed the SUBs of `ids`, `logins` are reachable."""

        def done(processed: bool) -> None:
            if processed and not self._refused:  # maybe by the flush before this one
                self._reach(logins)
            else:
                self._wait(ids, logins)

        if not self._uplink.flush(done):
            self._wait(ids, logins)

    def _wait(self, ids: Iterable[bytes], logins: list[_Login]) -> None:
        """Until there's a link, or NATS takes what it has refused."""
        self._waiting.append((time.monotonic(), logins))
        if self._uplink.state in (NatsLink.RESTORING, NatsLink.READY):
            self._refused.update(filter(self._router.is_here, ids))

    def _reach(self, logins: list[_Login]) -> None:
        for gateway, handles in logins:
            self._router.reachable(gateway, handles)
