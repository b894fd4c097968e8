"""The ledger and its hub: publications, and messages from and for other nodes."""

from array import array

import msgspec
import pytest

from encke.hub import hub
from encke.hub.limits import LATELY, PAGE_HANDLES, PAGE_ROWS, PUBLISHED_UNDER_WAY, REST
from encke.wire.link import Deliver, Hello, LoggedIn, Login, Ready, Result, Send, Synced
from encke.wire.message import Status, Verb

from .ledgers import Books, Outgoing, send
from .test_ledger import A1, B1, B2, C1, A, B, C, ack, delivers, linked, log_in, result


def publish(batch: int, *pairs: tuple[bytes, bytes], wait: bool = False, lane: int = 7) -> Send:
    ids, messages = [id for id, _ in pairs], [message for _, message in pairs]
    return send(batch, ids, messages, Verb.PUBLISH, wait=wait, lanes=[lane] * len(pairs))


@pytest.fixture
def one_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page for a single connection is none for few."""
    monkeypatch.setattr(hub, "FEW", 1)


def wants_lookup(books: Books) -> bool:
    return books.hub.wants_lookup


def test_a_publication_reaches_subscribers_and_publisher() -> None:
    """It's looked up, then delivered to everyone who is online; the RESULT counts them all."""
    books = linked(A, B, C)
    log_in(books, ada=A1, ben=B1)
    log_in(books, ben=B2, cid=C1)
    assert books.received(A, publish(5, (b"ada", b"news"))) == []
    assert wants_lookup(books)
    assert [publisher for publisher, _, _ in books.hub.lookup()] == [b"ada"]
    assert not wants_lookup(books)
    sent = delivers(books.found([([b"ben", b"offline"], False)]))
    assert sent.keys() == {A, B}
    assert sent[A].messages.publishers == sent[B].messages.publishers == [b"ada"]
    assert sent[A].messages.data == sent[B].messages.data == [b"news"]
    assert sent[A].handles == array("Q", [A1])
    assert sent[B].handles == array("Q", [B1, B2])
    assert books.received(B, ack(sent[B], 0, 1)) == []
    assert books.received(A, ack(sent[A])) == result(A, 5, 2)


def test_a_lookup_is_one_deliver_a_gateway() -> None:
    """Publications of several SENDs share a DELIVER; each SEND has its own count and RESULT."""
    books = linked(A, B, C)
    log_in(books, ben=B1, cid=B2)
    books.received(A, publish(1, (b"ada", b"1"), (b"ada", b"2")))
    books.received(C, publish(9, (b"eva", b"3")))
    books.hub.lookup()
    sent = delivers(books.found([([b"ben"], False), ([b"cid"], False), ([b"ben"], False)]))
    assert sent.keys() == {B}
    assert sent[B].messages.data == [b"1", b"2", b"3"]
    assert sent[B].messages.publishers == [b"ada", b"ada", b"eva"]
    assert sent[B].handles == array("Q", [B1, B2, B1])
    assert books.received(B, ack(sent[B], 1, 1)) == result(A, 1, 1, 0) + result(C, 9, 1)


def test_a_dead_gateway_got_no_publication() -> None:
    """What was under way to it isn't counted, whichever SEND it's of."""
    books = linked(A, B, C)
    log_in(books, ben=B1, cid=C1)
    books.received(A, publish(1, (b"ada", b"1")))
    books.received(C, publish(9, (b"eva", b"2")))
    books.hub.lookup()
    sent = delivers(books.found([([b"ben", b"cid"], False), ([b"ben"], False)]))
    assert books.gone(B) == result(C, 9, 0)
    assert books.received(C, ack(sent[C])) == result(A, 1, 1)


