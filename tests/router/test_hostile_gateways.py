"""Gateways that are stopped, or hardly go on: they cost nobody but their own users."""

from array import array
from collections import deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from encke.hub.limits import BEHIND, BEHIND_MOST, PUBLISHED_UNDER_WAY, UNDER_WAY
from encke.ids import handle
from encke.router.ledger import TICK
from encke.wire.link import Ack, Alive, Deliver, Hello, Login, Result, Synced
from encke.wire.message import Status, Verb

from .ledgers import Books, Outgoing, send

GATEWAYS = A, B, C = 1, 2, 3
PATIENCE = round(5 / TICK)


def three() -> Books:
    """Three gateways, each with a user of its own, and a connection of `all`."""
    books = Books()
    for gateway in GATEWAYS:
        books.linked(Hello(gateway))
        handles = array("Q", [handle(gateway, 0, slot) for slot in (0, 1)])
        books.received(gateway, Login(handles, [b"%d" % gateway, b"all"]))
        books.received(gateway, Synced())
    return books


def wait(books: Books, seconds: float) -> Outgoing:
    """What comes while time passes, but for the router's words that it lives."""
    outgoing: Outgoing = []
    for _ in range(round(seconds / TICK)):
        outgoing += books.tick()
    return [(gateway, frame) for gateway, frame in outgoing if not isinstance(frame, Alive)]


def delivers(outgoing: Outgoing) -> dict[int, Deliver]:
    return {gateway: frame for gateway, frame in outgoing if isinstance(frame, Deliver)}


def results(outgoing: Outgoing) -> list[Result]:
    return [frame for _, frame in outgoing if isinstance(frame, Result)]


def ack(deliver: Deliver) -> Ack:
    return Ack(deliver.batch, array("I"))


def wants_lookup(books: Books) -> bool:
    return books.hub.wants_lookup


UNACKNOWLEDGED = bytes([Status.UNACKNOWLEDGED])


def test_what_is_not_acknowledged_is_answered_in_time() -> None:
    """503, also if others have got it; what comes later is told so at once."""
    books = three()
    first = delivers(books.received(A, send(1, [b"all"], [b"m"])))
    books.received(A, ack(first[A]))
    books.received(C, ack(first[C]))
    assert wait(books, 5) == []
    assert wait(books, 0.2) == [(A, Result(1, array("I", [2]), UNACKNOWLEDGED))]
    assert books.received(A, send(2, [b"2"], [b"m"])) == [
        (A, Result(2, array("I", [0]), UNACKNOWLEDGED))
    ]


def test_who_goes_on_is_sent_to_again() -> None:
    """A late ACK changes no answer, and is the end of the trouble."""
    books = three()
    late = delivers(books.received(A, send(1, [b"2"], [b"m"])))[B]
    assert results(wait(books, 6)) == [Result(1, array("I", [0]), UNACKNOWLEDGED)]
    assert books.received(B, ack(late)) == []
    assert wait(books, 0.2) == []
    assert not books.hub.behind
    again = delivers(books.received(A, send(2, [b"2"], [b"m"])))[B]
    assert books.received(B, ack(again)) == [(A, Result(2, array("I", [1])))]


