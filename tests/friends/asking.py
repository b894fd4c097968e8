"""Asking a directory on a loop, as a router does."""

import time

from reactor.turning import PATIENCE, run_until

from encke.friends.directory import Directory, Lookup
from encke.friends.store import Page
from encke.reactor.loop import Reactor


def ask(reactor: Reactor, directory: Directory, *lookups: Lookup) -> list[Page] | None:
    """What `directory` answers."""
    answers: list[list[Page] | None] = []
    directory.ask(list(lookups), answers.append)
    if not answers:
        run_until(reactor, lambda: bool(answers))
    (answer,) = answers
    return answer


def ask_until_answered(reactor: Reactor, directory: Directory, *lookups: Lookup) -> list[Page]:
    """The same, again and again until the store can be reached."""
    began = time.monotonic()
    while (answer := ask(reactor, directory, *lookups)) is None:
        assert time.monotonic() < began + PATIENCE, "the store can't be reached"
        turn = time.monotonic()
        reactor.again(0.05)
        run_until(reactor, lambda turn=turn: time.monotonic() > turn)  # type: ignore[misc]
    return answer


def asked(
    reactor: Reactor, directory: Directory, publisher: bytes, limit: int = 1000
) -> list[bytes]:
    """All subscribers of `publisher`, page by page."""
    ids: list[bytes] = []
    more = True
    while more:
        lookup = Lookup(publisher, ids[-1] if ids else None, limit)
        answer = ask(reactor, directory, lookup)
        assert answer is not None
        (page,) = answer
        assert len(page.ids) <= limit
        assert page.ids or not page.more
        ids += page.ids
        more = page.more
    return ids
