"""The dispatcher: publications, and messages from and for other nodes."""

from array import array

import msgspec
import pytest

from encke.router import dispatch
from encke.router.dispatch import PUBLISHED_UNDER_WAY, Dispatcher, Outgoing
from encke.router.pace import LATELY, PAGE, PAGES, REST
from encke.wire.link import Deliver, Hello, LoggedIn, Login, Ready, Result, Send, Synced
from encke.wire.message import Status, Verb

from .test_dispatch import A1, B1, B2, C1, A, B, C, ack, delivers, linked, log_in, result


def publish(batch: int, *pairs: tuple[bytes, bytes], wait: bool = False, lane: int = 7) -> Send:
    ids, messages = [id for id, _ in pairs], [message for _, message in pairs]
    return Send(batch, ids, messages, Verb.PUBLISH, wait, array("I", [lane] * len(pairs)))


@pytest.fixture
def one_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page for a single connection is none for few."""
    monkeypatch.setattr(dispatch, "FEW", 1)


def wants_lookup(dispatcher: Dispatcher) -> bool:
    return dispatcher.wants_lookup


def test_a_publication_reaches_subscribers_and_publisher() -> None:
    """It's looked up, then delivered to everyone who is online; the RESULT counts them all."""
    dispatcher = linked(A, B, C)
    log_in(dispatcher, ada=A1, ben=B1)
    log_in(dispatcher, ben=B2, cid=C1)
    assert dispatcher.received(A, publish(5, (b"ada", b"news"))) == []
    assert wants_lookup(dispatcher)
    assert [publisher for publisher, _, _ in dispatcher.lookup()] == [b"ada"]
    assert not wants_lookup(dispatcher)
    sent = delivers(dispatcher.found([([b"ben", b"offline"], False)]))
    assert sent.keys() == {A, B}
    assert sent[A].publishers == sent[B].publishers == [b"ada"]
    assert sent[A].messages == sent[B].messages == [b"news"]
    assert sent[A].handles == array("Q", [A1])
    assert sent[B].handles == array("Q", [B1, B2])
    assert dispatcher.received(B, ack(sent[B], 0, 1)) == []
    assert dispatcher.received(A, ack(sent[A])) == result(A, 5, 2)


def test_a_lookup_is_one_deliver_a_gateway() -> None:
    """Publications of several SENDs share a DELIVER; each SEND has its own count and RESULT."""
    dispatcher = linked(A, B, C)
    log_in(dispatcher, ben=B1, cid=B2)
    dispatcher.received(A, publish(1, (b"ada", b"1"), (b"ada", b"2")))
    dispatcher.received(C, publish(9, (b"eva", b"3")))
    dispatcher.lookup()
    sent = delivers(dispatcher.found([([b"ben"], False), ([b"cid"], False), ([b"ben"], False)]))
    assert sent.keys() == {B}
    assert sent[B].messages == [b"1", b"2", b"3"]
    assert sent[B].publishers == [b"ada", b"ada", b"eva"]
    assert sent[B].handles == array("Q", [B1, B2, B1])
    assert dispatcher.received(B, ack(sent[B], 1, 1)) == result(A, 1, 1, 0) + result(C, 9, 1)


def test_a_dead_gateway_got_no_publication() -> None:
    """What was under way to it isn't counted, whichever SEND it's of."""
    dispatcher = linked(A, B, C)
    log_in(dispatcher, ben=B1, cid=C1)
    dispatcher.received(A, publish(1, (b"ada", b"1")))
    dispatcher.received(C, publish(9, (b"eva", b"2")))
    dispatcher.lookup()
    sent = delivers(dispatcher.found([([b"ben", b"cid"], False), ([b"ben"], False)]))
    assert dispatcher.gone(B) == result(C, 9, 0)
    assert dispatcher.received(C, ack(sent[C])) == result(A, 1, 1)


