"""User ids and handles."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from encke import ids
from encke.errors import BadUserId, EnckeError

ALLOWED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~@:"
DOTS = (".", "..")


@given(st.text(ALLOWED, min_size=1, max_size=ids.MAX_USER_ID).filter(lambda it: it not in DOTS))
@example("...")
@example(".a")
@example("..a")
@example("a..")
def test_an_id_is_what_was_given(text: str) -> None:
    """An allowed id comes back as the bytes that travel, from str and from bytes."""
    assert ids.user_id(text) == text.encode()
    assert ids.user_id(text.encode()) == text.encode()
    assert ids.is_user_id(text.encode())


@given(st.binary(max_size=200))
@example(b".")
@example(b"..")
@example(b"..\n")
def test_any_bytes_are_an_id_or_an_error(raw: bytes) -> None:
    """Nothing else comes out; what isn't allowed is told in a sentence."""
    allowed = 1 <= len(raw) <= ids.MAX_USER_ID and set(raw) <= set(ALLOWED.encode())
    allowed &= raw not in (b".", b"..")
    assert bool(ids.is_user_id(raw)) == allowed
    if allowed:
        assert ids.user_id(raw) == raw
    else:
        with pytest.raises(BadUserId, match=r"it takes 1 to 128 characters of .*\."):
            ids.user_id(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "is empty"),
        ("a" * 129, "has 129 characters"),
        ("a b", "not allowed"),
        ("a/b", "not allowed"),
        ("a\n", "not allowed"),
        (".", r"id \. would be taken for a part of the path"),
        ("..", r"id \.\. would be taken for a part of the path"),
        ("é", "not allowed"),
        (b"\xc3\xa9", "not allowed"),
        ("\ud800", "not allowed"),
    ],
)
def test_a_bad_id_is_told_why(raw: str | bytes, reason: str) -> None:
    """The message says what is wrong; the error can be caught as Encke's, or as ValueError."""
    with pytest.raises(BadUserId, match=reason) as caught:
        ids.user_id(raw)
    assert isinstance(caught.value, EnckeError)
    assert isinstance(caught.value, ValueError)


gateways = st.integers(0, ids.MAX_GATEWAY)
generations = st.integers(0, ids.GENERATION_MASK)
slots = st.integers(0, ids.SLOT_MASK)


@given(gateways, generations, slots)
def test_a_handle_keeps_its_three_parts(gateway: int, generation: int, slot: int) -> None:
    """All three come out of 64 bits again."""
    handle = ids.handle(gateway, generation, slot)
    assert 0 <= handle < 1 << 64
    assert handle >> ids.GATEWAY_SHIFT == gateway
    assert ids.generation_of(handle) == generation
    assert handle & ids.SLOT_MASK == slot


@given(st.tuples(gateways, generations, slots), st.tuples(gateways, generations, slots))
def test_no_two_connections_share_a_handle(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    """Handles are equal only if gateway, generation and slot are."""
    assert (ids.handle(*one) == ids.handle(*other)) == (one == other)
