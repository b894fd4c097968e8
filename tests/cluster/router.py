"""A router that the other nodes talk to: it knows who is here, and remembers what came."""

import time
from array import array
from collections.abc import Sequence

from msgspec.structs import replace
from reactor.turning import run_until

from encke.cluster.options import NatsOptions
from encke.cluster.peers import Peers
from encke.reactor.loop import Reactor
from encke.scoreboard import NatsLink
from encke.wire.message import Verb
from encke.wire.nodes import Figures
from encke.wire.subjects import Subjects

from .member import OPTIONS


class Router:
    """One node, without gateways. A login's handle is whatever a test says."""

    def __init__(
        self,
        reactor: Reactor,
        options: NatsOptions,
        *ids: bytes,
        timeout: float = 5.0,
        patience: float = 5.0,
        body_limit: int = 100_000,
    ) -> None:
        self.reactor = reactor
        self.here: dict[bytes, set[int]] = {id: {0} for id in ids}
        self.changes: dict[bytes, bool] = {}
        self.reached: set[int] = set()
        self.came: list[tuple[Verb, bytes, bytes]] = []
        self.batches = 0
        self.answers: dict[int, int | None] = {}
        self.owed: list[tuple[int, bytes]] = []
        self.answers_at_once = True
        self.remote_bytes = 0
        reactor.after_turn(self.end_turn)
        self.peers = Peers(
            reactor, options, Subjects(), self,
            timeout=timeout, patience=patience, body_limit=body_limit,
        )  # fmt: skip
        self.peers.start()

    def end_turn(self) -> None:
        changes, self.changes = self.changes, {}
        self.peers.changed(changes)

    # what Peers calls

    def interest(self) -> list[bytes]:
        return list(self.here)

    def is_here(self, id: bytes) -> bool:
        return id in self.here

    def reachable(self, gateway: int, handles: "array[int]") -> None:
        self.reached.update(handles)

    def remote(self, verb: Verb, ids: list[bytes], messages: list[bytes], ticket: int = 0) -> None:
        self.batches += 1
        self.came += [(verb, id, message) for id, message in zip(ids, messages, strict=True)]
        if ticket:
            self.owed.append((ticket, ids[0]))
            if self.answers_at_once:
                self.answer()

    def answered(self, ticket: int, count: int | None) -> None:
        assert ticket not in self.answers
        self.answers[ticket] = count

    def figures(self) -> Figures:
        return Figures(len(self.here), sum(map(len, self.here.values())))

    # what tests do

    def login(self, id: bytes, handle: int) -> None:
        if id not in self.here:
            self.changes[id] = True
        self.here.setdefault(id, set()).add(handle)
        self.peers.logged_in(1, array("Q", [handle]))

    def logout(self, id: bytes) -> None:
        del self.here[id]
        self.changes[id] = False

    def answer(self, count: int | None = -1) -> None:
        """Answer all that is owed: by default with the connections that are here."""
        owed, self.owed = self.owed, []
        for ticket, id in owed:
            here = len(self.here.get(id, ()))
            self.peers.answer(ticket, here if count == -1 else count)

    def turn(self) -> None:
        """End a turn that a test began between two of the loop's."""
        self.end_turn()
        self.peers.link.write()

    def until_ready(self) -> None:
        run_until(self.reactor, lambda: self.peers.link.state is NatsLink.READY)

    def until_away(self) -> None:
        run_until(self.reactor, lambda: self.peers.link.state is not NatsLink.READY)

    def until_reached(self, *handles: int) -> None:
        run_until(self.reactor, lambda: self.reached.issuperset(handles))

    def until_came(self, count: int) -> Sequence[tuple[Verb, bytes, bytes]]:
        run_until(self.reactor, lambda: len(self.came) >= count)
        return self.came

    def until_knows(self, count: int) -> None:
        """Wait until there are so many others."""
        run_until(self.reactor, lambda: len(self.peers.members) == count)

    def until_settled(self) -> None:
        """Wait until it must have heard of everyone."""
        settled = self.peers._pulse.settled_at
        run_until(self.reactor, lambda: self.peers._pulse._ticked > settled)


class Joined:
    """Makes a node with users that is joined through a server; waits until it's READY, unless
    told otherwise."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.routers: list[Router] = []

    def __call__(
        self,
        url: str,
        *ids: bytes,
        ready: bool = True,
        name: str = "test",
        timeout: float = 5.0,
        patience: float = 5.0,
        silence: float = OPTIONS.silence,
    ) -> Router:
        options = replace(OPTIONS, servers=url, name=name, silence=silence)
        router = Router(self._reactor, options, *ids, timeout=timeout, patience=patience)
        self.routers.append(router)
        if ready:
            router.until_ready()
        return router


def ticks(reactor: Reactor, seconds: float) -> None:
    """Let the loop turn for a while, in which nothing may happen."""
    until = time.monotonic() + seconds
    run_until(reactor, lambda: time.monotonic() >= until)
