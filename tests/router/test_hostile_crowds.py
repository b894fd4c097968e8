"""Ids with more connections than they may have."""

from array import array

from encke.ids import handle
from encke.wire.link import Hello, LoggedIn, Login, LoginRefused, Synced

from .ledgers import Books

A, B = 1, 2


def some(gateway: int, *slots: int) -> "array[int]":
    return array("Q", [handle(gateway, 0, slot) for slot in slots])


def test_who_was_a_stream_before_stays_one() -> None:
    """A new router takes them all, whatever the limit; it goes by those who come afterwards."""
    books = Books([A, B], most=2)
    for gateway in (A, B):
        books.linked(Hello(gateway))
    old = some(A, 1, 2, 3)
    assert books.received(A, Login(old, [b"ben"] * 3)) == [(A, LoggedIn(old))]
    books.received(A, Synced())
    assert books.received(A, Login(some(A, 4, 5), [b"ben", b"cid"])) == [
        (A, LoginRefused(some(A, 4))),
        (A, LoggedIn(some(A, 5))),
    ]
    old = some(B, 1)
    assert books.received(B, Login(old, [b"ben"])) == [(B, LoggedIn(old))]
    books.received(B, Synced())
    assert books.map.logins == 5


def test_the_limit_is_of_all_gateways_together() -> None:
    """It's the id's on this node."""
    books = Books(most=2)
    for gateway in (A, B):
        books.linked(Hello(gateway))
        books.received(gateway, Synced())
    books.received(A, Login(some(A, 1), [b"ben"]))
    books.received(B, Login(some(B, 1), [b"ben"]))
    assert books.received(A, Login(some(A, 2), [b"ben"])) == [
        (A, LoginRefused(some(A, 2))),
        (A, LoggedIn(some(A))),
    ]
    again = books.received(A, Login(some(A, 1), [b"ben"]))  # said twice
    assert again == [(A, LoggedIn(some(A, 1)))]
