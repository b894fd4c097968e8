"""PostgreSQL in particular: it goes away, and comes back."""

from collections.abc import Iterator

import psutil
import psycopg
import pytest
from reactor.turning import run_until
from system.node import until

from bench.servers.postgres import Postgres, missing
from encke.errors import StoreError
from encke.friends.directories import open_directory
from encke.friends.directory import Lookup
from encke.friends.opening import open_store
from encke.friends.postgres.directory import PostgresDirectory
from encke.friends.store import Page, Store
from encke.reactor.loop import Reactor

from .asking import ask, ask_until_answered

pytestmark = pytest.mark.skipif(bool(missing()), reason=str(missing()))


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A server that a test may kill."""
    with Postgres() as server:
        yield server


def test_a_server_that_goes_and_comes_back(own: Postgres) -> None:
    """While it's away a directory says so at once; later it finds its way back by itself."""
    store = open_store(own.url, "")
    store.add([(b"ben", b"ada")])
    reactor = Reactor()
    directory = open_directory(reactor, own.url, "")
    question = [Lookup(b"ada", None, 10)]
    answer = [Page([b"ben"], more=False)]
    assert ask(reactor, directory, *question) == answer
    own.end()
    assert ask(reactor, directory, *question) is None
    with pytest.raises(StoreError, match="can't be used"):
        store.add([(b"cid", b"ada")])
    own.start()
    assert ask_until_answered(reactor, directory, *question) == answer
    until(lambda: adds(store), "the store is back, too")
    directory.close()
    store.close()


def adds(store: Store) -> bool:
    """Whether the store takes a subscription that it has."""
    try:
        return store.add([(b"ben", b"ada")]) == 0
    except StoreError:
        return False


def test_a_server_that_hangs(own: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was stopped doesn't hold a question for ever."""
    monkeypatch.setattr("encke.friends.postgres.directory.TIMEOUT", 0.5)
    open_store(own.url, "").close()
    reactor = Reactor()
    directory = open_directory(reactor, own.url, "")
    question = [Lookup(b"ada", None, 10)]
    assert ask(reactor, directory, *question) == [Page([], more=False)]
    backends = psutil.Process(own.process.pid).children()
    for backend in backends:
        backend.suspend()
    try:
        assert ask(reactor, directory, *question) is None
    finally:
        for backend in backends:
            backend.resume()
    directory.close()


def test_a_store_whose_server_hangs(own: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was stopped in a statement, or before it, is given up; later it's back."""
    store = open_store(own.url, "")
    assert store.add([(b"ben", b"ada")]) == 1
    monkeypatch.setattr("encke.friends.postgres.database.PATIENCE", 0.5)
    with psycopg.connect(own.url) as other:
        other.execute("LOCK TABLE encke_subscriptions IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreError, match=r"no answer for 0\.5 s"):
            store.add([(b"cid", b"ada")])
    until(lambda: adds(store), "the store is back")
    server = psutil.Process(own.process.pid)
    stopped = [server, *server.children()]
    for process in stopped:
        process.suspend()
    try:
        with pytest.raises(StoreError, match="can't be used"):
            store.add([(b"cid", b"ada")])
    finally:
        for process in stopped:
            process.resume()
    until(lambda: adds(store), "the store is back, too")
    store.close()


def test_nobody_is_there() -> None:
    """An address where nothing listens: an error that says what to do, without the password."""
    url = "postgresql://encke:very-secret@127.0.0.1:1/nothing"
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/nothing") as error:
        open_store(url, "")
    assert "very-secret" not in str(error.value)
    reactor = Reactor()
    directory = open_directory(reactor, url, "")
    assert ask(reactor, directory, Lookup(b"ada", None, 10)) is None
    assert ask(reactor, directory, Lookup(b"ada", None, 10)) is None
    directory.close()


def test_no_url() -> None:
    """What is no URL of PostgreSQL's is refused in a sentence."""
    with pytest.raises(StoreError, match="postgresql://"):
        open_store("postgresql://[", "")


def test_an_attempt_that_comes_to_nothing_is_no_success(
    own: Postgres, capfd: pytest.CaptureFixture[str]
) -> None:
    """A database that may not be read is tried later and later, and complained of once."""
    open_store(own.url, "").close()
    with psycopg.connect(own.url, autocommit=True) as owner:
        owner.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
        owner.execute("GRANT SELECT ON encke_schema TO poor")
    reactor = Reactor()
    directory = PostgresDirectory(reactor, own.url.replace("encke:secret@", "poor:poor@"))
    assert ask(reactor, directory, Lookup(b"ada", None, 10)) is None
    run_until(reactor, lambda: directory._failures >= 4)
    directory.close()
    assert capfd.readouterr().err.count("friends-unavailable") == 1
