"""The two routers that a gateway may have, on a reactor, and a gateway that only takes down what
it's told."""

import socket
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from reactor.turning import run_until

from encke.errors import StoreError
from encke.friends.directory import Done, Lookup
from encke.friends.store import Page
from encke.gateway.far import FarRouter
from encke.gateway.near import NearRouter
from encke.gateway.port import Router, Target, Written
from encke.ids import handle
from encke.reactor.loop import Reactor
from encke.router.process import RouterProcess
from encke.scoreboard import ROUTER, Scoreboard
from encke.settings import Settings
from encke.wire.message import SEND, Messages, Order, Status, Verb

GATEWAY = 3
PUBLISH = Order(Verb.PUBLISH)


class Friends:
    """A directory of what a test says."""

    def __init__(self, subscribers: Mapping[bytes, Sequence[bytes]]) -> None:
        self.subscribers = subscribers
        self.away = False
        self.left = 1_000_000
        """Questions until it's lost; then one isn't answered."""

    def ask(self, lookups: list[Lookup], done: Done) -> None:
        if self.away:
            raise StoreError("It's away.")
        self.left -= 1
        done(None if self.left == -1 else [self.page(it) for it in lookups])

    def page(self, lookup: Lookup) -> Page:
        everyone = sorted(self.subscribers.get(lookup.publisher, ()))
        left = [id for id in everyone if lookup.after is None or id > lookup.after]
        return Page(left[: lookup.limit], more=len(left) > lookup.limit)

    def close(self) -> None:
        pass


class Sender:
    """Whoever sends: adds up what it's told."""

    def __init__(self, lane: int) -> None:
        self.lane = lane
        self.open = self.sent = 0
        self.delivered = 0
        self.failed_with: list[Status | None] = []

    def settled(self, messages: int, delivered: int, forwarded: int = 0) -> None:
        assert 0 < messages <= self.open
        self.open -= messages
        self.delivered += delivered

    def failed(self, messages: int, why: Status | None = None) -> None:
        assert 0 < messages <= self.open
        self.open -= messages
        self.failed_with += [why] * messages


class House:
    """A gateway's place between its connections and its router, which is near or far."""

    def __init__(
        self,
        *,
        far: bool,
        friends: Friends,
        window: int = 1 << 20,
        store: str = "sqlite",
        most: int = 0,
    ) -> None:
        """Whoever makes it has `friends` opened in place of the store."""
        self.friends = friends
        self.reactor = Reactor()
        self.directory = tempfile.TemporaryDirectory()
        settings = Settings(
            gateways=1,
            window=window,
            friends=store,
            data=self.directory.name,
            connections_per_user=most,
        )
        self.router: Router
        self.process: RouterProcess | None = None
        self.listener = socket.socket(socket.AF_UNIX)
        self.reactor.after_turn(self._end_turn)
        if far:
            path = str(Path(self.directory.name) / "router")
            self.listener.bind(path)
            self.listener.listen()
            self.listener.setblocking(False)
            board = Scoreboard()
            self.process = RouterProcess(
                settings, self.reactor, self.listener, board, board.row(ROUTER), ()
            )
            far_router = FarRouter(self.reactor, path, GATEWAY, window, patience=20)
            far_router.holder = self
            self.router = far_router
        else:
            near_router = NearRouter(self.reactor, settings)
            near_router.holder = self
            self.router = near_router
        self.here: dict[int, bytes] = {}
        self.missing: set[int] = set()
        """Handles that are gone, of which the router hasn't heard."""
        self.reached: list[int] = []
        self.turned_away: list[int] = []
        self.got: dict[int, list[bytes]] = defaultdict(list)
        self.publishers: dict[int, list[bytes]] = defaultdict(list)
        self.resumed = 0
        self.most_a_turn = self._this_turn = 0
        self.router.tick()
        self.until(lambda: self.router.available)

    def close(self) -> None:
        if self.process is not None:
            self.end_router()
            self.until(lambda: not self.router.available)
        self.listener.close()
        self.directory.cleanup()

    # the port

    def logged_in(self, handles: Iterable[int]) -> None:
        self.reached += handles

    def refused(self, handles: Iterable[int]) -> None:
        self.turned_away += handles

    def deliver(self, messages: Messages, targets: Sequence[Target]) -> Written:
        delivered = 0
        missed: dict[int, int] = {}
        assert len(messages.data) == len(targets)
        assert len(messages.publishers) in (0, len(messages.data))
        for index, target in enumerate(targets):
            each = () if target is None else (target,) if isinstance(target, int) else target
            for one in each:
                if one in self.missing or one not in self.here:
                    missed[index] = missed.get(index, 0) + 1
                    continue
                delivered += 1
                self._this_turn += 1
                self.got[one].append(messages.data[index])
                if messages.publishers:
                    self.publishers[one].append(messages.publishers[index])
        return delivered, missed, None

    def logins(self) -> Iterator[tuple[int, bytes]]:
        return iter(self.here.items())

    def resume(self) -> None:
        self.resumed += 1

    def _end_turn(self) -> None:
        self.router.flush()
        self.most_a_turn = max(self.most_a_turn, self._this_turn)
        self._this_turn = 0

    # what tests do

    def login(self, id: bytes, slot: int, generation: int = 1) -> int:
        """A connection asks to be logged in."""
        one = handle(GATEWAY, generation, slot)
        self.here[one] = id
        self.router.login(one, id)
        return one

    def logout(self, one: int) -> None:
        del self.here[one]
        self.router.logout(one)

    def send(self, sender: Sender, *pairs: tuple[bytes, bytes], order: Order = SEND) -> None:
        """`sender` sends (id, message) each, at once."""
        sender.open += len(pairs)
        sender.sent += len(pairs)
        ids, data = [id for id, _ in pairs], [message for _, message in pairs]
        self.router.send(sender, Messages(ids, data), order)

    def publish(self, sender: Sender, *pairs: tuple[bytes, bytes]) -> None:
        self.send(sender, *pairs, order=PUBLISH)

    def until(self, condition: Callable[[], bool]) -> None:
        self.reactor.again(0)  # maybe it holds already
        run_until(self.reactor, condition)

    def until_done(self, *senders: Sender) -> None:
        """Wait until all is settled or failed."""
        self.until(lambda: not any(sender.open for sender in senders))

    def quiet(self) -> None:
        """Wait until the router has taken all that it was told of logins and logouts."""
        probe = Sender(999)
        self.until(lambda: True)
        self.send(probe, (b"nobody", b""))
        self.until_done(probe)

    def end_router(self) -> None:
        """The router process goes; nobody takes its place."""
        assert self.process is not None
        for channel in list(self.process._links.values()):
            channel.close()
        self.listener.close()
