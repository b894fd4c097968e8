"""Who is here, as NATS knows it; and the logins that wait until it does.

Invariant: whoever is called reachable is. NATS has processed the SUB of each of his ids on
the connection that there is, and complained of none. If it refuses one (at its limit of
subscriptions, say), it doesn't say which, so nobody is called reachable until it takes
them all; those who were keep what they have.

Logins wait as long as their clients do (`patience`), and so don't pile up without bounds.

May import: this room, wire.subjects.
"""

import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from ..wire.subjects import Subjects
from .link import Link, State

Login = tuple[int, "array[int]"]
"""A gateway, and handles of its connections."""


class Client(Protocol):
    """The router, which knows who is here."""

    def interest(self) -> list[bytes]:
        """The ids that are here now."""

    def is_here(self, id: bytes) -> bool:
        """Whether `id` has a connection here."""

    def reachable(self, gateway: int, handles: "array[int]") -> None:
        """These logins are known to NATS."""


class Logins:
    """Those of one node."""

    def __init__(self, link: Link, subjects: Subjects, client: Client, patience: float) -> None:
        self._link = link
        self._subjects = subjects
        self._client = client
        self._patience = patience
        self._new: list[Login] = []  # of this turn
        self._waiting: deque[tuple[float, list[Login]]] = deque()  # since then
        self._refused: set[bytes] = set()  # ids of which NATS has refused one

    def __len__(self) -> int:
        """How many batches wait for a link, or for NATS to take them."""
        return len(self._waiting)

    def logged_in(self, gateway: int, handles: "array[int]") -> None:
        """These have logged in."""
        self._new.append((gateway, handles))

    def end_turn(self, changes: dict[bytes, bool]) -> None:
        """Tell NATS of the ids that have come (True) or gone (False)."""
        users, link = self._subjects.users, self._link
        come = [id for id, here in changes.items() if here]
        if len(come) < len(changes):
            gone = [id for id, here in changes.items() if not here]
            self._refused.difference_update(gone)
            link.unsubscribe(users(gone))
        if come:
            link.subscribe(users(come))
        if self._new:
            new, self._new = self._new, []
            if self._refused:  # one of them may be among these
                self._wait(come, new)
            else:
                self._flush(come, new)

    def interest(self) -> Iterator[bytes]:
        """The subjects of all who are here; see link.Owner."""
        self._refused.clear()
        user, is_here = self._subjects.user, self._client.is_here
        return (user(id) for id in self._client.interest() if is_here(id))

    def linked(self) -> None:
        """NATS has processed all that `interest` gave."""
        if not self._refused:
            waiting, self._waiting = self._waiting, deque()
            for _, logins in waiting:
                self._reach(logins)

    def beat(self) -> None:
        """Now and then, on a link that is READY: subscribe once more to what was refused."""
        if self._refused:
            ids = [id for id in self._refused if self._client.is_here(id)]
            logins = [login for _, logins in self._waiting for login in logins]
            self._refused.clear()
            self._waiting.clear()
            self._link.subscribe(self._subjects.users(ids))
            self._flush(ids, logins)

    def tick(self, now: float) -> None:
        """Forget logins whose clients have been told by now that they can't log in."""
        while self._waiting and now - self._waiting[0][0] > self._patience:
            self._waiting.popleft()

    def _flush(self, ids: list[bytes], logins: list[Login]) -> None:
        """Once NATS has processed the SUBs of `ids`, `logins` are reachable."""

        def done(processed: bool) -> None:
            if processed and not self._refused:  # maybe by the flush before this one
                self._reach(logins)
            else:
                self._wait(ids, logins)

        if not self._link.flush(done):
            self._wait(ids, logins)

    def _wait(self, ids: Iterable[bytes], logins: list[Login]) -> None:
        """Until there's a link, or NATS takes what it has refused."""
        self._waiting.append((time.monotonic(), logins))
        if self._link.state in (State.RESTORING, State.READY):
            self._refused.update(filter(self._client.is_here, ids))

    def _reach(self, logins: list[Login]) -> None:
        for gateway, handles in logins:
            self._client.reachable(gateway, handles)
