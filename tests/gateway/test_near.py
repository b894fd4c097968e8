"""The near router: what it does at once, and what it leaves for later turns.

What holds of both routers is in test_router_contract.
"""

from types import SimpleNamespace

import pytest

from encke.friends import lookups
from encke.gateway import near
from encke.hub.limits import FIRST_PAGE, NEAR_A_TURN, REST

from .two_routers import Friends, House, Sender

STAR = [b"%04d" % number for number in range(3 * FIRST_PAGE)]


@pytest.fixture
def friends(monkeypatch: pytest.MonkeyPatch) -> Friends:
    friends = Friends({b"star": STAR})
    monkeypatch.setattr(lookups, "open_directory", lambda *_: friends)
    return friends


def test_a_message_is_answered_at_once(friends: Friends) -> None:
    """It's delivered, and its sender told, before `send` returns; also one for several."""
    house, sender = House(far=False, friends=friends), Sender(1)
    for slot in range(3):
        house.login(b"ben", slot)
    house.send(sender, (b"ben", b"1"), (b"0001", b"2"))
    assert not sender.open
    assert sender.delivered == 3
    house.close()


def test_a_turn_has_only_so_much_room(friends: Friends) -> None:
    """What has no room in this turn waits, and with it all that comes; until then it's full."""
    house, sender = House(far=False, friends=friends), Sender(1)
    many = [b"%d" % number for number in range(16)]
    for slot in range(NEAR_A_TURN):
        house.login(many[slot % 16], slot)
    ben = house.login(b"ben", NEAR_A_TURN)
    house.send(sender, *[(id, b"1") for id in many])
    assert sender.delivered == NEAR_A_TURN
    house.send(sender, *[(id, b"2") for id in many])
    house.send(sender, *[(id, b"3") for id in many])
    house.send(sender, (b"ben", b"4"))
    assert house.router.full
    assert ben not in house.got
    turns = 0
    while sender.open:
        house.router.flush()
        turns += 1
    assert turns >= 2
    house.router.flush()
    assert house.resumed == 1
    assert house.got[ben] == [b"4"]
    assert sender.delivered == 3 * NEAR_A_TURN + 1
    house.close()


def test_a_large_publications_pace_is_that_of_its_writes(
    friends: Friends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page counts as written at the turn's end; if others send, the next one rests as long."""
    now = [100.0]
    monkeypatch.setattr(near, "time", SimpleNamespace(monotonic=lambda: now[0]))
    house, star, sender = House(far=False, friends=friends), Sender(1), Sender(2)
    for slot, id in enumerate(STAR):
        house.login(id, slot)
    house.publish(star, (b"star", b"large"))
    house.send(sender, (b"nobody", b""))
    house.router.flush()
    page = len(house.got)
    assert 0 < page < len(STAR)
    now[0] += 0.05  # so long takes the write
    house.router.flush()
    now[0] += REST * 0.04
    house.router.flush()
    assert len(house.got) == page
    now[0] += REST * 0.02
    house.router.flush()
    assert len(house.got) > page
    house.until_done(star)
    assert star.delivered == len(STAR)
    house.close()