def test_a_sender_keeps_his_order_across_sends() -> None:
    """Also if another sender's turn, in the later SEND, comes first."""
    dispatcher = linked(A, B)
    log_in(dispatcher, ben=B1)
    dispatcher.received(A, publish(1, (b"ada", b"1"), (b"ada", b"2"), lane=7))
    pairs = [(b"eva", b"x"), (b"ada", b"3")]
    dispatcher.received(A, msgspec.structs.replace(publish(2, *pairs), lanes=array("I", [8, 7])))
    dispatcher.lookup()
    dispatcher.found([([], False)])
    assert [publisher for publisher, _, _ in dispatcher.lookup()] == [b"eva", b"ada", b"ada"]
    found: dict[int, list[bytes]] = {}
    for gateway, frame in dispatcher.found([([b"ben"], False)] * 3):
        assert isinstance(frame, Deliver)
        found.setdefault(gateway, []).extend(frame.messages)
    assert found == {B: [b"x", b"2", b"3"]}


def test_a_large_publication_is_one_result() -> None:
    """However many pages it takes, the sender is answered once, with the sum."""
    dispatcher = linked(A, B)
    log_in(dispatcher, ben=B1, cid=B2)
    dispatcher.received(A, publish(1, (b"ada", b"news")))
    dispatcher.lookup()
    first = delivers(dispatcher.found([([b"ben"], True)]))
    assert dispatcher.received(B, ack(first[B])) == []  # there is another page
    dispatcher.lookup()
    second = delivers(dispatcher.found([([b"cid"], False)]))
    assert dispatcher.received(B, ack(second[B])) == result(A, 1, 2)


def test_nobody_online() -> None:
    """Without anyone online it's answered as soon as it has been looked up."""
    dispatcher = linked(A)
    dispatcher.received(A, publish(1, (b"ada", b"news"), (b"ben", b"news")))
    dispatcher.lookup()
    assert dispatcher.found([([b"x"], False)]) == []
    dispatcher.lookup()
    assert dispatcher.found([([], False)]) == result(A, 1, 0, 0)


def test_an_unknown_audience_fails() -> None:
    """If the store is away, the sender hears which messages failed, and why."""
    dispatcher = linked(A)
    dispatcher.received(A, publish(1, (b"ada", b"1"), (b"ada", b"2")))
    dispatcher.lookup()
    assert dispatcher.found([([], False)]) == []
    dispatcher.lookup()
    statuses = bytes([Status.OK, Status.UNKNOWN])
    assert dispatcher.unknown(Status.UNKNOWN) == [(A, Result(1, array("I", [0, 0]), statuses))]


def test_lookups_wait_for_deliveries() -> None:
    """While many deliveries of publications are under way, no more is looked up; sends go on."""
    dispatcher = linked(A, B)
    everyone = [b"%d" % number for number in range(PUBLISHED_UNDER_WAY)]
    handles = array("Q", [B1 + number for number in range(PUBLISHED_UNDER_WAY)])
    dispatcher.received(B, Login(handles, everyone))
    dispatcher.received(A, publish(1, (b"ada", b"1"), (b"ada", b"2")))
    dispatcher.lookup()
    sent = delivers(dispatcher.found([(everyone, False)]))
    assert not wants_lookup(dispatcher)
    assert delivers(dispatcher.received(A, Send(2, [b"7"], [b"m"]))).keys() == {B}
    dispatcher.received(B, ack(sent[B]))
    assert wants_lookup(dispatcher)


@pytest.mark.usefixtures("one_is_many")
def test_a_large_one_goes_page_by_page() -> None:
    """While a page of a large one is being written its next one waits; small ones don't."""
    dispatcher = linked(A, B)
    log_in(dispatcher, ben=B1)
    dispatcher.received(A, publish(1, (b"star", b"1")))
    dispatcher.lookup()
    sent = delivers(dispatcher.found([([b"ben"], True)]))
    assert not wants_lookup(dispatcher)
    dispatcher.received(A, publish(2, (b"ada", b"2"), lane=8))
    assert [publisher for publisher, _, _ in dispatcher.lookup()] == [b"ada"]
    assert dispatcher.found([([], False)]) == result(A, 2, 0)
    dispatcher.received(A, publish(3, (b"ada", b"3")))  # held: the same sender's
    assert dispatcher.lookup() == []
    dispatcher.received(B, ack(sent[B]))
    assert [publisher for publisher, _, _ in dispatcher.lookup()] == [b"star"]


