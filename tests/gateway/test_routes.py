"""Which request leads where, and what is said of one that leads nowhere."""

import pytest

from encke.gateway.routes import Action, Problem, Route, route
from encke.wire.cors import Cors
from encke.wire.message import Order, Verb
from encke.wire.protocols import PROTOCOLS
from encke.wire.request import Request


def led(method: bytes, target: bytes, key: str = "", **headers: bytes) -> Route | Problem:
    """Where a request leads."""
    fields = {name.encode(): value for name, value in headers.items()}
    return route(Request(method, target, fields, is_http_10=False), key, Cors(()))


@pytest.mark.parametrize("place", range(len(PROTOCOLS)))
def test_every_protocol_has_its_path(place: int) -> None:
    """A stream is asked for by GET; HEAD asks the same."""
    for method in (b"GET", b"HEAD"):
        where = led(method, b"/%b/ada" % PROTOCOLS[place].name)
        assert where == Route(Action.STREAM, b"ada", place)


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize(("path", "verb"), [(b"/send", Verb.SEND), (b"/publish", Verb.PUBLISH)])
def test_messages(path: bytes, verb: Verb, wait: bool) -> None:
    """One for an id, or NDJSON; ?wait=cluster is heard among other words of a query."""
    query = b"?a=b&wait=cluster" if wait else b"?a=b"
    order = Order(verb, wait)
    assert led(b"POST", path + b"/ada" + query) == Route(Action.SEND, b"ada", order=order)
    assert led(b"POST", path + query) == Route(Action.SEND_MANY, order=order)


@pytest.mark.parametrize(
    ("segment", "id"),
    [
        (b"a%40x.org", b"a@x.org"),
        (b"%61", b"a"),
        (b"x" * 128, b"x" * 128),
        (b"a:~_-.9", b"a:~_-.9"),
    ],
)
def test_ids_may_be_percent_encoded(segment: bytes, id: bytes) -> None:
    """An id is what it says, however it was written."""
    for where in (led(b"GET", b"/test/" + segment), led(b"POST", b"/send/" + segment)):
        assert isinstance(where, Route)
        assert where.id == id


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        (b"GET", b"/", 404),
        (b"GET", b"/test", 404),
        (b"GET", b"/tests/ada", 404),
        (b"PUT", b"/nowhere", 404),
        (b"POST", b"/test/ada", 405),
        (b"GET", b"/send/ada", 405),
        (b"DELETE", b"/publish", 405),
        (b"OPTIONS", b"/test/ada", 405),
        (b"GET", b"/test/", 400),
        (b"GET", b"/test/a/b", 400),
        (b"GET", b"/test/a%2Fb", 400),
        (b"GET", b"/test/..", 400),
        (b"GET", b"/test/%ff", 400),
        (b"POST", b"/send/", 400),
        (b"POST", b"/send/" + b"x" * 129, 400),
        (b"POST", b"/send?wait", 400),
        (b"POST", b"/send/ada?wait=node", 400),
        (b"POST", b"/send/ada?wait=cluster&wait=node", 400),
    ],
)
def test_what_leads_nowhere(method: bytes, target: bytes, status: int) -> None:
    """Each has its status and a sentence; whoever errs in the method is told the right ones."""
    problem = led(method, target)
    assert isinstance(problem, Problem)
    assert problem.status == status
    assert problem.detail.endswith(".")
    assert (b"Allow" in dict(problem.headers)) == (status == 405)


@pytest.mark.parametrize(
    ("shown", "enters"),
    [
        (b"Bearer key", True), (b"bearer  key ", True), (b"", False), (b"Bearer", False),
        (b"Bearer other", False), (b"Basic key", False), (b"Bearer keys", False),
    ],
)  # fmt: skip
def test_the_key_is_for_senders(shown: bytes, enters: bool) -> None:
    """Whoever sends shows it, in full; who listens needn't."""
    headers = {"authorization": shown} if shown else {}
    for path in (b"/send/ada", b"/send", b"/publish/ada", b"/send/a/b"):
        where = led(b"POST", path, "key", **headers)
        refused = isinstance(where, Problem) and where.status == 401
        assert refused != enters
    assert isinstance(led(b"GET", b"/test/ada", "key"), Route)