def test_a_sender_keeps_his_order_across_sends() -> None:
    """Also if another sender's turn, in the later SEND, comes first."""
    books = linked(A, B)
    log_in(books, ben=B1)
    books.received(A, publish(1, (b"ada", b"1"), (b"ada", b"2"), lane=7))
    pairs = [(b"eva", b"x"), (b"ada", b"3")]
    books.received(A, msgspec.structs.replace(publish(2, *pairs), lanes=array("I", [8, 7])))
    books.hub.lookup()
    books.found([([], False)])
    assert [publisher for publisher, _, _ in books.hub.lookup()] == [b"eva", b"ada", b"ada"]
    found: dict[int, list[bytes]] = {}
    for gateway, frame in books.found([([b"ben"], False)] * 3):
        assert isinstance(frame, Deliver)
        found.setdefault(gateway, []).extend(frame.messages.data)
    assert found == {B: [b"x", b"2", b"3"]}


def test_a_large_publication_is_one_result() -> None:
    """However many pages it takes, the sender is answered once, with the sum."""
    books = linked(A, B)
    log_in(books, ben=B1, cid=B2)
    books.received(A, publish(1, (b"ada", b"news")))
    books.hub.lookup()
    first = delivers(books.found([([b"ben"], True)]))
    assert books.received(B, ack(first[B])) == []  # there is another page
    books.hub.lookup()
    second = delivers(books.found([([b"cid"], False)]))
    assert books.received(B, ack(second[B])) == result(A, 1, 2)


def test_nobody_online() -> None:
    """Without anyone online it's answered as soon as it has been looked up."""
    books = linked(A)
    books.received(A, publish(1, (b"ada", b"news"), (b"ben", b"news")))
    books.hub.lookup()
    assert books.found([([b"x"], False)]) == []
    books.hub.lookup()
    assert books.found([([], False)]) == result(A, 1, 0, 0)


def test_an_unknown_audience_fails() -> None:
    """If the store is away, the sender hears which messages failed, and why."""
    books = linked(A)
    books.received(A, publish(1, (b"ada", b"1"), (b"ada", b"2")))
    books.hub.lookup()
    assert books.found([([], False)]) == []
    books.hub.lookup()
    statuses = bytes([Status.OK, Status.UNKNOWN])
    assert books.unknown(Status.UNKNOWN) == [(A, Result(1, array("I", [0, 0]), statuses))]


def test_lookups_wait_for_deliveries() -> None:
    """While many deliveries of publications are under way, no more is looked up; sends go on."""
    books = linked(A, B)
    everyone = [b"%d" % number for number in range(PUBLISHED_UNDER_WAY)]
    handles = array("Q", [B1 + number for number in range(PUBLISHED_UNDER_WAY)])
    books.received(B, Login(handles, everyone))
    books.received(A, publish(1, (b"ada", b"1"), (b"ada", b"2")))
    books.hub.lookup()
    sent = delivers(books.found([(everyone, False)]))
    assert not wants_lookup(books)
    assert delivers(books.received(A, send(2, [b"7"], [b"m"]))).keys() == {B}
    books.received(B, ack(sent[B]))
    assert wants_lookup(books)


@pytest.mark.usefixtures("one_is_many")
def test_a_large_one_goes_page_by_page() -> None:
    """While a page of a large one is being written its next one waits; small ones don't."""
    books = linked(A, B)
    log_in(books, ben=B1)
    books.received(A, publish(1, (b"star", b"1")))
    books.hub.lookup()
    sent = delivers(books.found([([b"ben"], True)]))
    assert not wants_lookup(books)
    books.received(A, publish(2, (b"ada", b"2"), lane=8))
    assert [publisher for publisher, _, _ in books.hub.lookup()] == [b"ada"]
    assert books.found([([], False)]) == result(A, 2, 0)
    books.received(A, publish(3, (b"ada", b"3")))  # held: the same sender's
    assert books.hub.lookup() == []
    books.received(B, ack(sent[B]))
    assert [publisher for publisher, _, _ in books.hub.lookup()] == [b"star"]


