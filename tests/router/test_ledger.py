"""The ledger: which frames lead to which, whoever dies meanwhile."""

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from encke import ids
from encke.ids import handle
from encke.wire.link import (
    Ack,
    Deliver,
    Frame,
    Hello,
    LoggedIn,
    Login,
    Logout,
    Ready,
    Result,
    Synced,
)

from .ledgers import Books, Outgoing, send

A, B, C = 1, 2, 3
A1, B1, B2, C1 = handle(A, 1, 7), handle(B, 1, 7), handle(B, 1, 8), handle(C, 1, 7)


def linked(*gateways: int, clock: Callable[[], float] = lambda: 0.0) -> Books:
    """The books of a router that is ready, with these gateways."""
    books = Books(clock=clock)
    for gateway in gateways:
        books.linked(Hello(gateway))
        assert books.received(gateway, Synced()) == [(gateway, Ready())]
    return books


def log_in(books: Books, **users: int) -> None:
    """Log the connections in, each under the id that names it."""
    for id, one in users.items():
        frame = Login(array("Q", [one]), [id.encode()])
        gateway = one >> ids.GATEWAY_SHIFT
        assert books.received(gateway, frame) == [(gateway, LoggedIn(array("Q", [one])))]


def delivers(outgoing: Outgoing) -> dict[int, Deliver]:
    """The Delivers, all of which `outgoing` must be, by gateway."""
    found = {gateway: frame for gateway, frame in outgoing if isinstance(frame, Deliver)}
    assert len(found) == len(outgoing)
    return found


def result(gateway: int, batch: int, *counts: int) -> Outgoing:
    return [(gateway, Result(batch, array("I", counts)))]


def ack(deliver: Deliver, *missed: int) -> Ack:
    return Ack(deliver.batch, array("I", missed))


def under_way(books: Books) -> int:
    """What the books keep of messages."""
    return books.under_way


def test_a_message_comes_back_as_its_result() -> None:
    """A SEND becomes one DELIVER a gateway, and once all are acknowledged one RESULT."""
    books = linked(A, B)
    log_in(books, a=A1, b=B1)
    log_in(books, a=B2)
    sent = delivers(books.received(A, send(7, [b"a", b"x", b"b"], [b"0", b"1", b"2"])))
    assert sent[A].messages.data == [b"0"]
    assert sent[A].handles == array("Q", [A1])
    assert sent[B].messages.data == [b"0", b"2"]
    assert sent[B].counts == array("I", [1, 1])
    assert sent[B].handles == array("Q", [B2, B1])
    assert books.received(B, ack(sent[B])) == []
    assert books.received(A, ack(sent[A])) == result(A, 7, 2, 0, 1)
    assert under_way(books) == 0


def test_nobody_is_answered_at_once() -> None:
    """What goes to nobody has its RESULT without waiting."""
    books = linked(A)
    assert books.received(A, send(7, [b"x", b"y"], [b"", b""])) == result(A, 7, 0, 0)
    assert books.received(A, send(8, [], [])) == result(A, 8)


def test_what_was_missed_is_not_counted() -> None:
    """A RESULT counts what was written: what an ACK names as missed is taken off."""
    books = linked(A, B)
    log_in(books, a=B1, b=B2)
    log_in(books, b=B1)
    sent = delivers(books.received(A, send(1, [b"x", b"a", b"b"], [b"", b"", b""])))
    assert books.received(B, ack(sent[B], 1, 2, 0, 1)) == result(A, 1, 0, 0, 0)


def test_a_dead_gateway_delivered_nothing() -> None:
    """The share of a gateway that dies before its ACK is taken off, and not waited for."""
    books = linked(A, B, C)
    log_in(books, a=B1)
    log_in(books, a=C1)
    sent = delivers(books.received(A, send(1, [b"a"], [b"m"])))
    assert books.gone(B) == []
    assert books.received(C, ack(sent[C])) == result(A, 1, 1)
    sent = delivers(books.received(A, send(2, [b"a"], [b"m"])))
    assert sent.keys() == {C}
    assert books.gone(C) == result(A, 2, 0)
    assert books.received(A, send(3, [b"a"], [b"m"])) == result(A, 3, 0)


def test_a_dead_sender_gets_no_result() -> None:
    """Nothing is said to a gateway that died, and nothing of it is kept."""
    books = linked(A, B)
    log_in(books, b=B1)
    sent = delivers(books.received(A, send(1, [b"b"], [b"m"])))
    assert books.gone(A) == []
    assert books.received(B, ack(sent[B])) == []
    assert under_way(books) == 0


def test_an_ack_counts_once() -> None:
    """An ACK of no open batch is ignored."""
    books = linked(A, B)
    log_in(books, b=B1)
    sent = delivers(books.received(A, send(1, [b"b"], [b"m"])))
    assert books.received(A, ack(sent[B])) == []  # not its own
    assert books.received(B, Ack(sent[B].batch + 1, array("I"))) == []
    assert books.received(B, ack(sent[B])) == result(A, 1, 1)
    assert books.received(B, ack(sent[B])) == []


