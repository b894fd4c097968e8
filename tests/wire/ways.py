"""Ways to feed a decoder: whichever is taken, the same must come out."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
Feed = Callable[[bytes], Sequence[T]]


def bytewise(data: bytes) -> list[bytes]:
    """`data` in pieces of one byte."""
    return [data[i : i + 1] for i in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces, cut at `places` (any numbers: they are taken modulo its length)."""
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


PLACES = st.lists(st.integers(0, 100_000), max_size=12)
"""Where to `cut`."""


def fed(make: Callable[[], Feed[T]], pieces: Iterable[bytes]) -> list[T]:
    """What a new decoder makes of `pieces`."""
    feed = make()
    return [event for piece in pieces for event in feed(piece)]


def three_ways(
    make: Callable[[], Feed[T]],
    data: bytes,
    following: bytes,
    joined: Callable[[list[T]], list[T]] = list,
) -> list[T]:
    """What a decoder makes of `data`: the same whole, byte by byte, and with `following` behind.

    `make` gives the `feed` of a new decoder; `joined` puts together what may come in
    pieces.
    """
    whole = joined(fed(make, [data]))
    assert joined(fed(make, bytewise(data))) == whole
    assert joined(fed(make, [data + following])) == joined(fed(make, [data, following]))
    return whole
