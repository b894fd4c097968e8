"""An awake connection: answers leave in the order of the requests, whichever is known first."""

from encke.gateway.exchange import Exchange, Handler
from encke.wire.http import RequestParser
from encke.wire.request import Request

from .harness import post, running


def test_whoever_is_known_first_waits_for_its_turn() -> None:
    """The answer to the last request is known first, and leaves last; a refusal too."""
    with running() as server:
        client = server.connect()
        client.say(post(b"/send/a", b"1") + post(b"/nowhere", b"") + post(b"/send/b", b"2"))
        first, last = server.router.sent
        last.sender.settled(1, 20)
        assert client.take_all() == b""
        first.sender.settled(1, 10)
        client.take_all()
        assert [it.status for it in client.answers] == [200, 404, 200]
        bodies = [it.body for it in client.answers]
        assert (bodies[0], bodies[2]) == (b'{"delivered": 10}', b'{"delivered": 20}')


def test_who_is_cut_off_owes_nothing_more() -> None:
    """The request that is being read goes, with its handler; those before it stay."""
    exchange = Exchange(RequestParser())
    first, second = Handler(exchange), Handler(exchange)
    exchange.request = Request(b"POST", b"/", {}, is_http_10=False)
    exchange.handler = second
    exchange.cut_off()
    exchange.cut_off()  # nothing is being read any more
    assert list(exchange.owed) == [first]


def test_an_ended_one_is_nobodys() -> None:
    """Whoever has an answer for it sees that it needn't be given."""
    exchange = Exchange(RequestParser())
    exchange.fd, exchange.handler = 9, Handler(exchange)
    exchange.end()
    assert exchange.fd == -1
    assert not exchange.owed
    assert exchange.parser.closed
