"""Bodies that don't come to an end: what is kept of all of them, and for how long; in process."""

import json
from collections.abc import Iterator

import pytest

from encke.gateway import sockets
from encke.gateway.bodies import PROGRESS
from encke.gateway.connections import TICK
from encke.settings import Settings

from .harness import Client, Server, post, running

TOTAL = 100_000
RATE = 1000
TIMEOUT = 10
LINE = b'{"id": "a", "data": "%b"}\n'
CHUNKED = b"POST /send%b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def server() -> Iterator[Server]:
    settings = Settings(
        body_limit=TOTAL,
        line_limit=TOTAL,
        bodies_total=TOTAL,
        body_rate=RATE,
        body_timeout=TIMEOUT,
        answer_timeout=1000,
    )
    with running(settings) as server:
        yield server
        server.end()
        assert kept(server) == 0
        assert not server.connections.bodies._silent
        assert not server.connections.bodies._waiting


def kept(server: Server) -> int:
    """Bytes of unfinished bodies."""
    return server.connections.bodies.total


def begin(server: Server, size: int, path: bytes = b"/send/a") -> Client:
    """A client who has sent so many bytes of a body that is to be longer."""
    client = server.connect()
    client.say(b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path, TOTAL))
    go_on(client, size)
    return client


def go_on(client: Client, size: int) -> None:
    """Send so many bytes more."""
    while size:
        size -= client.say(b"x" * min(size, 50_000))


def refused(client: Client) -> bool:
    """Whether the client was told that it's too much, and its connection has ended."""
    client.take_all()
    if not client.answers:
        return False
    assert [it.status for it in client.answers] == [503]
    assert b"\r\nRetry-After: 1\r\n" in client.raw
    assert b"--bodies-total" in client.answers[0].body
    assert client.ended
    return True


