"""The map, and what the hub makes of it for messages, against two plain dicts."""

import random
import time
from array import array
from collections.abc import Callable, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from encke import ids
from encke.hub import map as map_of_router
from encke.hub.delivery import Delivery, Sent
from encke.hub.hub import Hub
from encke.hub.map import Crowd, RouterMap
from encke.ids import handle
from encke.wire.message import Messages

FIRST_OF_ALL = handle(0, 0, 0)
"""A handle that is 0: no number means "none"."""

Deliveries = dict[int, list[tuple[int, bytes, set[int]]]]
"""Gateway -> (position in the call, message, handles), in the order of the batch."""


def send_many(hub: Hub, ids: Sequence[bytes], messages: Sequence[bytes]) -> Deliveries:
    """What the hub makes of `messages[k]` for `ids[k]`, with its counts; then it's done with."""
    sent = Sent("a sender", array("I", bytes(4 * len(ids))))
    hub.send(sent, Messages(list(ids), list(messages)))
    deliveries = list(hub.deliveries)
    hub.deliveries.clear()
    assert len({it.gateway for it in deliveries}) == len(deliveries)
    result = spread({it.gateway: it for it in deliveries})
    for index, count in enumerate(sent.counts):
        found = (some for each in result.values() for at, _, some in each if at == index)
        assert count == sum(map(len, found))
    for delivery in deliveries:
        assert not hub.concluded
        hub.settle(delivery)
    assert hub.concluded == [sent]
    hub.concluded.clear()
    return result


def spread(batches: dict[int, Delivery]) -> Deliveries:
    """`batches` as (position, message, handles); checks that their columns fit together."""
    result: Deliveries = {}
    for gateway, batch in batches.items():
        assert len(batch.messages) == len(batch.counts) == len(batch.indexes) > 0
        assert sum(batch.counts) == len(batch.handles) == batch.size
        assert list(batch.indexes) == sorted(set(batch.indexes))
        handles = iter(batch.handles)
        result[gateway] = []
        columns = zip(batch.indexes, batch.messages.data, batch.counts, strict=True)
        for index, message, count in columns:
            some = [next(handles) for _ in range(count)]
            assert len(set(some)) == count > 0
            assert all(each >> ids.GATEWAY_SHIFT == gateway for each in some)
            result[gateway].append((index, message, set(some)))
    return result


class MapMachine(RuleBasedStateMachine):
    """Any logins, logouts and sends, in any order; slots are few, so that they're reused."""

    some_ids = st.sampled_from([b"1", b"2", b"a", b"b", b"c"])
    some_handles = st.builds(handle, st.integers(0, 2), st.integers(0, 3), st.integers(0, 3))

    def __init__(self) -> None:
        super().__init__()
        self.few = map_of_router.A_FEW
        self.hub = Hub(time.monotonic)
        self.map = self.hub.map
        self.handles: dict[bytes, set[int]] = {}
        self.ids: dict[int, set[bytes]] = {}

    @initialize(few=st.sampled_from([1, 2, map_of_router.A_FEW]))
    def begin_crowds(self, few: int) -> None:
        """An id is a crowd's from more than so many connections on."""
        map_of_router.A_FEW = few

    def end(self, ended: int) -> None:
        for id in self.ids.pop(ended, set()):
            self.handles[id].discard(ended)
            if not self.handles[id]:
                del self.handles[id]

    def begin(self, id: bytes, begun: int) -> None:
        for other in list(self.ids):
            if other != begun and self.row(other) == self.row(begun):
                self.end(other)
        self.handles.setdefault(id, set()).add(begun)
        self.ids.setdefault(begun, set()).add(id)

    @staticmethod
    def row(each: int) -> tuple[int, int]:
        return each >> ids.GATEWAY_SHIFT, each & ids.SLOT_MASK

    @rule(id=some_ids, one=some_handles)
    def login(self, id: bytes, one: int) -> None:
        """One connection logs in; another generation in its row is over."""
        self.map.login(bytes(bytearray(id)), one)  # an equal id, not the same object
        self.begin(id, one)

    @rule(pairs=st.lists(st.tuples(some_ids, some_handles), max_size=6))
    def login_many(self, pairs: list[tuple[bytes, int]]) -> None:
        """Many at once are the same as one by one."""
        self.map.login_many([id for id, _ in pairs], [one for _, one in pairs])
        for id, one in pairs:
            self.begin(id, one)

    @rule(one=some_handles)
    def logout(self, one: int) -> None:
        """A connection logs out of all its ids; a stale handle logs nobody out."""
        assert self.map.logout(one) == (one in self.ids)
        self.end(one)

    @rule(gateway=st.integers(0, 2))
    def logout_gateway(self, gateway: int) -> None:
        """A gateway's connections log out together."""
        gone = [each for each in self.ids if each >> ids.GATEWAY_SHIFT == gateway]
        self.map.logout_gateway(gateway)
        for each in gone:
            self.end(each)

    @rule(sent_to=st.lists(some_ids, max_size=6))
    def send_many(self, sent_to: list[bytes]) -> None:
        """Each message goes to exactly the connections of its id, grouped by gateway, in order."""
        messages = [b"%d" % number for number in range(len(sent_to))]
        assert send_many(self.hub, sent_to, messages) == self.expected(sent_to, messages)

    @rule(id=some_ids)
    def send(self, id: bytes) -> None:
        """A single message is a batch of one."""
        assert send_many(self.hub, [id], [b"m"]) == self.expected([id], [b"m"])

    def expected(self, sent_to: Sequence[bytes], messages: Sequence[bytes]) -> Deliveries:
        result: Deliveries = {}
        for index, id in enumerate(sent_to):
            by_gateway: dict[int, set[int]] = {}
            for each in self.handles.get(id, set()):
                by_gateway.setdefault(each >> ids.GATEWAY_SHIFT, set()).add(each)
            for gateway, some in by_gateway.items():
                result.setdefault(gateway, []).append((index, messages[index], some))
        return result

    @invariant()
    def same_handles(self) -> None:
        """`find` tells one handle, several, or none."""
        for id in (b"1", b"2", b"a", b"b", b"c", b"nobody"):
            found = self.map.find(id)
            several = () if found is None else (found,) if isinstance(found, int) else found
            assert sorted(several) == sorted(self.handles.get(id, set()))

    @invariant()
    def same_numbers(self) -> None:
        """The counts of users and of logins agree."""
        assert len(self.map) == len(self.handles)
        assert self.map.logins == sum(map(len, self.handles.values()))

    def teardown(self) -> None:
        """Once all have logged out, nothing is left."""
        map_of_router.A_FEW = self.few
        for each in list(self.ids):
            assert self.map.logout(each)
            self.end(each)
        self.same_handles()
        assert len(self.map) == self.map.logins == 0


MapMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestMap = MapMachine.TestCase


def test_nobody() -> None:
    """A send to nobody goes nowhere."""
    assert send_many(Hub(time.monotonic), [b"1"], [b"m"]) == {}
    assert send_many(Hub(time.monotonic), [], []) == {}
    assert RouterMap().find(b"1") is None


def test_the_handle_zero() -> None:
    """The handle that is 0 is a handle as any other."""
    hub = Hub(time.monotonic)
    router = hub.map
    router.login(b"1", FIRST_OF_ALL)
    assert router.find(b"1") == 0
    assert send_many(hub, [b"1"], [b"m"]) == {0: [(0, b"m", {0})]}
    assert router.logout(FIRST_OF_ALL)
    assert router.find(b"1") is None


def test_a_stale_handle_reaches_nobody() -> None:
    """Once a row has its next generation, the one before is logged in nowhere, under any id."""
    router = RouterMap()
    old, new = handle(1, 6, 0), handle(1, 7, 0)
    router.login(b"a", old)
    router.login(b"b", old)
    router.login(b"c", new)
    assert [router.find(id) for id in (b"a", b"b", b"c")] == [None, None, new]
    assert not router.logout(old)
    assert router.find(b"c") == new


def test_login_twice_is_once() -> None:
    """A message goes once to a connection that logged in twice under one id."""
    hub = Hub(time.monotonic)
    router = hub.map
    router.login(b"a", handle(1, 1, 1))
    router.login(b"a", handle(1, 1, 1))
    assert router.logins == 1
    assert send_many(hub, [b"a"], [b"m"]) == {1: [(0, b"m", {handle(1, 1, 1)})]}


def test_the_batches_of_two_gateways() -> None:
    """Each gateway gets its share: a message once, with all its handles there, in order."""
    hub = Hub(time.monotonic)
    router = hub.map
    here, there, too = handle(1, 1, 4), handle(2, 1, 4), handle(2, 1, 5)
    router.login_many([b"a", b"a", b"a", b"b"], [here, there, too, there])
    sent = send_many(hub, [b"a", b"x", b"b", b"a"], [b"0", b"1", b"2", b"3"])
    assert sent == {
        1: [(0, b"0", {here}), (3, b"3", {here})],
        2: [(0, b"0", {there, too}), (2, b"2", {there}), (3, b"3", {there, too})],
    }


def test_login_many_takes_as_many_ids_as_handles() -> None:
    """A list that is short is an error, not a login that is missing."""
    with pytest.raises(ValueError, match=r"shorter|longer"):
        RouterMap().login_many([b"a", b"b"], [handle(1, 1, 1)])


def test_an_id_is_kept_once() -> None:
    """Equal ids of many connections are one object: what a user costs doesn't grow with them."""
    router = RouterMap()
    for slot in range(10):
        router.login(bytes(bytearray(b"a-long-user-id")), handle(1, 0, slot))
    assert len({id(held) for held in router._ids[1]}) == 1


def test_hostile_crowd_costs_what_others_cost() -> None:
    """Coming and going of very many connections of one id takes no more than that of as many ids
    (it took 700 times as much), in whatever order they go."""
    connections = 8000
    shuffled = list(range(connections))
    random.Random(1).shuffle(shuffled)

    def cost(ids_of: Callable[[int], bytes], order: Sequence[int]) -> float:
        router = RouterMap()
        before = time.process_time()
        for slot in range(connections):
            router.login(ids_of(slot), handle(1, 0, slot))
        for slot in order:
            router.logout(handle(1, 0, slot))
        assert len(router) == router.logins == 0
        return time.process_time() - before

    for order in (range(connections), range(connections)[::-1], shuffled):
        one, many = cost(lambda _: b"one", order), cost(b"%d".__mod__, order)
        assert one < 20 * many


def test_who_is_written_to_may_go() -> None:
    """All that `find` told are written to, though one of them turns out broken meanwhile."""
    router = RouterMap()
    handles = [handle(1, 0, slot) for slot in range(20)]
    router.login_many([b"a"] * 20, handles)
    found = router.find(b"a")
    assert isinstance(found, Crowd)
    seen = []
    for each in found:
        seen.append(each)
        router.logout(each)
    assert seen == handles
    assert router.find(b"a") is None
