"""Slices: in which order and pieces is written what a turn had no room for."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.gateway.port import Late
from encke.gateway.slices import PIECE, WRITE, Part, Slices
from encke.wire.message import Message


class Writer:
    """Takes down what is written, `size` bytes a message."""

    def __init__(self, size: int = PIECE) -> None:
        self.size = size
        self.slices = Slices(self._write)
        self.got: dict[int, list[bytes]] = defaultdict(list)
        self.order: list[bytes] = []
        self.done: list[tuple[bytes, int]] = []

    def _write(self, part: Part, handle: int) -> int:
        self.got[handle].append(part.message.data)
        self.order.append(part.message.data)
        part.late.delivered += 1
        return self.size

    def deliver(self, *messages: tuple[bytes, list[int]]) -> Late | None:
        """Put all of a delivery off; it's in `done`, by its first message, once it is, with the
        number of connections that have got something of it."""
        late = None
        for index, (data, handles) in enumerate(messages):
            for handle in handles:
                late = self.slices.put_off(late, index, Message(data), {}, handle)
        if late is not None:
            late.wait(0, {}, lambda delivered, _: self.done.append((messages[0][0], delivered)))
        return late


def test_a_turn_writes_so_much() -> None:
    """About as many bytes as there's room, what a write costs counted; then it's the next turn."""
    writer = Writer(100_000)
    writer.deliver((b"a", list(range(100))))
    for turn in range(1, 11):
        writer.slices.go_on(10 * (100_000 + WRITE))
        assert len(writer.order) == 10 * turn
        assert writer.done == [(b"a", 100)] * (turn == 10)
    assert not writer.slices.waiting


def test_a_message_for_few_does_not_wait_for_one_for_very_many() -> None:
    """Messages have turns: who has one of them is reached after a piece of each."""
    writer = Writer()
    writer.deliver((b"many", list(range(1000))))
    writer.deliver((b"too", list(range(1000, 2000))))
    writer.deliver((b"few", [2000]))
    writer.slices.go_on(4 * PIECE)
    assert b"few" in writer.order
    assert len(writer.order) <= 4
    assert writer.done == [(b"few", 1)]


def test_small_ones_share_a_turn() -> None:
    """A turn of a message is as many connections as a piece has room for."""
    writer = Writer(0)
    writer.deliver((b"a", list(range(1000))))
    writer.deliver((b"b", list(range(1000, 2000))))
    writer.slices.go_on(1)
    assert writer.order == [b"a"] * (PIECE // WRITE)


@pytest.mark.parametrize("shared", [[], [3], [3, 4, 5]])
def test_who_waits_for_one_gets_the_next_behind_it(shared: list[int]) -> None:
    """A message to a connection that waits for an older one is written behind it, and with it all
    of that message; one to others only isn't held up."""
    writer = Writer()
    writer.deliver((b"old", list(range(6))))
    writer.deliver((b"new", [*shared, 6, 7]))
    writer.deliver((b"other", [8]))
    assert set(writer.slices.waiting) == set(range(9))
    writer.slices.go_on(3 * PIECE)
    assert (b"new" in writer.order) == (not shared)
    assert b"other" in writer.order
    writer.slices.go_on(1 << 30)
    for handle in shared:
        assert writer.got[handle] == [b"old", b"new"]
    assert writer.done[-1][0] == (b"new" if shared else b"old")


def test_two_messages_of_one_delivery() -> None:
    """It's done once both are written."""
    writer = Writer()
    late = writer.deliver((b"a", [1, 2]), (b"b", [2, 3]))
    assert late is not None
    late.delivered += 5  # at once
    writer.slices.go_on(3 * PIECE)
    assert writer.done == []
    writer.slices.go_on(1 << 30)
    assert writer.done == [(b"a", 9)]
    assert writer.got == {1: [b"a"], 2: [b"a", b"b"], 3: [b"b"]}


STEPS = st.lists(
    st.one_of(
        st.lists(st.sets(st.integers(0, 9), min_size=1), min_size=1, max_size=3),
        st.integers(0, 6 * PIECE),
    ),
    max_size=30,
)


@given(STEPS)
def test_each_connection_gets_all_in_order(steps: list[list[set[int]] | int]) -> None:
    """However deliveries and turns follow each other, a connection gets its messages in the order
    in which they were put off; and each delivery is done once, when all of it is written."""
    writer, expected = Writer(), defaultdict(list)
    sizes: dict[bytes, int] = {}
    for number, step in enumerate([*steps, 1 << 30]):
        if isinstance(step, int):
            writer.slices.go_on(step)
            continue
        messages = [(b"%d.%d" % (number, place), sorted(to)) for place, to in enumerate(step)]
        writer.deliver(*messages)
        sizes[messages[0][0]] = sum(len(handles) for _, handles in messages)
        for data, handles in messages:
            for handle in handles:
                expected[handle].append(data)
    assert writer.got == expected
    assert dict(writer.done) == sizes
    assert len(writer.done) == len(sizes)
    assert not writer.slices.waiting
