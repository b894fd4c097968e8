"""Subjects: every id has its own, and nothing else is one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encke.errors import BadSettings, BadUserId
from encke.ids import is_user_id
from encke.wire import subjects
from encke.wire.subjects import MAX_PREFIX, Subjects

ALPHABET = string.ascii_letters + string.digits + "-_.~@:"
IDS = st.text(ALPHABET, min_size=1, max_size=128).map(str.encode).filter(is_user_id)


@pytest.mark.parametrize(
    ("id", "subject"),
    [
        (b"123", b"encke.user.123"),
        (b"ada@example.org", b"encke.user.ada@example,org"),
        (b"a-b_c~d:e", b"encke.user.a-b_c~d:e"),
        (b"...", b"encke.user.,,,"),
    ],
)
def test_the_documented_subjects(id: bytes, subject: bytes) -> None:
    """The subjects that other programs may publish to, as documented."""
    assert Subjects().user(id) == subject
    assert Subjects().user_id(subject) == id


@given(IDS)
def test_there_and_back(id: bytes) -> None:
    """Every id comes back; its token is one token without wildcards, as long as the id."""
    token = subjects.token(id)
    assert subjects.user_id(token) == id
    assert len(token) == len(id)
    assert not set(token) & set(b".*> \t\r\n")
    several = Subjects("some.prefix")
    assert several.user(id) == b"some.prefix.user." + token
    assert several.user_id(several.user(id)) == id


@given(IDS, IDS)
def test_different_ids_have_different_tokens(one: bytes, other: bytes) -> None:
    """No two users share a subject."""
    assert (subjects.token(one) == subjects.token(other)) == (one == other)


@given(st.lists(IDS, max_size=9))
def test_many_are_as_each(ids: list[bytes]) -> None:
    """A batch gives the same subjects as one by one."""
    assert Subjects().users(ids) == [Subjects().user(id) for id in ids]
    assert Subjects("a.b").publications(ids) == [b"a.b.publish." + subjects.token(id) for id in ids]


def test_other_subjects() -> None:
    """The rest of the contract, for any prefix."""
    several = Subjects("some.prefix")
    assert several.all_publications == b"some.prefix.publish.*"
    assert several.to_send == b"some.prefix.ask.user."
    assert several.to_publish == b"some.prefix.ask.publish."
    assert several.reply == b"some.prefix.reply."
    assert several.node == b"some.prefix.node."


@given(st.binary(max_size=140) | st.text(ALPHABET + ",*> %", max_size=140).map(str.encode))
def test_what_is_no_token_is_refused(raw: bytes) -> None:
    """What is taken for a token is the token of the id that it gives."""
    try:
        id = subjects.user_id(raw)
    except BadUserId:
        return
    assert subjects.token(id) == raw
    assert all(chr(byte) in ALPHABET for byte in id)


@pytest.mark.parametrize(
    "raw",
    [b"", b"a.b", b"*", b">", b"a b", b"a\n", b"%2E", b"a" * 129, b"\xc3\xa9", b"a/b", b",", b",,"],
)
def test_tokens_that_are_none(raw: bytes) -> None:
    """These are nobody's."""
    with pytest.raises(BadUserId):
        subjects.user_id(raw)


@pytest.mark.parametrize(
    "subject", [b"", b"encke.user", b"encke.user.", b"encke.users.1", b"other.user.1", b"encke.1"]
)
def test_subjects_that_are_no_users(subject: bytes) -> None:
    """Subjects of other systems, or of something else, are nobody's."""
    with pytest.raises(BadUserId):
        Subjects().user_id(subject)


@pytest.mark.parametrize("prefix", ["encke", "a.b.c", "team-1_x", "E", "x" * MAX_PREFIX])
def test_prefixes(prefix: str) -> None:
    """A prefix is one or more tokens of letters, digits, - and _."""
    assert Subjects(prefix).user(b"1") == b"%b.user.1" % prefix.encode()


@pytest.mark.parametrize(
    "prefix",
    ["", ".", "a.", ".a", "a..b", "*", ">", "a.*", "$SYS", "a b", "a\n", "é", "x" * 129],
)
def test_prefixes_that_cannot_be(prefix: str) -> None:
    """What NATS would read otherwise, or not at all, is refused with what is allowed."""
    with pytest.raises(BadSettings, match="A-Z a-z 0-9"):
        Subjects(prefix)