def test_a_page_is_as_long_as_it_has_handles() -> None:
    """If few of a large one's subscribers are here, more of them are looked up; within bounds."""
    books = linked(A, B)
    log_in(books, ben=B1, cid=B2)
    books.received(A, publish(1, (b"star", b"1")))
    books.hub.lookup()
    for ids, rows in (
        ([b"x"] * 1_000, PAGE_ROWS[1]),
        ([b"ben", b"cid"] * 50 + [b"x"] * 300, 400 * PAGE_HANDLES // 100),
        ([b"ben"] * 2 * PAGE_HANDLES, PAGE_ROWS[0]),
    ):
        sent = delivers(books.found([(ids, True)]))
        for gateway, frame in sent.items():
            books.received(gateway, ack(frame))
        assert [limit for _, _, limit in books.hub.lookup()] == [rows]


def test_a_page_for_few_goes_out_at_once() -> None:
    """To all gateways, and the next one is looked up without waiting, whoever sends meanwhile."""
    books = linked(A, B, C, clock=lambda: 1.0)
    sent = large_one(books)
    assert sent.keys() == {B, C}
    books.received(A, publish(2, (b"star", b"again"), lane=8))
    assert [publisher for publisher, _, _ in books.hub.lookup()] == [b"ada", b"star"]
    books.found([([], False), ([b"ben"], True)])
    assert not books.hub.rest
    assert [publisher for publisher, _, _ in books.hub.lookup()] == [b"star"]


def large_one(books: Books) -> dict[int, Deliver]:
    """A publication with two pages; the DELIVERs that its second one, which is for `ben` on B and
    `cid` on C, begins with."""
    log_in(books, ben=B1, cid=C1)
    books.received(A, publish(1, (b"star", b"large"), (b"ada", b"small")))
    books.hub.lookup()
    assert books.found([([b"x"], True)]) == []
    books.hub.lookup()
    return delivers(books.found([([b"ben", b"cid"], False)]))


@pytest.mark.usefixtures("one_is_many")
def test_gateways_have_turns_with_a_large_one() -> None:
    """One of them at a time is busy with it; then the next page may be looked up."""
    books = linked(A, B, C)
    sent = large_one(books)
    assert sent.keys() == {B}
    sent = delivers(books.received(B, ack(sent[B])))
    assert sent.keys() == {C}
    assert books.received(C, ack(sent[C])) == []
    books.hub.lookup()
    assert books.found([([], False)]) == result(A, 1, 2, 0)


@pytest.mark.usefixtures("one_is_many")
def test_what_follows_a_large_one_does_not_overtake_it() -> None:
    """What the same sender publishes next comes to no gateway before its turn was."""
    books = linked(A, B, C)
    large_one(books)
    assert [publisher for publisher, _, _ in books.hub.lookup()] == [b"ada"]
    outgoing = books.found([([b"cid"], False)])
    assert [gateway for gateway, _ in outgoing] == [C, C]
    assert [frame.messages.data for _, frame in outgoing if isinstance(frame, Deliver)] == [
        [b"large"], [b"small"],
    ]  # fmt: skip


@pytest.mark.usefixtures("one_is_many")
def test_a_gateway_that_dies_loses_its_turn() -> None:
    """It's delivered nothing, and the next one is next; also if it was its turn."""
    books = linked(A, B, C)
    sent = large_one(books)
    assert books.gone(C) == []
    assert books.received(B, ack(sent[B])) == []
    books.hub.lookup()
    assert books.found([([], False)]) == result(A, 1, 1, 0)
    books = linked(A, B, C)
    large_one(books)
    sent = delivers(books.gone(B))
    assert books.received(C, ack(sent[C])) == []


@pytest.mark.usefixtures("one_is_many")
def test_others_find_a_large_one_at_rest() -> None:
    """If others have sent something lately, the next page waits, for as long as the last one took;
    else it doesn't."""
    now = [100.0]
    books = linked(A, B, clock=lambda: now[0])
    log_in(books, ben=B1)
    books.received(A, publish(1, (b"star", b"1")))
    now[0] += LATELY
    books.hub.lookup()
    for took, sends, rest in ((0.02, 0, 0.0), (0.02, 1, 0.02), (0.5, 0, 0.5), (0.02, 0, 0.0)):
        sent = delivers(books.found([([b"ben"], True)]))
        for _ in range(sends):
            assert books.received(A, send(2, [b"x"], [b"m"])) == result(A, 2, 0)
        now[0] += took
        assert not books.hub.rest
        books.received(B, ack(sent[B]))
        assert books.hub.rest == pytest.approx(REST * rest)
        assert wants_lookup(books) is not bool(rest)
        now[0] += rest * REST * 1.01
        assert not books.hub.rest
        assert wants_lookup(books)
        books.hub.lookup()


def test_a_dead_publisher() -> None:
    """What a dead gateway wanted published is forgotten, also while it's looked up."""
    books = linked(A, B)
    log_in(books, ben=B1)
    books.received(A, publish(1, (b"ada", b"1")))
    books.hub.lookup()
    books.received(A, publish(2, (b"ada", b"2")))
    assert books.gone(A) == []
    sent = delivers(books.found([([b"ben"], False)]))
    assert books.received(B, ack(sent[B])) == []
    assert not wants_lookup(books)


class Others:
    """The other nodes: takes down what it's told, and takes messages if it is `up`."""

    def __init__(self) -> None:
        self.up = True
        self.congested = False
        self.room = 1_000_000
        """Messages until it's congested."""
        self.forwarded: list[tuple[Verb, bytes, bytes]] = []
        self.asked: list[tuple[Verb, bytes, bytes, int]] = []
        self.new: list[tuple[int, array[int]]] = []

    def forward(self, verb: Verb, ids: list[bytes], messages: list[bytes]) -> bytes | None:
        if not self.up:
            return bytes([Status.UNFORWARDED] * len(ids))
        self.forwarded += [(verb, *pair) for pair in zip(ids, messages, strict=True)]
        self.room -= len(messages)
        self.congested |= self.room <= 0
        return None

    def ask(self, verb: Verb, id: bytes, message: bytes, ticket: int) -> bool:
        if self.up:
            self.asked.append((verb, id, message, ticket))
        return self.up

    def logged_in(self, gateway: int, handles: "array[int]") -> None:
        self.new.append((gateway, handles))


def joined() -> tuple[Books, Others]:
    """The books of a node with others, two gateways, and `ben` on the second."""
    others = Others()
    books = Books(peers=others)
    for gateway in (A, B):
        books.linked(Hello(gateway))
        assert books.received(gateway, Synced()) == [(gateway, Ready())]
    assert books.received(B, Login(array("Q", [B1]), [b"ben"])) == []
    assert books.reachable(*others.new.pop()) == [(B, LoggedIn(array("Q", [B1])))]
    assert books.map.changes == {b"ben": True}
    return books, others


def test_a_login_waits_for_the_others() -> None:
    """LOGGED_IN comes once the others reach the connection; not to a gateway that has died."""
    books, others = joined()
    assert books.received(A, Login(array("Q", [A1]), [b"ada"])) == []
    books.gone(A)
    assert books.reachable(*others.new.pop()) == []
    assert books.map.changes == {b"ben": True, b"ada": False}


def test_sends_wait_while_the_others_are_congested() -> None:
    """They go on in their order afterwards, until it's so again; logins and ACKs don't wait; those
    of a gateway that has died are forgotten."""
    books, others = joined()
    sent = delivers(books.received(A, send(1, [b"ben"], [b"first"])))
    others.congested = True
    for batch, gateway in enumerate((A, B, A), 2):
        assert books.received(gateway, send(batch, [b"ada"], [b"%d" % batch])) == []
    assert books.received(B, ack(sent[B])) == result(A, 1, 1)
    assert books.received(A, Login(array("Q", [A1]), [b"new"])) == []
    assert len(others.new) == 1

    def release() -> tuple[Outgoing, bool]:
        return books.release(), books.others.waits

    assert release() == ([], True)
    books.gone(B)
    others.congested, others.room = False, 1
    assert release() == (result(A, 2, 0), True)
    others.congested, others.room = False, 2
    assert release() == (result(A, 4, 0), False)
    assert [message for _, _, message in others.forwarded] == [b"first", b"2", b"4"]
    assert books.received(A, send(5, [b"ada"], [b"5"])) == result(A, 5, 0)


def test_every_message_is_handed_on() -> None:
    """A message goes to the connections here, and to the other nodes."""
    books, others = joined()
    sent = delivers(books.received(A, send(1, [b"ben"], [b"hi"])))
    assert others.forwarded == [(Verb.SEND, b"ben", b"hi")]
    assert books.received(B, ack(sent[B])) == result(A, 1, 1)
    assert books.received(A, send(2, [b"ada"], [b"hi"])) == result(A, 2, 0)
    books.received(A, publish(3, (b"ben", b"news")))
    assert others.forwarded[2:] == [(Verb.PUBLISH, b"ben", b"news")]


def test_what_could_not_be_handed_on() -> None:
    """The sender hears of it, with the connections that got it here."""
    books, others = joined()
    others.up = False
    sent = delivers(books.received(A, send(1, [b"ben", b"ada"], [b"hi", b"hi"])))
    kept = bytes([Status.UNFORWARDED] * 2)
    assert books.received(B, ack(sent[B])) == [(A, Result(1, array("I", [1, 0]), kept))]


def test_all_nodes_are_asked() -> None:
    """With `wait` the RESULT comes once all nodes have answered, and counts theirs."""
    books, others = joined()
    frame = send(1, [b"ben", b"ada"], [b"hi", b"ho"], wait=True)
    sent = delivers(books.received(A, frame))
    assert not others.forwarded
    assert [it[:3] for it in others.asked] == [
        (Verb.SEND, b"ben", b"hi"), (Verb.SEND, b"ada", b"ho"),
    ]  # fmt: skip
    first, second = (it[3] for it in others.asked)
    assert books.answered(first, 3) == []
    assert books.received(B, ack(sent[B])) == []
    assert books.answered(second, None) == [
        (A, Result(1, array("I", [4, 0]), bytes([Status.OK, Status.UNANSWERED])))
    ]


def test_who_asks_for_all_gets_none_if_they_are_away() -> None:
    """With `wait`, a message that can't be handed on isn't delivered here either."""
    books, others = joined()
    others.up = False
    frame = send(1, [b"ben"], [b"hi"], wait=True)
    kept = [(A, Result(1, array("I", [0]), bytes([Status.UNFORWARDED])))]
    assert books.received(A, frame) == kept
    assert books.received(A, publish(1, (b"ben", b"news"), wait=True)) == kept
    assert not wants_lookup(books)


def test_messages_of_other_nodes() -> None:
    """They are delivered here, handed on to nobody, and answered if that's wanted."""
    books, others = joined()
    sent = delivers(books.remote(Verb.SEND, [b"ben", b"ada"], [b"hi", b"ho"]))
    assert books.others.remote_bytes > 0
    assert books.received(B, ack(sent[B])) == []
    assert books.others.remote_bytes == 0
    assert books.others.concluded == []
    sent = delivers(books.remote(Verb.SEND, [b"ben"], [b"hi"], ticket=9))
    books.received(B, ack(sent[B]))
    assert books.others.concluded == [(9, 1)]
    books.others.concluded.clear()
    assert books.remote(Verb.PUBLISH, [b"ada"], [b"news"], ticket=10) == []
    books.hub.lookup()
    sent = delivers(books.found([([b"ben"], False)]))
    assert sent[B].messages.publishers == [b"ada"]
    books.received(B, ack(sent[B]))
    assert books.others.concluded == [(10, 1)]
    assert not others.forwarded


def test_a_remote_publication_that_fails_has_no_count() -> None:
    """Without the store the asking node is told so, rather than a wrong count."""
    books, _ = joined()
    books.remote(Verb.PUBLISH, [b"ada"], [b"news"], ticket=9)
    books.hub.lookup()
    assert books.unknown(Status.UNKNOWN) == []
    assert books.others.concluded == [(9, None)]
    assert books.others.remote_bytes == 0
