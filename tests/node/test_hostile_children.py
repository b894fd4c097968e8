"""What the supervisor decides of a process that dies again and again."""

from encke.ids import MAX_GATEWAY
from encke.node.children import HEALTHY, LONGEST_PAUSE, Child, number_after


def test_numbers_in_use_are_skipped() -> None:
    """Who dies once a second for 18 hours gets each number, but none of a living gateway."""
    living = {1, 2, 40_000, MAX_GATEWAY}
    given, last = [], 2
    for _ in range(2 * MAX_GATEWAY):
        last = number_after(last, living)
        given.append(last)
    assert not living & set(given)
    assert set(given) == set(range(1, MAX_GATEWAY + 1)) - living
    assert len(set(given[: MAX_GATEWAY - len(living)])) == MAX_GATEWAY - len(living)


def test_who_can_not_live_is_started_less_and_less_often() -> None:
    """The pause is twice the one before, from 1 s to 30 s; who had lived for a while has none."""
    child = Child("gateway-0", 4, lambda: None, 17)
    now, pauses = 100.0, []
    for _ in range(8):
        child.started = now
        now += HEALTHY / 2
        child.gone(now)
        assert child.pid == 0
        pauses.append(child.due - now)
        now = child.due
    assert pauses == [1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    for lived, pause in ((HEALTHY, 0), (HEALTHY - 0.01, 1), (0.0, 2), (1000.0, 0), (0.0, 1)):
        child.started = now
        now += lived
        child.gone(now)
        assert child.due == now + pause
        now = child.due