def test_ready_once_everyone_has_synced() -> None:
    """No gateway is told READY before all that lived have logged their users in, or died."""
    books = Books([A, B, C])
    assert not books.ledger.ready
    books.linked(Hello(A))
    assert books.received(A, Synced()) == []
    books.linked(Hello(B))
    assert books.received(B, Synced()) == []
    assert set(books.ledger.missing) == {C}
    new = 4
    books.linked(Hello(new))
    assert books.received(new, Synced()) == []
    assert books.gone(C) == [(A, Ready()), (B, Ready()), (new, Ready())]
    assert books.ledger.ready


def test_a_gateway_that_died_waiting_is_not_told() -> None:
    """READY goes only to those that still live."""
    books = Books([A, B])
    for gateway in (A, B):
        books.linked(Hello(gateway))
    assert books.received(A, Synced()) == []
    assert books.gone(A) == []
    assert books.received(B, Synced()) == [(B, Ready())]


def test_logout() -> None:
    """Who logged out gets no more messages."""
    books = linked(A)
    log_in(books, a=A1)
    assert books.received(A, Logout(array("Q", [A1]))) == []
    assert books.received(A, send(1, [b"a"], [b"m"])) == result(A, 1, 0)


@pytest.mark.parametrize(
    "frame", [Hello(9), Ready(), LoggedIn(array("Q", [A1])), Result(1, array("I"))]
)
def test_frames_of_a_router_are_ignored(frame: Frame) -> None:
    """A frame that only a router sends leads to nothing."""
    assert linked(A).received(A, frame) == []


@dataclass
class Sent:
    """A Send, as the model sees it: what its Result must say once `open` is empty."""

    gateway: int
    batch: int
    counts: list[int]
    open: set[int] = field(default_factory=set)  # gateways


@dataclass
class Delivery:
    """A Deliver that its gateway hasn't acknowledged: (message of `sent`, count) for each."""

    frame: Deliver
    sent: Sent
    shares: list[tuple[int, int]]


