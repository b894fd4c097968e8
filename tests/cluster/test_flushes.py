"""Who waits for the server to have processed everything, without a server."""

from encke.cluster.flushes import Flushes


def test_one_ping_at_a_time() -> None:
    """Who asks while a PING is under way shares the next one."""
    flushes, told = Flushes(), list[tuple[int, bool]]()
    assert not flushes.due()
    flushes.add(lambda processed: told.append((1, processed)))
    flushes.add(lambda processed: told.append((2, processed)))
    assert flushes.due()
    flushes.add(lambda processed: told.append((3, processed)))
    assert not flushes.due()
    assert len(flushes) == 2
    flushes.pong()
    assert told == [(1, True), (2, True)]
    assert flushes.due()
    flushes.pong()
    assert told[2:] == [(3, True)]


def test_a_complaint_counts_until_the_next_pong() -> None:
    """Whoever waited for that PONG is told False, who waits for the one after isn't."""
    flushes, told = Flushes(), list[bool]()
    for _ in range(2):
        flushes.add(told.append)
        assert flushes.due()
        if not told:
            flushes.complained()
        flushes.pong()
    assert told == [False, True]


def test_who_waited_when_the_connection_ended() -> None:
    """All are given back, in order, and nothing is left of the old connection."""
    flushes, told = Flushes(), list[tuple[int, bool]]()
    flushes.add(lambda processed: told.append((1, processed)))
    assert flushes.due()
    flushes.add(lambda processed: told.append((2, processed)))
    flushes.complained()
    for done in flushes.reset():
        done(False)
    assert told == [(1, False), (2, False)]
    flushes.add(lambda processed: told.append((3, processed)))
    assert flushes.due()
    flushes.pong()
    assert told[2:] == [(3, True)]
