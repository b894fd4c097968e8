"""When the next attempt at a server is made."""

from encke.cluster.retries import FIRST_PAUSE, STABLE, Retries


def test_all_servers_come_first() -> None:
    """Pauses are short until each server was tried once, and grow with each round of all."""
    retries = Retries(limit=100.0)
    pauses = [retries.failed(ready_for=0.0, servers=3, refused=False) for _ in range(9)]
    assert max(pauses[:2]) <= FIRST_PAUSE
    for begin, longest in ((2, 2 * FIRST_PAUSE), (5, 4 * FIRST_PAUSE), (8, 8 * FIRST_PAUSE)):
        for pause in pauses[begin : begin + 3]:
            assert longest / 2 <= pause <= longest


def test_a_link_that_lasted() -> None:
    """Its loss is the first failure; that of a link which was READY for a moment isn't."""
    retries = Retries(limit=100.0)
    for _ in range(5):
        retries.failed(ready_for=STABLE / 2, servers=1, refused=False)
    assert retries.failures == 5
    assert retries.failed(ready_for=STABLE + 1, servers=1, refused=False) <= FIRST_PAUSE
    assert retries.failures == 0


def test_who_is_refused_does_not_hurry() -> None:
    """Of the longest pause it's half at least, however few failures there were."""
    retries = Retries(limit=100.0)
    assert retries.failed(ready_for=0.0, servers=1, refused=True) >= 50