class LedgerMachine(RuleBasedStateMachine):
    """Gateways come, log in, send, acknowledge and die in any order.

    The model knows of each SEND which gateways still owe an ACK, so it can tell when
    exactly its RESULT must come, and with which counts.
    """

    some_ids = st.lists(st.sampled_from([b"1", b"2", b"3", b"nobody"]), max_size=5)
    places = st.integers(0, 1000)

    def __init__(self) -> None:
        super().__init__()
        self.alive: set[int] = set()
        self.missing: set[int] = set()
        self.waiting: set[int] = set()
        self.told: set[int] = set()
        self.users: dict[int, bytes] = {}
        self.deliveries: dict[int, list[Delivery]] = {}
        self.numbers = Counter[str]()

    @initialize(expected=st.sets(st.integers(1, 3)))
    def start(self, expected: set[int]) -> None:
        self.books = Books(expected)
        self.missing = set(expected)
        self.numbers["gateway"] = 3

    def pick(self, place: int) -> int:
        return sorted(self.alive)[place % len(self.alive)]

    def check(self, outgoing: Outgoing, settled: list[Sent]) -> None:
        """`outgoing` is exactly the Results of `settled`, and the Readys that are due."""
        results = [
            (sent.gateway, Result(sent.batch, array("I", sent.counts)))
            for sent in settled
            if not sent.open and sent.gateway in self.alive
        ]
        due = set() if self.missing else self.waiting
        readys: Outgoing = [(gateway, Ready()) for gateway in due]
        self.told |= due
        self.waiting -= due
        assert sorted(outgoing, key=repr) == sorted([*results, *readys], key=repr)

    @precondition(lambda self: len(self.alive) < 5)
    @rule(old=st.booleans())
    def link(self, old: bool) -> None:
        """A gateway is linked: a new one, or one that lived before the router did."""
        unlinked = sorted(self.missing - self.alive)
        if old and unlinked:
            gateway = unlinked[0]
        else:
            self.numbers["gateway"] += 1
            gateway = self.numbers["gateway"]
        self.alive.add(gateway)
        self.deliveries[gateway] = []
        self.books.linked(Hello(gateway))

    @precondition(lambda self: self.alive - self.waiting - self.told)
    @rule(place=places)
    def sync(self, place: int) -> None:
        """A gateway has logged in all its users of old."""
        silent = sorted(self.alive - self.waiting - self.told)
        gateway = silent[place % len(silent)]
        self.missing.discard(gateway)
        self.waiting.add(gateway)
        self.check(self.books.received(gateway, Synced()), [])

    @precondition(lambda self: self.alive)
    @rule(place=places, new=some_ids)
    def log_in(self, place: int, new: list[bytes]) -> None:
        """Connections of one gateway log in."""
        gateway = self.pick(place)
        handles = array("Q")
        for id in new:
            if id != b"nobody":
                self.numbers["slot"] += 1
                handles.append(handle(gateway, 0, self.numbers["slot"]))
                self.users[handles[-1]] = id
        frame = Login(handles, [id for id in new if id != b"nobody"])
        assert self.books.received(gateway, frame) == [(gateway, LoggedIn(handles))]

    @precondition(lambda self: self.users)
    @rule(place=places)
    def log_out(self, place: int) -> None:
        """A connection is gone."""
        one = sorted(self.users)[place % len(self.users)]
        del self.users[one]
        frame = Logout(array("Q", [one]))
        assert self.books.received(one >> ids.GATEWAY_SHIFT, frame) == []

    @precondition(lambda self: self.alive)
    @rule(place=places, to=some_ids)
    def send(self, place: int, to: list[bytes]) -> None:
        """A gateway sends: each concerned gateway gets one Deliver."""
        gateway = self.pick(place)
        self.numbers["batch"] += 1
        messages = [b"%d of %d" % (k, self.numbers["batch"]) for k in range(len(to))]
        sent = Sent(gateway, self.numbers["batch"], [0] * len(to))
        outgoing = self.books.received(gateway, send(sent.batch, to, messages))
        expected = Counter(
            (one >> ids.GATEWAY_SHIFT, index, one)
            for index, id in enumerate(to)
            for one, user in self.users.items()
            if user == id
        )
        if not expected:
            self.check(outgoing, [sent])
            return
        got = Counter[tuple[int, int, int]]()
        for target, frame in delivers(outgoing).items():
            shares = [
                (messages.index(m), n)
                for m, n in zip(frame.messages.data, frame.counts, strict=True)
            ]
            handles = iter(frame.handles)
            for index, count in shares:
                sent.counts[index] += count
                got.update((target, index, next(handles)) for _ in range(count))
            sent.open.add(target)
            self.deliveries[target].append(Delivery(frame, sent, shares))
        assert got == expected

    @precondition(lambda self: any(self.deliveries.values()))
    @rule(place=places, missed=st.lists(st.integers(0, 3), max_size=5))
    def acknowledge(self, place: int, missed: list[int]) -> None:
        """A gateway acknowledges any of its batches, perhaps with misses."""
        busy = sorted(gateway for gateway, open in self.deliveries.items() if open)
        gateway = busy[place % len(busy)]
        delivery = self.deliveries[gateway].pop(place % len(self.deliveries[gateway]))
        names = array("I")
        for k, ((index, count), wanted) in enumerate(zip(delivery.shares, missed, strict=False)):
            if amount := min(count, wanted):
                names.extend((k, amount))
                delivery.sent.counts[index] -= amount
        delivery.sent.open.discard(gateway)
        frame = Ack(delivery.frame.batch, names)
        self.check(self.books.received(gateway, frame), [delivery.sent])

    @precondition(lambda self: self.alive)
    @rule(place=places)
    def die(self, place: int) -> None:
        """A gateway dies, at whichever moment."""
        self.end(self.pick(place))

    @precondition(lambda self: self.missing - self.alive)
    @rule()
    def die_before_being_linked(self) -> None:
        """A gateway that lived when the router started never comes."""
        gateway = min(self.missing - self.alive)
        self.missing.discard(gateway)
        self.check(self.books.gone(gateway), [])

    def end(self, gateway: int) -> None:
        self.alive.discard(gateway)
        self.missing.discard(gateway)
        self.waiting.discard(gateway)
        self.users = {
            one: id for one, id in self.users.items() if one >> ids.GATEWAY_SHIFT != gateway
        }
        settled = []
        for delivery in self.deliveries.pop(gateway):
            for index, count in delivery.shares:
                delivery.sent.counts[index] -= count
            delivery.sent.open.discard(gateway)
            settled.append(delivery.sent)
        self.check(self.books.gone(gateway), settled)

    @invariant()
    def ready_when_complete(self) -> None:
        """The map is complete once nobody's logins are awaited."""
        if hasattr(self, "books"):
            assert set(self.books.ledger.missing) == self.missing
            assert self.books.ledger.ready == (not self.missing)

    @invariant()
    def only_what_is_under_way_is_kept(self) -> None:
        """As many deliveries are kept as are open."""
        if hasattr(self, "books"):
            assert under_way(self.books) == sum(map(len, self.deliveries.values()))

    def teardown(self) -> None:
        """Once all gateways are gone, nothing is left."""
        for gateway in list(self.alive):
            self.end(gateway)
        if hasattr(self, "books"):
            assert not self.books.linked_gateways
            assert len(self.books.map) == 0


LedgerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLedger = LedgerMachine.TestCase
