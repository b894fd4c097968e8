"""What routing a message costs: far (frames, ledger, hub) and near (in the gateway's process).

    python docs/adr/measurements/hub_and_ledger.py [ROUNDS]

10,000 users with a connection each, messages of 100 bytes in batches of 1, 16 and 256. Far is all
that the router does for a batch: SEND read, DELIVER written, ACK read, RESULT written; without the
sockets. Near is a sender's batch until the sender is told. Microseconds of CPU a message, the best
of ROUNDS.
"""

import gc
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from encke.gateway.near import NearRouter
from encke.gateway.port import Delivery, Target
from encke.hub.hub import Hub
from encke.ids import handle
from encke.reactor.loop import Reactor
from encke.router.ledger import Ledger
from encke.settings import Settings
from encke.wire.link import Ack, Deliver, Frame, FrameReader, Login, Send
from encke.wire.message import SEND, Messages, Status

USERS = 10_000
MESSAGE = b"x" * 100
A, B = 1, 2


def best(run: Callable[[], object], messages: int, rounds: int) -> float:
    """Microseconds of CPU a message."""
    turns = max(1, 20_000 // messages)
    figures = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(turns):
            run()
        figures.append((time.process_time() - began) / turns / messages)
    return min(figures) * 1e6


def some_ids(count: int) -> list[bytes]:
    """Those of a batch."""
    return [b"%d" % (number * 37 % USERS) for number in range(count)]


def far(batch: int, rounds: int) -> float:
    """Gateway A sends to users of gateway B."""
    ledger = Ledger(Hub(time.monotonic), ack_timeout=5.0)
    out: list[bytes] = []
    for gateway in (A, B):
        ledger.linked(gateway, lambda frame: out.append(frame.encode()))
    handles = array("Q", [handle(B, 0, slot) for slot in range(USERS)])
    ledger.received(B, [Login(handles, [b"%d" % number for number in range(USERS)])])
    out.clear()
    sends = Send(7, Messages(some_ids(batch), [MESSAGE] * batch), SEND).encode()
    from_a, from_b, at_b = FrameReader(), FrameReader(), FrameReader()
    received_a, received_b = partial(ledger.received, A), partial(ledger.received, B)
    received_a(from_a.feed(sends))
    (deliver,) = at_b.feed(out.pop())
    assert isinstance(deliver, Deliver)
    number = deliver.batch

    def once() -> None:
        nonlocal number
        received_b(from_b.feed(acks[number]))
        number += 1
        received_a(from_a.feed(sends))
        out.clear()

    turns = max(1, 20_000 // batch) * rounds + 1
    frames: list[Frame] = [Ack(number + turn, array("I")) for turn in range(turns)]
    acks = {number + turn: frame.encode() for turn, frame in enumerate(frames)}
    return best(once, batch, rounds)


class Nobody:
    """A sender, and the holder of no connections."""

    lane = 7

    def settled(self, messages: int, delivered: int, forwarded: int = 0) -> None: ...

    def failed(self, messages: int, why: Status | None = None) -> None: ...

    def logged_in(self, handles: Iterable[int]) -> None: ...

    def logins(self) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def deliver(self, messages: Messages, targets: Sequence[Target]) -> Delivery:
        return len(targets), {}

    def resume(self) -> None: ...


def near(batch: int, rounds: int) -> float:
    """A sender of the only gateway sends to its users; each batch has a turn of its own."""
    router = NearRouter(Reactor(), Settings())
    nobody = router.holder = Nobody()
    for slot in range(USERS):
        router.login(handle(A, 0, slot), b"%d" % slot)
    ids, data = some_ids(batch), [MESSAGE] * batch

    def once() -> None:
        router.send(nobody, Messages(ids, data))
        router.flush()

    return best(once, batch, rounds)


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else 5
    gc.disable()
    print("batch    far   near")
    for batch in (1, 16, 256):
        print(f"{batch:5} {far(batch, rounds):6.2f} {near(batch, rounds):6.2f}")


if __name__ == "__main__":
    main()