def test_the_limit_of_all_together(server: Server) -> None:
    """Exactly as much as may be is kept; a byte more, and the one of which nothing has come for
    longest goes. Who sent that byte goes on."""
    clients = [begin(server, TOTAL // 4) for _ in range(4)]
    assert kept(server) == TOTAL
    assert not any(map(refused, clients))
    go_on(clients[0], PROGRESS)
    assert [refused(it) for it in clients] == [False, True, False, False]
    assert kept(server) == TOTAL - TOTAL // 4 + PROGRESS
    go_on(clients[0], TOTAL - TOTAL // 4 - PROGRESS)
    assert [refused(it) for it in clients[2:]] == [True, True]
    assert kept(server) == 0
    server.router.answer()
    clients[0].take_all()
    assert clients[0].answers[0].status == 200


def test_a_byte_now_and_then_is_no_progress(server: Server) -> None:
    """Who only sends a byte now and then goes before who has sent a piece meanwhile."""
    slow, fast = begin(server, TOTAL // 3), begin(server, TOTAL // 3)
    for _ in range(10):
        go_on(slow, 1)
    go_on(fast, PROGRESS)
    go_on(slow, PROGRESS - 11)  # not enough either
    begin(server, TOTAL // 2)
    assert [refused(slow), refused(fast)] == [True, False]


def test_who_is_read_from_late_is_not_slow(server: Server) -> None:
    """Who has sent much that wasn't read yet isn't dropped, though nothing was read of them for
    longest: the next one is. A byte isn't much."""
    clients = [begin(server, TOTAL // 5) for _ in range(5)]
    clients[0].send(b"x")
    clients[1].send(b"x" * PROGRESS)
    bodies = server.connections.bodies
    reader = server.connections.awake[clients[4].fd]
    bodies.keep(reader, TOTAL // 5 + 1, anew=False, more=False)
    slow = bodies.drop(reader, sockets.unread)
    assert [it.fd for it in slow] == [clients[0].fd]
    bodies.keep(reader, 2 * TOTAL // 5 + 1, anew=False, more=False)
    assert [it.fd for it in bodies.drop(reader, sockets.unread)] == [clients[2].fd]
    bodies.keep(reader, TOTAL // 5, anew=False, more=False)


def test_too_many_at_once(server: Server) -> None:
    """If everybody has more to say, whoever came last is dropped, but not who is being read from;
    and who only seemed to have more goes first."""
    bodies = server.connections.bodies
    clients = [begin(server, TOTAL // 5) for _ in range(5)]
    exchanges = [server.connections.awake[it.fd] for it in clients]
    for exchange in exchanges:
        bodies.keep(exchange, TOTAL // 5, anew=False, more=True)
    unread = dict.fromkeys([it.fd for it in clients], PROGRESS)
    for reader, silent, dropped in ((4, None, 3), (4, None, 2), (0, None, 4), (1, 0, 0)):
        if silent is not None:
            unread[clients[silent].fd] = PROGRESS - 1
        size = exchanges[reader].kept + TOTAL + 1 - bodies.total
        bodies.keep(exchanges[reader], size, anew=False, more=True)
        assert list(bodies.drop(exchanges[reader], unread.__getitem__)) == [exchanges[dropped]]
    assert bodies.total == exchanges[1].kept


def test_nobody_is_kept_out(server: Server) -> None:
    """However many bodies are half here, a short message is taken, and so is the longest."""
    crowd = [begin(server, TOTAL // 10) for _ in range(10)]
    client = server.connect()
    client.say(post(b"/send/a", b"short"))
    assert not any(map(refused, crowd))
    longest = server.connect()
    request = post(b"/send/a", b"x" * TOTAL)
    sent = 0
    while sent < len(request):
        sent += longest.say(request[sent : sent + 10_000])
    assert all(map(refused, crowd))
    for _ in range(2):
        server.router.answer()
    for each in (client, longest):
        each.take_all()
        assert [it.status for it in each.answers] == [200]


def test_half_a_line_is_kept(server: Server) -> None:
    """Of NDJSON half a line counts, and is dropped as other bodies are: the answer comes
    once it's known what became of the lines before."""
    client = server.connect()
    client.say(CHUNKED % b"")
    client.say(b"%x\r\n%b\r\n" % (2 * len(LINE) + 998, 2 * LINE + b" " * 998))
    assert kept(server) == 998
    begin(server, TOTAL - 1)
    assert kept(server) == TOTAL - 1
    client.take_all()
    assert not client.answers
    server.router.answer()
    client.take_all()
    told = json.loads(client.answers[0].body)
    assert (client.answers[0].status, told["accepted"], told["delivered"]) == (503, 2, 0)
    assert client.ended


def test_half_a_line_that_is_dropped(server: Server) -> None:
    """A line that gets too long while it isn't known yet what became of those before: what comes
    then isn't kept, and the answer comes when it's due."""
    client = server.connect()
    client.say(CHUNKED % b"")
    client.say(b"%x\r\n%b\r\n" % (len(LINE) + TOTAL // 2, LINE + b" " * (TOTAL // 2)))
    for _ in range(3):
        client.say(b"%x\r\n" % (TOTAL // 2 + 1))
        go_on(client, TOTAL // 2 + 1)
        client.say(b"\r\n")
    assert kept(server) == 0
    server.router.answer()
    client.take_all()
    told = json.loads(client.answers[0].body)
    assert (client.answers[0].status, told["line"], told["accepted"]) == (400, 2, 1)


def test_lines_are_progress(server: Server) -> None:
    """Who sends whole lines isn't the slowest, though no more is kept of them than before."""
    lines, body = server.connect(), begin(server, TOTAL // 2)
    lines.say(CHUNKED % b"")
    for _ in range(3):
        lines.say(b"%x\r\n%b\r\n" % (len(LINE) + 10, LINE + b" " * 10))
    assert kept(server) == TOTAL // 2 + 10
    begin(server, TOTAL // 2)
    assert refused(body)
    assert not refused(lines)


@pytest.mark.parametrize("how", ["whole", "closed", "half-closed", "too long", "malformed", "late"])
@pytest.mark.parametrize("path", [b"/a", b""], ids=["message", "NDJSON"])
def test_nothing_stays(server: Server, path: bytes, how: str) -> None:
    """However a body ends, it isn't counted any more; `server` sees to it."""
    client = server.connect()
    client.say(CHUNKED % path)
    client.say(b"1388\r\n%b\r\n" % (b" " * 5000))
    assert kept(server) == 5000
    if how == "whole":
        client.say(b"0\r\n\r\n")
    elif how == "closed":
        client.close()
        server.settle()
    elif how == "half-closed":
        client.end_writing()
        server.settle()
    elif how == "too long":
        client.say(b"%x\r\n" % TOTAL)
        go_on(client, TOTAL)
    elif how == "malformed":
        client.say(b"no chunk")
    else:
        server.tick(TIMEOUT * 4 + 8)
    assert kept(server) == 0


def seconds(server: Server, count: float) -> None:
    server.tick(round(count / TICK))


def lasts(server: Server, client: Client, piece: bytes, pause: float) -> float:
    """For how many seconds the client may go on to send `piece` after each `pause`; at most 100."""
    for number in range(round(100 / pause)):
        client.say(piece)
        seconds(server, pause)
        client.take_all()
        if client.answers:
            assert client.answers[0].status == 408
            return number * pause
    return 100


@pytest.mark.parametrize(
    ("a_second", "least", "most"),
    [(1, TIMEOUT, TIMEOUT + 2), (RATE // 2, 2 * TIMEOUT - 1, 2 * TIMEOUT + 3), (RATE, 90, 100)],
)
def test_the_least_rate(server: Server, a_second: int, least: float, most: float) -> None:
    """Who sends at the least rate has all the time that it takes; who sends half of it has twice
    the timeout."""
    client = begin(server, 1)
    assert least <= lasts(server, client, b"x" * a_second, 1) <= most


def test_time_cant_be_saved_up(server: Server) -> None:
    """Who has sent very fast until just before the end has no more time for the rest."""
    client = begin(server, TOTAL - 100)
    assert lasts(server, client, b"x", 1) <= TIMEOUT + 2


def test_small_pieces_add_up(server: Server) -> None:
    """The least rate may come in pieces, each of which is less than a tick's worth."""
    client = begin(server, 1)
    pause = TICK
    assert lasts(server, client, b"x" * round(RATE * pause), pause) >= 90


def test_whole_lines_may_come_slowly(server: Server) -> None:
    """Whoever sends lines as they come up has the timeout for each of them, and no rate."""
    client = server.connect()
    client.say(CHUNKED % b"")
    pause = TIMEOUT - 2
    assert lasts(server, client, b"%x\r\n%b\r\n" % (len(LINE), LINE), pause) >= 90


def test_without_a_rate() -> None:
    """--body-rate 0: only pauses are limited."""
    with running(Settings(body_rate=0, body_timeout=TIMEOUT)) as server:
        client = begin(server, 1)
        assert lasts(server, client, b"x", TIMEOUT - 2) >= 90
        assert lasts(server, client, b"x", TIMEOUT + 2) <= TIMEOUT + 2


def test_the_time_is_the_clients_only(server: Server) -> None:
    """Who isn't read from, because the router is full, isn't late as long as there's something to
    read."""
    client = begin(server, 10)
    server.router.full = True
    client.say(b"x" * (TOTAL - 10))
    seconds(server, 10 * TIMEOUT)
    server.router.resume()
    server.settle()
    server.router.answer()
    client.take_all()
    assert [it.status for it in client.answers] == [200]
