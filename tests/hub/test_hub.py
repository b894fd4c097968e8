"""The hub: by turns of origins, within its bounds, and each Sent concluded once."""

import time
from array import array
from collections.abc import Hashable

import pytest

from encke.hub.delivery import Delivery, Sent
from encke.hub.hub import Hub
from encke.hub.limits import SLICE
from encke.ids import handle
from encke.wire.link import MAX_FRAME
from encke.wire.message import Messages, Status

A, B = 1, 2


def sent(origin: Hashable, count: int) -> Sent:
    return Sent(origin, array("I", bytes(4 * count)))


def send(hub: Hub, origin: Hashable, *pairs: tuple[bytes, bytes]) -> Sent:
    """What `origin` sends: (id, message) each."""
    it = sent(origin, len(pairs))
    hub.send(it, Messages([id for id, _ in pairs], [message for _, message in pairs]))
    return it


def out(hub: Hub) -> list[Delivery]:
    """The deliveries that may go out, which are taken."""
    deliveries = list(hub.deliveries)
    hub.deliveries.clear()
    return deliveries


@pytest.fixture
def hub() -> Hub:
    """One in which `many` has a slice of connections on A, `ben` one on A and one on B."""
    hub = Hub(time.monotonic, under_way=2 * SLICE)
    for slot in range(SLICE + 1):
        hub.map.login(b"many", handle(A, 0, slot))
    hub.map.login(b"ben", handle(A, 0, SLICE + 1))
    hub.map.login(b"ben", handle(B, 0, 0))
    return hub


def test_a_message_is_a_delivery_a_gateway(hub: Hub) -> None:
    """With its connections; once both are settled it's concluded, without those that it missed."""
    it = send(hub, "sender", (b"ben", b"1"), (b"nobody", b"2"), (b"ben", b"3"))
    on_a, on_b = out(hub)
    assert (on_a.gateway, on_b.gateway) == (A, B)
    assert on_a.messages.data == on_b.messages.data == [b"1", b"3"]
    assert list(on_a.indexes) == [0, 2]
    hub.settle(on_a, [1, 1])
    assert hub.concluded == []
    hub.settle(on_b)
    assert hub.concluded == [it]
    assert list(it.counts) == [2, 0, 1]


def test_origins_have_turns(hub: Hub) -> None:
    """Who sends much to very many doesn't hold the others up, be they gateways or other nodes."""
    for number in range(4):
        send(hub, A, (b"many", b"a%d" % number))
    send(hub, "other nodes", (b"ben", b"o"))
    send(hub, B, (b"many", b"b0"))
    send(hub, B, (b"many", b"b1"))
    seen = []
    while deliveries := out(hub):
        for delivery in deliveries:
            seen += delivery.messages.data
            hub.settle(delivery)
    assert seen == [b"a0", b"a1", b"a2", b"o", b"o", b"b0", b"a3", b"b1"]
    assert not hub.waits
    assert len(hub.concluded) == 7


def test_what_is_under_way_is_bounded(hub: Hub) -> None:
    """Beyond it messages wait, until something has been written, or its gateway died."""
    for number in range(4):
        send(hub, A, (b"many", b"%d" % number))
    first, second = out(hub)
    waited = [hub.waits]
    hub.settle(first)
    (third,) = out(hub)
    hub.lost(second)
    (fourth,) = out(hub)
    waited.append(hub.waits)
    assert waited == [True, False]
    for delivery in (third, fourth):
        hub.settle(delivery)
    assert [list(it.counts) for it in hub.concluded] == [[SLICE + 1], [0], *[[SLICE + 1]] * 2]


def test_a_batch_is_cut_into_slices(hub: Hub) -> None:
    """Its messages stay in order, another origin's come in between; it's concluded as a whole."""
    much = send(hub, A, *[(b"many", b"%d" % number) for number in range(5)])
    send(hub, B, (b"ben", b"in between"))
    seen = []
    while deliveries := out(hub):
        for delivery in deliveries:
            assert delivery.size <= SLICE + 1
            seen += delivery.messages.data
            hub.settle(delivery)
    assert [it for it in seen if it != b"in between"] == [b"%d" % number for number in range(5)]
    assert seen.index(b"in between") < 4
    assert hub.concluded[-1] is much
    assert list(much.counts) == [SLICE + 1] * 5


def test_a_dead_origin(hub: Hub) -> None:
    """What waits of it is forgotten, and its connections get nothing more."""
    for number in range(4):
        send(hub, B, (b"many", b"%d" % number))
    first, second = out(hub)
    hub.gone(B)
    hub.settle(first)
    hub.settle(second)
    assert out(hub) == []
    send(hub, A, (b"ben", b"m"))
    assert [it.gateway for it in out(hub)] == [A]


def test_an_empty_id_is_nobodys(hub: Hub) -> None:
    """It's not published, and holds nothing up."""
    told = []
    hub = Hub(time.monotonic, publishing=lambda: told.append(hub.busy_publishing))
    it = sent(A, 2)
    hub.publish(it, Messages([b"", b"ada"], [b"1", b"2"]), [1, 1])
    assert told == [True]
    assert [id for id, _, _ in hub.lookup()] == [b"ada"]
    hub.unknown(Status.OFF)
    assert hub.concluded == [it]
    assert it.statuses == bytes([Status.OK, Status.OFF])
    assert not hub.busy_publishing


def test_others_may_keep_it_open(hub: Hub) -> None:
    """A Sent that waits for somebody else's answer is concluded when that has come."""
    it = sent(A, 1)
    it.open += 1
    hub.send(it, Messages([b"nobody"], [b"m"]))
    assert hub.concluded == []
    hub.closed(it)
    assert hub.concluded == [it]


def test_hostile_publications_fit_into_frames(hub: Hub) -> None:
    """What is looked up together is cut by bytes: a link drops a frame that is too long."""
    message = b"x" * (1024 * 1024)
    count = 100
    it = sent("sender", count)
    hub.publish(it, Messages([b"ben"] * count, [message] * count), range(count))
    asked = hub.lookup()
    assert len(asked) == count
    hub.found([([], False)] * count)
    deliveries = out(hub)
    assert sum(len(each.messages) for each in deliveries) == 2 * count
    assert max(each.messages.size for each in deliveries) < MAX_FRAME
    for each in deliveries:
        hub.settle(each)
    assert hub.concluded == [it]
    assert list(it.counts) == [2] * count
