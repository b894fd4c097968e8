"""A router that does everything when the test says so."""

from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

from encke.gateway.port import Holder, Sender
from encke.wire.message import SEND, Messages, Order, Status


class Sent(NamedTuple):
    """What a sender has given to the router."""

    sender: Sender
    messages: Messages
    order: Order


class Router:
    """A port.Router; see the module's head."""

    available, users, counts = True, 0, dict[int, int]()

    def __init__(self) -> None:
        self.full = False
        self.asked: list[tuple[int, bytes]] = []
        """Logins that wait for `say_yes`."""
        self.sent: deque[Sent] = deque()
        """What waits for `answer` or `fail`."""
        self.here: dict[int, bytes] = {}
        """Who is logged in."""
        self.reached: set[int] = set()
        """Everyone who has ever been."""
        self.got: dict[int, list[bytes]] = defaultdict(list)
        """By handle: the messages of which the gateway said that they were delivered."""
        self.told: dict[bytes, int] = {}
        """By message: the connections that it was delivered to."""
        self.holder: Holder

    @property
    def under_way(self) -> int:
        return sum(it.messages.size for it in self.sent)

    def login(self, handle: int, id: bytes) -> None:
        self.asked.append((handle, id))

    def logout(self, handle: int) -> None:
        self.asked = [it for it in self.asked if it[0] != handle]
        self.here.pop(handle, None)

    def send(self, sender: Sender, messages: Messages, order: Order = SEND) -> None:
        self.sent.append(Sent(sender, messages, order))

    def flush(self) -> None:
        pass

    def tick(self) -> None:
        pass

    def say_yes(self) -> None:
        """All who have asked are reachable."""
        asked, self.asked = self.asked, []
        self.here |= dict(asked)
        self.reached |= dict(asked).keys()
        self.holder.logged_in([handle for handle, _ in asked])

    def say_no(self) -> None:
        """Those who have asked have too many connections."""
        asked, self.asked = self.asked, []
        self.holder.refused([handle for handle, _ in asked])

    def deliver(
        self,
        id: bytes,
        data: bytes,
        publishers: tuple[bytes, ...] = (),
        then: Callable[[int], None] = lambda _: None,
    ) -> int:
        """A message for everyone logged in as `id`; to how many it was delivered, of which `then`
        is told too, once it's written to all of them."""
        handles = [handle for handle, user in self.here.items() if user == id]

        def written(delivered: int, missed: dict[int, int]) -> None:
            assert delivered + sum(missed.values()) == len(handles)
            self.told[data] = delivered
            then(delivered)

        delivered, missed, late = self.holder.deliver(Messages([id], [data], publishers), [handles])
        here = [handle for handle in handles if handle in self.here]  # others were too slow
        for handle in here:
            self.got[handle].append(data)
        if late is None:
            assert delivered == len(here)
            written(delivered, missed)
        else:
            late.wait(delivered, missed, written)
        return delivered

    def answer(self) -> None:
        """Deliver what was sent first, and tell its sender."""
        sender, messages, _ = self.sent.popleft()
        counts: list[int] = []

        def told(count: int) -> None:
            counts.append(count)
            if len(counts) == len(messages):
                sender.settled(len(messages), sum(counts))

        for id, data in zip(messages.to, messages.data, strict=True):
            self.deliver(id, data, then=told)

    def fail(self, why: Status | None = None) -> None:
        """The same, but it couldn't be delivered."""
        sender, messages, _ = self.sent.popleft()
        sender.failed(len(messages), why)

    def resume(self) -> None:
        """There's room again."""
        self.full = False
        self.holder.resume()
