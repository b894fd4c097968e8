"""The columns: rows of connections, their handles, and whose they are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from encke import ids
from encke.gateway.columns import Columns
from encke.gateway.life import FREE, NEW
from encke.ids import GENERATION_MASK, SLOT_MASK, generation_of

GATEWAY = 5

DECIMALS = st.integers(0, 10**20).map(lambda number: b"%d" % number)
ZEROED = st.builds(lambda zeros, id: b"0" * zeros + id, st.integers(1, 5), DECIMALS)
TEXTS = st.text("azAZ09-_.~@:", min_size=1, max_size=128).map(str.encode)
IDS = DECIMALS | ZEROED | TEXTS


class ColumnsMachine(RuleBasedStateMachine):
    """Connections come, get their user id, and go, in any order and on any descriptor."""

    fds = st.integers(0, 12).map(lambda fd: fd * 300)  # some beyond the rows there are
    places = st.integers(0, 1000)

    def __init__(self) -> None:
        super().__init__()
        self.columns = Columns(GATEWAY)
        self.users: dict[int, bytes | None] = {}
        self.given: set[int] = set()

    @rule(fd=fds)
    def take(self, fd: int) -> None:
        """A row that is taken has a handle that no connection had before."""
        if fd in self.users:
            return
        self.columns.take(fd)
        self.users[fd] = None
        handle = self.columns.handle[fd]
        assert handle not in self.given
        assert (handle >> ids.GATEWAY_SHIFT, handle & SLOT_MASK) == (GATEWAY, fd)
        self.given.add(handle)
        assert self.columns.state[fd] == NEW
        assert self.columns.count[fd] == 0

    @precondition(lambda self: self.users)
    @rule(place=places, id=IDS)
    def set_user(self, place: int, id: bytes) -> None:
        """A connection's user becomes known, once."""
        fd = sorted(self.users)[place % len(self.users)]
        if self.users[fd] is None:
            self.columns.set_user(fd, id)
            self.users[fd] = id
            self.columns.count[fd] += 1
            self.columns.deadline[fd] = 7

    @precondition(lambda self: self.users)
    @rule(place=places)
    def free(self, place: int) -> None:
        """A row that is free has no deadline, and keeps its generation."""
        fd = sorted(self.users)[place % len(self.users)]
        handle = self.columns.handle[fd]
        self.columns.free(fd)
        del self.users[fd]
        assert self.columns.state[fd] == FREE
        assert self.columns.deadline[fd] == 0
        assert self.columns.handle[fd] == handle

    @invariant()
    def ids_stay_apart(self) -> None:
        """Each row has the id that it was given, whatever happens to the others."""
        for fd, id in self.users.items():
            if id is not None:
                assert self.columns.get_user(fd) == id

    @invariant()
    def only_ids_in_use_are_kept(self) -> None:
        """Of ids that aren't plain numbers, as many are kept as there are rows with one."""
        kept = [text for text in self.columns._texts if text]
        used = [id for id in self.users.values() if id is not None and not plain(id)]
        assert sorted(kept) == sorted(used)


def plain(id: bytes) -> bool:
    """Whether `id` is a number that says itself in 63 bits."""
    return id.isdigit() and len(id) <= 18 and b"%d" % int(id) == id


ColumnsMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestColumns = ColumnsMachine.TestCase


@given(IDS)
def test_any_id_comes_back(id: bytes) -> None:
    """Whatever an id looks like, it comes back byte for byte."""
    columns = Columns(GATEWAY)
    columns.take(0)
    columns.set_user(0, id)
    assert columns.get_user(0) == id


@pytest.mark.parametrize(
    ("id", "packed"),
    [
        (b"0", True),
        (b"7", True),
        (b"123456789012345678", True),
        (b"999999999999999999", True),
        (b"1234567890123456789", False),
        (b"9223372036854775808", False),
        (b"00", False),
        (b"007", False),
        (b"-1", False),
        (b"1.5", False),
        (b"1_000", False),
        (b"1e3", False),
        (b"a", False),
        (b"1" * 128, False),
    ],
)
def test_plain_numbers_are_packed(id: bytes, packed: bool) -> None:
    """A number of up to 18 digits costs nothing but its row; leading zeros make another id."""
    columns = Columns(GATEWAY)
    columns.take(3)
    columns.set_user(3, id)
    assert columns.get_user(3) == id
    assert (columns._texts == []) == packed


def test_the_place_of_a_text_is_used_again() -> None:
    """A million connections after each other keep one text at a time."""
    columns = Columns(GATEWAY)
    for number in range(1000):
        columns.take(number % 7)
        columns.set_user(number % 7, b"user-%d" % number)
        columns.free(number % 7)
    assert len(columns._texts) == 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, GENERATION_MASK), st.integers(1, 50))
def test_a_handle_of_old_never_matches(generation: int, uses: int) -> None:
    """Each use of a row has another handle than those before, also where the generation
    starts over."""
    columns = Columns(GATEWAY)
    columns.take(9)
    columns.handle[9] = ids.handle(GATEWAY, generation, 9)
    seen = {columns.handle[9]}
    for use in range(1, uses + 1):
        columns.free(9)
        columns.take(9)
        handle = columns.handle[9]
        assert handle not in seen
        assert generation_of(handle) == (generation + use) & GENERATION_MASK
        assert (handle >> ids.GATEWAY_SHIFT, handle & SLOT_MASK) == (GATEWAY, 9)
        seen.add(handle)


def test_rows_grow_with_descriptors_and_cost_25_bytes() -> None:
    """The columns reach as far as the largest descriptor, in whole steps, at 25 bytes a row."""
    columns = Columns(GATEWAY)
    assert len(columns) == 0
    columns.take(1023)
    assert len(columns) == 1024
    columns.take(1024)
    assert len(columns) == 2048
    arrays = (columns.handle, columns.user, columns.count, columns.deadline)
    assert all(len(column) == 2048 for column in arrays)
    assert sum(column.itemsize for column in arrays) + 1 == 25
    assert columns.state.count(NEW) == 2
    assert columns.state.count(FREE) == 2046
