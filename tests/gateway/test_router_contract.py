"""The contract of the port: what holds of the router, whether it's near or far.

Each test runs against the hub in the gateway's process, and against a router process's ledger over
a real Unix socket.
"""

from collections.abc import Iterator
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encke.friends import lookups
from encke.hub.limits import FIRST_PAGE, NEAR_A_TURN, SLICE
from encke.wire.message import OVERHEAD, Order, Status, Verb

from .two_routers import Friends, House, Sender

STAR = [b"%04d" % number for number in range(4 * FIRST_PAGE)]
"""Subscribers of `star`, who has several pages of them."""

FRIENDS = {b"star": STAR, b"ada": [b"ben", b"cid"], b"self": [b"self", b"ben"]}


class Make(Protocol):
    """Makes a house with the one router or the other."""

    def __call__(self, window: int = 1 << 20, store: str = "sqlite", most: int = 0) -> House: ...


@pytest.fixture(params=["near", "far"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a house with the one router or the other."""
    houses: list[House] = []

    def build(window: int = 1 << 20, store: str = "sqlite", most: int = 0) -> House:
        friends = Friends(FRIENDS)
        monkeypatch.setattr(lookups, "open_directory", lambda *_: friends)
        house = House(
            far=request.param == "far", friends=friends, window=window, store=store, most=most
        )
        houses.append(house)
        return house

    yield build
    for house in houses:
        house.close()


def test_a_login_is_acknowledged(make: Make) -> None:
    """Who has been told so gets what is sent from then on."""
    house, sender = make(), Sender(1)
    ben = house.login(b"ben", 1)
    house.until(lambda: house.reached == [ben])
    house.send(sender, (b"ben", b"hello"))
    house.until_done(sender)
    assert house.got == {ben: [b"hello"]}
    assert sender.delivered == 1


@pytest.mark.parametrize("most", [1, 3, 12])
def test_hostile_users_have_so_many_connections(make: Make, most: int) -> None:
    """One more than an id may have isn't logged in; once another has gone, it may come again."""
    house, sender = make(most=most), Sender(1)
    here = [house.login(b"ben", slot) for slot in range(most)]
    over = [house.login(b"ben", slot) for slot in range(most, most + 3)]
    cid = house.login(b"cid", 99)
    house.until(lambda: len(house.reached) == most + 1)
    assert house.reached == [*here, cid]
    house.until(lambda: house.turned_away == over)
    for one in over:
        house.logout(one)  # as each connection that ends
    house.send(sender, (b"ben", b"1"))
    house.until_done(sender)
    assert sender.delivered == most
    house.logout(here[0])
    house.quiet()
    again = house.login(b"ben", most, 2)
    house.until(lambda: again in house.reached)


def test_who_has_logged_out_gets_nothing(make: Make) -> None:
    """Before a message, behind one, and in the turn of the login."""
    house, sender = make(), Sender(1)
    ben = house.login(b"ben", 1)
    house.quiet()
    house.send(sender, (b"ben", b"1"))
    house.until_done(sender)
    house.logout(ben)
    house.logout(house.login(b"ben", 2))
    house.quiet()
    house.send(sender, (b"ben", b"2"))
    house.until_done(sender)
    assert house.got == {ben: [b"1"]}
    assert sender.delivered == 1


def test_a_row_may_be_reused_within_a_turn(make: Make) -> None:
    """The end of an old generation isn't that of the new one, which may have the same id."""
    house, sender = make(), Sender(1)
    old = house.login(b"ben", 1, 1)
    house.quiet()
    house.logout(old)
    house.logout(house.login(b"cid", 1, 2))
    new = house.login(b"ben", 1, 3)
    house.quiet()
    house.send(sender, (b"ben", b"1"), (b"cid", b"2"))
    house.until_done(sender)
    assert house.got == {new: [b"1"]}
    assert sender.delivered == 1


def test_a_senders_messages_keep_their_order(make: Make) -> None:
    """In one batch and over many turns, to one user or several."""
    house, sender = make(), Sender(1)
    ben, cid = house.login(b"ben", 1), house.login(b"cid", 2)
    house.quiet()
    for number in range(30):
        house.send(
            sender, *[(id, b"%d.%d" % (number, k)) for k in (0, 1) for id in (b"ben", b"cid")]
        )
        if number % 3:
            house.until(lambda: True)
    house.until_done(sender)
    order = [b"%d.%d" % (number, k) for number in range(30) for k in (0, 1)]
    assert house.got == {ben: order, cid: order}
    assert sender.delivered == 120


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sent=st.lists(
        st.tuples(st.integers(1, 3), st.booleans(), st.sampled_from([10, 700_000])), max_size=12
    )
)
def test_hostile_mixtures_keep_their_order(make: Make, sent: list[tuple[int, bool, int]]) -> None:
    """Who waits for all nodes with some messages, and not with others, overtakes nobody."""
    house = make(window=1 << 24)
    ben = house.login(b"ben", 1)
    house.quiet()
    senders = {lane: Sender(lane) for lane in (1, 2, 3)}
    for number, (lane, wait, size) in enumerate(sent):
        message = b"%d.%03d" % (lane, number) + b"." * size
        house.send(senders[lane], (b"ben", message), order=Order(Verb.SEND, wait))
    house.until_done(*senders.values())
    for lane in senders:
        got = [int(it[2:5]) for it in house.got[ben] if it[0] == lane + ord("0")]
        assert got == [number for number, it in enumerate(sent) if it[0] == lane]


def test_all_connections_of_a_user(make: Make) -> None:
    """Each gets it once, and is counted; who isn't there isn't."""
    house, sender = make(), Sender(1)
    here = [house.login(b"ben", slot) for slot in range(5)]
    cid = house.login(b"cid", 9)
    house.quiet()
    house.send(sender, (b"ben", b"1"), (b"nobody", b"2"), (b"cid", b"3"), (b"ben", b"4"))
    house.until_done(sender)
    assert house.got == {one: [b"1", b"4"] for one in here} | {cid: [b"3"]}
    assert sender.delivered == 11


def test_what_was_missed_is_not_counted(make: Make) -> None:
    """Connections that have gone, of which the router hasn't heard: sent or published."""
    house, sent, published = make(), Sender(1), Sender(2)
    here = [house.login(b"ben", slot) for slot in range(3)]
    cid = house.login(b"cid", 9)
    house.quiet()
    house.missing = {here[0], cid}
    house.send(sent, (b"cid", b"1"), (b"ben", b"2"))
    house.publish(published, (b"ada", b"3"))
    house.until_done(sent, published)
    assert (sent.delivered, published.delivered) == (2, 2)


def test_empty_batches_and_messages(make: Make) -> None:
    """An empty message is one; it's delivered, and counted."""
    house, sender = make(), Sender(1)
    ben = house.login(b"ben", 1)
    house.quiet()
    house.send(sender, (b"ben", b""), (b"nobody", b""))
    house.publish(sender, (b"self", b""))
    house.until_done(sender)
    assert house.got == {ben: [b"", b""]}
    assert sender.delivered == 2


def test_more_than_a_slice(make: Make) -> None:
    """Messages for very many connections are cut into slices: all arrive, in order, and are
    counted; what the sender sends behind them doesn't overtake them."""
    house, sender = make(), Sender(1)
    for slot in range(SLICE + 1):
        house.login(b"star", slot)
    ben = house.login(b"ben", 99_999)
    house.quiet()
    for number in range(6):
        house.send(sender, (b"star", b"%d" % number), (b"ben", b"b%d" % number))
    house.send(sender, (b"ben", b"last"))
    house.until_done(sender)
    assert house.got.pop(ben) == [b"b%d" % number for number in range(6)] + [b"last"]
    assert len(house.got) == SLICE + 1
    assert set(map(tuple, house.got.values())) == {tuple(b"%d" % number for number in range(6))}
    assert sender.delivered == 6 * (SLICE + 2) + 1


def test_a_batch_for_very_many(make: Make) -> None:
    """One batch that names more connections than a turn has room for is told of as a whole."""
    house, sender = make(), Sender(1)
    for slot in range(3_000):
        house.login(b"star", slot)
    house.quiet()
    house.send(sender, *[(b"star", b"%d" % number) for number in range(10)])
    assert house.most_a_turn <= NEAR_A_TURN
    house.until_done(sender)
    assert sender.delivered == 30_000
    assert set(map(tuple, house.got.values())) == {tuple(b"%d" % number for number in range(10))}


def test_a_publication_reaches_subscribers_and_publisher(make: Make) -> None:
    """Each once, on each of their connections, with the publisher's id."""
    house, sender = make(), Sender(1)
    ada, me = house.login(b"ada", 1), house.login(b"self", 2)
    ben = [house.login(b"ben", 3), house.login(b"ben", 4)]
    house.quiet()
    house.publish(sender, (b"ada", b"1"), (b"self", b"2"))
    house.until_done(sender)
    assert house.got == {ada: [b"1"], me: [b"2"], ben[0]: [b"1", b"2"], ben[1]: [b"1", b"2"]}
    assert house.publishers[ben[0]] == [b"ada", b"self"]
    assert sender.delivered == 6


def test_a_lane_keeps_its_order_behind_a_large_one(make: Make) -> None:
    """What a sender publishes behind a large one comes behind it; other senders go on."""
    house, sender, other = make(), Sender(1), Sender(2)
    everyone = [house.login(id, slot) for slot, id in enumerate(STAR)]
    ben = house.login(b"ben", 9_999)
    house.quiet()
    house.publish(sender, (b"star", b"large"))
    house.publish(sender, (b"star", b"small"), (b"ada", b"after"))
    house.until(lambda: True)  # far: what is sent in one turn is answered together
    house.publish(other, (b"ada", b"other"))
    house.until_done(other)
    assert sender.open
    house.until_done(sender)
    assert house.got.pop(ben) == [b"other", b"after"]
    assert house.got == {one: [b"large", b"small"] for one in everyone}
    assert (sender.delivered, other.delivered) == (2 * len(STAR) + 1, 1)


def test_messages_pass_a_large_publication(make: Make) -> None:
    """Between two pages messages to users are delivered."""
    house, star, sender = make(), Sender(1), Sender(2)
    for slot, id in enumerate(STAR):
        house.login(id, slot)
    ben = house.login(b"ben", 9_999)
    house.quiet()
    house.publish(star, (b"star", b"large"))
    house.send(sender, (b"ben", b"1"))
    house.until_done(sender)
    assert star.open
    assert house.got[ben] == [b"1"]
    house.until_done(star)
    assert star.delivered == len(STAR)


def test_friends_are_off(make: Make) -> None:
    """Publications fail, each with its reason; messages don't."""
    house, sender = make(store="off"), Sender(1)
    house.login(b"ben", 1)
    house.quiet()
    house.publish(sender, (b"ada", b"1"), (b"ada", b"2"))
    house.send(sender, (b"ben", b"3"))
    house.until_done(sender)
    assert sender.failed_with == [Status.OFF, Status.OFF]
    assert sender.delivered == 1


def test_the_store_is_away(make: Make) -> None:
    """What is published meanwhile fails; what is published afterwards doesn't."""
    house, sender = make(), Sender(1)
    house.login(b"ben", 1)
    house.quiet()
    house.friends.away = True
    house.publish(sender, (b"ada", b"1"))
    house.until_done(sender)
    house.friends.away = False
    house.publish(sender, (b"ada", b"2"))
    house.until_done(sender)
    assert sender.failed_with == [Status.UNKNOWN]
    assert sender.delivered == 1


def test_a_store_that_goes_in_the_middle(make: Make) -> None:
    """A large one whose next page can't be looked up fails, though some have got it; what is
    behind it isn't held for ever."""
    house, sender = make(), Sender(1)
    first = house.login(STAR[0], 1)
    house.quiet()
    house.friends.left = 1
    house.publish(sender, (b"star", b"large"), (b"ada", b"small"))
    house.until_done(sender)
    assert sender.failed_with == [Status.UNKNOWN]
    assert house.got == {first: [b"large"]}
    assert sender.delivered == 0


@pytest.mark.parametrize("data", [b"x" * 100, b""], ids=["some", "empty"])
def test_full_and_resume(make: Make, data: bytes) -> None:
    """As much as the window is taken, with what an empty message counts for; then `full` says so
    until there's room, and `resume` is called."""
    count = 20
    house, sender = make(window=count * (len(data) + OVERHEAD)), Sender(1)
    house.login(b"ben", 1)
    house.quiet()
    for _ in range(count):
        assert not house.router.full
        house.publish(sender, (b"ada", data))
    assert house.router.full
    resumed = house.resumed
    house.until_done(sender)
    house.until(lambda: not house.router.full)
    assert house.resumed > resumed
    assert sender.delivered == count
    house.send(sender, (b"ben", data))
    house.until_done(sender)


def test_waiting_for_all_nodes_is_the_same_where_there_is_one(make: Make) -> None:
    """With `wait`, the same connections are counted."""
    house, sender = make(), Sender(1)
    house.login(b"ben", 1)
    house.quiet()
    for verb in Verb:
        house.send(sender, (b"ben", b"1"), order=Order(verb, wait=True))
    house.until_done(sender)
    assert sender.delivered == 2


def test_a_router_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one that is far can: what was under way has failed, what comes then fails at once."""
    friends = Friends(FRIENDS)
    monkeypatch.setattr(lookups, "open_directory", lambda *_: friends)
    house, sender = House(far=True, friends=friends), Sender(1)
    house.send(sender, (b"ben", b"1"), (b"ben", b"2"))
    house.end_router()
    house.until(lambda: not house.router.available)
    assert sender.failed_with == [None, None]
    house.send(sender, (b"ben", b"3"))
    assert sender.failed_with == [None] * 3
    house.close()


USERS = st.sampled_from([b"ben", b"cid", b"ada", b"self", b"0001", b"1000", b"nobody"])
SENT_TO = st.sampled_from([b"ben", b"ada", b"self", b"star"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("login"), USERS, st.integers(0, 4)),
        st.tuples(st.just("logout"), st.integers(0, 4)),
        st.tuples(
            st.just("send"),
            st.lists(
                st.tuples(
                    st.integers(0, 2),
                    st.sampled_from(Verb),
                    st.lists(SENT_TO, min_size=1, max_size=3),
                ),
                max_size=4,
            ),
        ),
        st.tuples(st.just("miss"), st.integers(0, 4)),
    ),
    max_size=12,
)


def played(steps: list[tuple[object, ...]], *, far: bool) -> object:
    """What comes of it: by connection, each lane's messages in their order; and by sender, the
    count."""
    house = House(far=far, friends=Friends(FRIENDS))
    senders = [Sender(lane) for lane in range(3)]
    rows: dict[int, int] = {}
    generation = number = 0
    for step in steps:
        match step:
            case ("login", bytes(id), int(row)):
                generation += 1
                if row in rows:
                    house.logout(rows[row])
                rows[row] = house.login(id, row, generation)
            case ("logout", int(row)) if row in rows:
                house.logout(rows.pop(row))
            case ("miss", int(row)) if row in rows:
                house.missing.add(rows[row])
            case ("send", list(batches)):
                for lane, verb, ids in batches:
                    pairs = []
                    for id in ids:
                        number += 1
                        pairs.append((id, b"%d.%d.%d" % (lane, verb, number)))
                    house.send(senders[lane], *pairs, order=Order(verb))
        house.quiet()
        house.until_done(*senders)
    house.close()
    lanes = {
        (one, begin): [data for data in got if data.startswith(begin)]
        for one, got in house.got.items()
        for begin in {data[:4] for data in got}
    }
    return lanes, [(it.sent, it.delivered, it.failed_with) for it in senders]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_near_and_far_are_the_same(
    monkeypatch: pytest.MonkeyPatch, steps: list[tuple[object, ...]]
) -> None:
    """Whatever is logged in, missed, sent and published: the same connections get the same, in
    each sender's order, and are counted."""
    monkeypatch.setattr(lookups, "open_directory", lambda *_: Friends(FRIENDS))
    assert played(steps, far=False) == played(steps, far=True)