def test_a_page_is_as_long_as_it_has_handles() -> None:
    """If few of a large one's subscribers are here, more of them are looked up; within bounds."""
    dispatcher = linked(A, B)
    log_in(dispatcher, ben=B1, cid=B2)
    dispatcher.received(A, publish(1, (b"star", b"1")))
    dispatcher.lookup()
    for ids, rows in (
        ([b"x"] * 1_000, PAGES[1]),
        ([b"ben", b"cid"] * 50 + [b"x"] * 300, 400 * PAGE // 100),
        ([b"ben"] * 2 * PAGE, PAGES[0]),
    ):
        sent = delivers(dispatcher.found([(ids, True)]))
        for gateway, frame in sent.items():
            dispatcher.received(gateway, ack(frame))
        assert [limit for _, _, limit in dispatcher.lookup()] == [rows]


def test_a_page_for_few_goes_out_at_once() -> None:
    """To all gateways, and the next one is looked up without waiting, whoever sends meanwhile."""
    dispatcher = linked(A, B, C, clock=lambda: 1.0)
    sent = large_one(dispatcher)
    assert sent.keys() == {B, C}
    dispatcher.received(A, publish(2, (b"star", b"again"), lane=8))
    assert [publisher for publisher, _, _ in dispatcher.lookup()] == [b"ada", b"star"]
    dispatcher.found([([], False), ([b"ben"], True)])
    assert not dispatcher.rest
    assert [publisher for publisher, _, _ in dispatcher.lookup()] == [b"star"]


def large_one(dispatcher: Dispatcher) -> dict[int, Deliver]:
    """A publication with two pages; the DELIVERs that its second one, which is for `ben` on B and
    `cid` on C, begins with."""
    log_in(dispatcher, ben=B1, cid=C1)
    dispatcher.received(A, publish(1, (b"star", b"large"), (b"ada", b"small")))
    dispatcher.lookup()
    assert dispatcher.found([([b"x"], True)]) == []
    dispatcher.lookup()
    return delivers(dispatcher.found([([b"ben", b"cid"], False)]))


@pytest.mark.usefixtures("one_is_many")
def test_gateways_have_turns_with_a_large_one() -> None:
    """One of them at a time is busy with it; then the next page may be looked up."""
    dispatcher = linked(A, B, C)
    sent = large_one(dispatcher)
    assert sent.keys() == {B}
    sent = delivers(dispatcher.received(B, ack(sent[B])))
    assert sent.keys() == {C}
    assert dispatcher.received(C, ack(sent[C])) == []
    dispatcher.lookup()
    assert dispatcher.found([([], False)]) == result(A, 1, 2, 0)


@pytest.mark.usefixtures("one_is_many")
def test_what_follows_a_large_one_does_not_overtake_it() -> None:
    """What the same sender publishes next comes to no gateway before its turn was."""
    dispatcher = linked(A, B, C)
    large_one(dispatcher)
    assert [publisher for publisher, _, _ in dispatcher.lookup()] == [b"ada"]
    outgoing = dispatcher.found([([b"cid"], False)])
    assert [gateway for gateway, _ in outgoing] == [C, C]
    assert [frame.messages for _, frame in outgoing if isinstance(frame, Deliver)] == [
        [b"large"], [b"small"],
    ]  # fmt: skip


@pytest.mark.usefixtures("one_is_many")
def test_a_gateway_that_dies_loses_its_turn() -> None:
    """It's delivered nothing, and the next one is next; also if it was its turn."""
    dispatcher = linked(A, B, C)
    sent = large_one(dispatcher)
    assert dispatcher.gone(C) == []
    assert dispatcher.received(B, ack(sent[B])) == []
    dispatcher.lookup()
    assert dispatcher.found([([], False)]) == result(A, 1, 1, 0)
    dispatcher = linked(A, B, C)
    large_one(dispatcher)
    sent = delivers(dispatcher.gone(B))
    assert dispatcher.received(C, ack(sent[C])) == []


@pytest.mark.usefixtures("one_is_many")
def test_others_find_a_large_one_at_rest() -> None:
    """If others have sent something lately, the next page waits, for as long as the last one took;
    else it doesn't."""
    now = [100.0]
    dispatcher = linked(A, B, clock=lambda: now[0])
    log_in(dispatcher, ben=B1)
    dispatcher.received(A, publish(1, (b"star", b"1")))
    now[0] += LATELY
    dispatcher.lookup()
    for took, sends, rest in ((0.02, 0, 0.0), (0.02, 1, 0.02), (0.5, 0, 0.5), (0.02, 0, 0.0)):
        sent = delivers(dispatcher.found([([b"ben"], True)]))
        for _ in range(sends):
            assert dispatcher.received(A, Send(2, [b"x"], [b"m"])) == result(A, 2, 0)
        now[0] += took
        assert not dispatcher.rest
        dispatcher.received(B, ack(sent[B]))
        assert dispatcher.rest == pytest.approx(REST * rest)
        assert wants_lookup(dispatcher) is not bool(rest)
        now[0] += rest * REST * 1.01
        assert not dispatcher.rest
        assert wants_lookup(dispatcher)
        dispatcher.lookup()


def test_a_dead_publisher() -> None:
    """What a dead gateway wanted published is forgotten, also while it's looked up."""
    dispatcher = linked(A, B)
    log_in(dispatcher, ben=B1)
    dispatcher.received(A, publish(1, (b"ada", b"1")))
    dispatcher.lookup()
    dispatcher.received(A, publish(2, (b"ada", b"2")))
    assert dispatcher.gone(A) == []
    sent = delivers(dispatcher.found([([b"ben"], False)]))
    assert dispatcher.received(B, ack(sent[B])) == []
    assert not wants_lookup(dispatcher)


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


def joined() -> tuple[Dispatcher, Others]:
    """A dispatcher of a node with others, two gateways, and `ben` on the second."""
    others = Others()
    dispatcher = Dispatcher(peers=others)
    for gateway in (A, B):
        dispatcher.linked(Hello(gateway))
        assert dispatcher.received(gateway, Synced()) == [(gateway, Ready())]
    assert dispatcher.received(B, Login(array("Q", [B1]), [b"ben"])) == []
    assert dispatcher.reachable(*others.new.pop()) == [(B, LoggedIn(array("Q", [B1])))]
    assert dispatcher.map.changes == {b"ben": True}
    return dispatcher, others


def test_a_login_waits_for_the_others() -> None:
    """LOGGED_IN comes once the others reach the connection; not to a gateway that has died."""
    dispatcher, others = joined()
    assert dispatcher.received(A, Login(array("Q", [A1]), [b"ada"])) == []
    dispatcher.gone(A)
    assert dispatcher.reachable(*others.new.pop()) == []
    assert dispatcher.map.changes == {b"ben": True, b"ada": False}


def test_sends_wait_while_the_others_are_congested() -> None:
    """They go on in their order afterwards, until it's so again; logins and ACKs don't wait; those
    of a gateway that has died are forgotten."""
    dispatcher, others = joined()
    sent = delivers(dispatcher.received(A, Send(1, [b"ben"], [b"first"])))
    others.congested = True
    for batch, gateway in enumerate((A, B, A), 2):
        assert dispatcher.received(gateway, Send(batch, [b"ada"], [b"%d" % batch])) == []
    assert dispatcher.received(B, ack(sent[B])) == result(A, 1, 1)
    assert dispatcher.received(A, Login(array("Q", [A1]), [b"new"])) == []
    assert len(others.new) == 1

    def release() -> tuple[Outgoing, bool]:
        return dispatcher.release(), dispatcher.waits

    assert release() == ([], True)
    dispatcher.gone(B)
    others.congested, others.room = False, 1
    assert release() == (result(A, 2, 0), True)
    others.congested, others.room = False, 2
    assert release() == (result(A, 4, 0), False)
    assert [message for _, _, message in others.forwarded] == [b"first", b"2", b"4"]
    assert dispatcher.received(A, Send(5, [b"ada"], [b"5"])) == result(A, 5, 0)


def test_every_message_is_handed_on() -> None:
    """A message goes to the connections here, and to the other nodes."""
    dispatcher, others = joined()
    sent = delivers(dispatcher.received(A, Send(1, [b"ben"], [b"hi"])))
    assert others.forwarded == [(Verb.SEND, b"ben", b"hi")]
    assert dispatcher.received(B, ack(sent[B])) == result(A, 1, 1)
    assert dispatcher.received(A, Send(2, [b"ada"], [b"hi"])) == result(A, 2, 0)
    dispatcher.received(A, publish(3, (b"ben", b"news")))
    assert others.forwarded[2:] == [(Verb.PUBLISH, b"ben", b"news")]


def test_what_could_not_be_handed_on() -> None:
    """The sender hears of it, with the connections that got it here."""
    dispatcher, others = joined()
    others.up = False
    sent = delivers(dispatcher.received(A, Send(1, [b"ben", b"ada"], [b"hi", b"hi"])))
    kept = bytes([Status.UNFORWARDED] * 2)
    assert dispatcher.received(B, ack(sent[B])) == [(A, Result(1, array("I", [1, 0]), kept))]


def test_all_nodes_are_asked() -> None:
    """With `wait` the RESULT comes once all nodes have answered, and counts theirs."""
    dispatcher, others = joined()
    frame = Send(1, [b"ben", b"ada"], [b"hi", b"ho"], wait=True)
    sent = delivers(dispatcher.received(A, frame))
    assert not others.forwarded
    assert [it[:3] for it in others.asked] == [
        (Verb.SEND, b"ben", b"hi"), (Verb.SEND, b"ada", b"ho"),
    ]  # fmt: skip
    first, second = (it[3] for it in others.asked)
    assert dispatcher.answered(first, 3) == []
    assert dispatcher.received(B, ack(sent[B])) == []
    assert dispatcher.answered(second, None) == [
        (A, Result(1, array("I", [4, 0]), bytes([Status.OK, Status.UNANSWERED])))
    ]


def test_who_asks_for_all_gets_none_if_they_are_away() -> None:
    """With `wait`, a message that can't be handed on isn't delivered here either."""
    dispatcher, others = joined()
    others.up = False
    frame = Send(1, [b"ben"], [b"hi"], wait=True)
    kept = [(A, Result(1, array("I", [0]), bytes([Status.UNFORWARDED])))]
    assert dispatcher.received(A, frame) == kept
    assert dispatcher.received(A, publish(1, (b"ben", b"news"), wait=True)) == kept
    assert not wants_lookup(dispatcher)


def test_messages_of_other_nodes() -> None:
    """They are delivered here, handed on to nobody, and answered if that's wanted."""
    dispatcher, others = joined()
    sent = delivers(dispatcher.remote(Verb.SEND, [b"ben", b"ada"], [b"hi", b"ho"]))
    assert dispatcher.remote_bytes > 0
    assert dispatcher.received(B, ack(sent[B])) == []
    assert dispatcher.remote_bytes == 0
    assert dispatcher.concluded == []
    sent = delivers(dispatcher.remote(Verb.SEND, [b"ben"], [b"hi"], ticket=9))
    dispatcher.received(B, ack(sent[B]))
    assert dispatcher.concluded == [(9, 1)]
    dispatcher.concluded.clear()
    assert dispatcher.remote(Verb.PUBLISH, [b"ada"], [b"news"], ticket=10) == []
    dispatcher.lookup()
    sent = delivers(dispatcher.found([([b"ben"], False)]))
    assert sent[B].publishers == [b"ada"]
    dispatcher.received(B, ack(sent[B]))
    assert dispatcher.concluded == [(10, 1)]
    assert not others.forwarded


def test_a_remote_publication_that_fails_has_no_count() -> None:
    """Without the store the asking node is told so, rather than a wrong count."""
    dispatcher, _ = joined()
    dispatcher.remote(Verb.PUBLISH, [b"ada"], [b"news"], ticket=9)
    dispatcher.lookup()
    assert dispatcher.unknown(Status.UNKNOWN) == []
    assert dispatcher.concluded == [(9, None)]
    assert dispatcher.remote_bytes == 0