def test_nobody_waits_for_a_gateway_that_is_behind() -> None:
    """As much as may be under way is on its way to it: messages to others pass."""
    books = three()
    handles = array("Q", [handle(B, 0, slot) for slot in range(2, UNDER_WAY + 2)])
    books.received(B, Login(handles, [b"crowd"] * UNDER_WAY))
    assert delivers(books.received(A, send(1, [b"crowd"], [b"m"])))
    assert books.received(A, send(2, [b"3"], [b"m"])) == []  # it isn't known to be hung yet
    outgoing = wait(books, BEHIND + 0.2)
    assert [gateway for gateway, _ in outgoing] == [C]
    assert delivers(books.received(A, send(3, [b"3"], [b"m"]))).keys() == {C}
    for batch in range(BEHIND_MOST // UNDER_WAY - 1):
        assert delivers(books.received(A, send(4 + batch, [b"crowd"], [b"m"]))).keys() == {B}
    assert results(books.received(A, send(99, [b"crowd"], [b"m"])))[0].statuses == UNACKNOWLEDGED


def test_publications_pass_a_gateway_that_is_behind() -> None:
    """As many as may be under way are on their way to it."""
    books = three()
    count = PUBLISHED_UNDER_WAY
    ids = [b"2"] * count
    books.received(A, send(1, ids, [b"m"] * count, Verb.PUBLISH, lanes=range(count)))
    while wants_lookup(books):
        books.found([([], False)] * len(books.hub.lookup()))
    books.received(A, send(2, [b"3"], [b"m"], Verb.PUBLISH, lanes=[7777]))
    assert not wants_lookup(books)
    wait(books, BEHIND + 0.2)
    assert wants_lookup(books)
    assert delivers(books.found([([b"2"], False)] * len(books.hub.lookup()))).keys() == {B, C}


def test_a_large_publication_passes_a_gateway_that_is_behind() -> None:
    """Its pages go a gateway at a time: who is behind isn't waited for."""
    books = three()
    for gateway in GATEWAYS:
        slots = range(2, 102)
        handles = array("Q", [handle(gateway, 0, slot) for slot in slots])
        books.received(gateway, Login(handles, [b"f%d" % slot for slot in slots]))
    followers = [b"f%d" % slot for slot in range(2, 102)]
    books.received(A, send(1, [b"1"], [b"m"], Verb.PUBLISH, lanes=[1]))
    books.hub.lookup()
    page = delivers(books.found([(followers, True)]))
    got = []
    for _ in GATEWAYS:
        ((gateway, deliver),) = page.items()
        got.append(gateway)
        outgoing = wait(books, 1.5) if gateway == B else books.received(gateway, ack(deliver))
        page = delivers(outgoing)
    assert sorted(got) == [A, B, C]
    books.hub.lookup()
    last = books.found([([], False)])
    assert results(last + wait(books, 6))[0].statuses == UNACKNOWLEDGED


def test_a_gateway_dies_with_late_ones_in_hand() -> None:
    """Nothing is counted twice, and its successor starts anew."""
    books = three()
    books.received(A, send(1, [b"2", b"all"], [b"m"] * 2))
    assert len(results(wait(books, 6))) == 1
    assert books.gone(B) == []
    books.linked(Hello(B))
    books.received(B, Login(array("Q", [handle(B, 0, 7)]), [b"2"]))
    deliver = delivers(books.received(C, send(1, [b"2"], [b"m"])))[B]
    assert books.received(B, ack(deliver)) == [(C, Result(1, array("I", [1])))]


@dataclass
class Sent:
    """A SEND: whether anything of it was given up, and what it counts."""

    batch: int
    counts: list[int]
    open: int = 0
    failed: set[int] = field(default_factory=set)


@dataclass
class Delivery:
    """What a gateway has in hand."""

    frame: Deliver
    sent: Sent
    indexes: list[int]
    age: int = 0
    late: bool = False


class HungMachine(RuleBasedStateMachine):
    """Gateways acknowledge or don't, time passes; every SEND has its RESULT in time."""

    ids = st.lists(st.sampled_from([b"1", b"2", b"3", b"all", b"nobody"]), min_size=1, max_size=4)

    def __init__(self) -> None:
        super().__init__()
        self.books = three()
        self.in_hand: dict[int, deque[Delivery]] = {gateway: deque() for gateway in GATEWAYS}
        self.sent = 0

    def check(self, outgoing: Outgoing, concluded: list[Sent]) -> None:
        """`outgoing` has the Results of those of `concluded` of which nothing is open."""
        expected = [
            (
                A,
                Result(
                    sent.batch,
                    array("I", sent.counts),
                    bytes(
                        Status.UNACKNOWLEDGED * (index in sent.failed)
                        for index in range(len(sent.counts))
                    )
                    if sent.failed
                    else b"",
                ),
            )
            for sent in concluded
            if not sent.open
        ]
        found = [(to, frame) for to, frame in outgoing if isinstance(frame, Result)]
        assert sorted(found, key=repr) == sorted(expected, key=repr)

    @rule(ids=ids)
    def send(self, ids: list[bytes]) -> None:
        self.sent += 1
        sent = Sent(self.sent, [0] * len(ids))
        outgoing = self.books.received(A, send(self.sent, ids, [b"m"] * len(ids)))
        there = delivers(outgoing)
        for gateway in GATEWAYS:
            own = [index for index, id in enumerate(ids) if id in (b"all", b"%d" % gateway)]
            if not own:
                assert gateway not in there
            elif any(it.late for it in self.in_hand[gateway]):
                assert gateway not in there
                sent.failed |= set(own)
            else:
                self.in_hand[gateway].append(Delivery(there[gateway], sent, own))
                sent.open += 1
                for index in own:
                    sent.counts[index] += 1
        self.check(outgoing, [sent])

    @rule(gateway=st.sampled_from(GATEWAYS), missed=st.booleans())
    def acknowledge(self, gateway: int, missed: bool) -> None:
        if not self.in_hand[gateway]:
            return
        delivery = self.in_hand[gateway].popleft()
        exceptions = [0, 1] if missed else []
        outgoing = self.books.received(gateway, Ack(delivery.frame.batch, array("I", exceptions)))
        if delivery.late:
            assert outgoing == []
            return
        delivery.sent.open -= 1
        delivery.sent.counts[delivery.indexes[0]] -= missed
        self.check(outgoing, [delivery.sent])

    @rule(ticks=st.integers(1, 2 * PATIENCE))
    def wait(self, ticks: int) -> None:
        for _ in range(ticks):
            outgoing = self.books.tick()
            concluded: dict[int, Sent] = {}
            for in_hand in self.in_hand.values():
                for delivery in in_hand:
                    delivery.age += 1
                    if delivery.age > PATIENCE and not delivery.late:
                        delivery.late = True
                        delivery.sent.open -= 1
                        delivery.sent.failed |= set(delivery.indexes)
                        for index in delivery.indexes:
                            delivery.sent.counts[index] -= 1
                        concluded[delivery.sent.batch] = delivery.sent
            self.check(outgoing, list(concluded.values()))

    @rule(gateway=st.sampled_from([B, C]))
    def die(self, gateway: int) -> None:
        """And come back, with the same users."""
        outgoing = self.books.gone(gateway)
        concluded: dict[int, Sent] = {}
        for delivery in self.in_hand[gateway]:
            if not delivery.late:
                delivery.sent.open -= 1
                for index in delivery.indexes:
                    delivery.sent.counts[index] -= 1
                concluded[delivery.sent.batch] = delivery.sent
        self.in_hand[gateway].clear()
        self.check(outgoing, list(concluded.values()))
        self.books.linked(Hello(gateway))
        handles = array("Q", [handle(gateway, 0, slot) for slot in (0, 1)])
        self.books.received(gateway, Login(handles, [b"%d" % gateway, b"all"]))
        self.books.received(gateway, Synced())

    @precondition(lambda self: not any(self.in_hand.values()))
    @rule()
    def nothing_is_left(self) -> None:
        """Once all have written everything, nobody is behind, and nothing counts."""
        self.books.tick()
        self.books.tick()
        hub = self.books.hub
        assert self.books.under_way == 0
        assert (hub._under_way, hub._published, hub._large) == (0, 0, 0)
        assert not hub.behind

    def teardown(self) -> None:
        for gateway, in_hand in self.in_hand.items():
            while in_hand:
                self.acknowledge(gateway, missed=False)
        self.nothing_is_left()


HungMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestHungGateways = HungMachine.TestCase
