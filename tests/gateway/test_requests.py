"""Requests of a connection: how their bytes are read, and which of them are answered how."""

from collections.abc import Iterator

import pytest

from encke.gateway.exchange import MAX_PIPELINED
from encke.gateway.life import ENDING, LEAVING, LINGERING, LOGGING_IN
from encke.settings import Settings
from encke.wire.response import CONTINUE, problem

from .harness import Client, Server, get, post, running

SHORT = post(b"/send/1", b"x")


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Client:
    return server.connect()


def test_who_lingers_keeps_nobody_awake(server: Server, client: Client) -> None:
    """What still comes after the last answer is dropped, also while the router takes no more: it
    isn't reported turn after turn."""
    client.say(b"nonsense\r\n\r\n")
    assert server.state(client) == LINGERING
    server.router.full = True
    client.say(b"and more of it")
    assert server.state(client) == LINGERING
    assert not server.reactor.turn()


def test_who_is_ahead_of_the_router_is_not_read_from(server: Server, client: Client) -> None:
    """While the router is full, what senders send waits in the kernel; then nothing is missing."""
    server.router.full = True
    client.say(SHORT + SHORT)
    assert not server.reactor.turn()
    assert not server.router.sent
    server.router.resume()
    server.settle()
    assert len(server.router.sent) == 2


def test_who_is_owed_very_much_is_not_read_from(server: Server, client: Client) -> None:
    """So many answers may be owed; for the rest there's room when some have been given."""
    for _ in range(MAX_PIPELINED + 50):
        client.say(SHORT)
    assert len(server.router.sent) == MAX_PIPELINED
    server.router.answer()
    server.settle()
    assert len(server.router.sent) == MAX_PIPELINED + 49
    while server.router.sent:
        server.router.answer()
        server.settle()
    client.take_all()
    assert [it.status for it in client.answers] == [200] * (MAX_PIPELINED + 50)


def test_who_takes_no_answers_is_not_read_from(server: Server, client: Client) -> None:
    """Until they do: what waits for a sender is bounded by what was read."""
    for _ in range(200):
        client.say(SHORT)
        while server.router.sent:
            server.router.answer()
    waiting = server.connections.outbox.held
    assert 0 < waiting < 1000
    client.take_all()
    while server.router.sent:
        server.router.answer()
        client.take_all()
    assert [it.status for it in client.answers] == [200] * 200


def test_a_body_is_asked_for_where_it_is_awaited(server: Server, client: Client) -> None:
    """Who expects to be told so is, once the head is taken; not if it's refused."""
    data = post(b"/send/a", b"12345", b"Expect: 100-continue\r\n")
    client.say(data[:-5])
    assert client.take_all() == CONTINUE
    client.say(data[-5:])
    ((_, messages, _),) = server.router.sent
    assert messages.data == [b"12345"]
    for refused, status in (
        (data.replace(b"/send/a", b"/nowhere"), b"404"),
        (data.replace(b"100-continue", b"tea"), b"417"),
    ):
        other = server.connect()
        other.say(refused[:-5])
        assert other.take_all().startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("last", [b"Connection: close\r\n", b"1.0"])
def test_the_last_request_says_so(server: Server, client: Client, last: bytes) -> None:
    """Its answer says so too; what stands behind it isn't looked at."""
    data = post(b"/send/1", b"x", b"" if last == b"1.0" else last)
    if last == b"1.0":
        data = data.replace(b"HTTP/1.1", b"HTTP/1.0")
    client.say(SHORT + data + SHORT)
    assert len(server.router.sent) == 2
    server.router.answer()
    server.router.answer()
    first, second = client.take_all().split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert (b"Connection: close" in first, b"Connection: close" in second) == (False, True)
    assert client.ended


def test_the_client_of_a_refused_body_is_told_at_once(server: Server, client: Client) -> None:
    """Nobody waits for the rest of a body that isn't wanted."""
    client.say(post(b"/nowhere", b"12345")[:-1])
    assert server.state(client) in (ENDING, LEAVING, LINGERING)
    client.take_all()
    assert [it.status for it in client.answers] == [404]
    assert client.ended


def test_refusals_that_differ_are_not_kept(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is refused, only what is the same for very many is kept, and made once: it can't grow
    with what strangers write."""
    made: list[bytes] = []

    def remember(*what: object, **more: object) -> bytes:
        made.append(problem(*what, **more))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr("encke.gateway.answers.problem", remember)
    for length in [*range(200, 250), *range(200, 250)]:
        client.say(get(b"/test/" + b"x" * length))
        assert b"has %d characters" % length in client.take_all()
    assert len(made) == 100
    for _ in range(10):
        client.say(SHORT)
        server.router.fail()
        client.take_all()
    assert [it.status for it in client.answers] == [400] * 100 + [503] * 10
    assert len(made) == 101


def test_who_ends_in_the_middle_of_a_body_is_told_of_what_came_before(
    server: Server, client: Client
) -> None:
    """A request that was cut off isn't answered; the whole ones before it are."""
    client.say(SHORT + SHORT[:-1])
    client.end_writing()
    server.settle()
    ((sender, _, _),) = server.router.sent
    sender.settled(1, 5)
    assert client.take_all().endswith(b'{"delivered": 5}')
    assert client.ended
    assert server.rows == {}


@pytest.mark.parametrize("failed", [False, True])
def test_lines_of_a_body_that_was_cut_off_have_no_answer(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch, failed: bool
) -> None:
    """What becomes of them is told nobody, also if it's known in the same turn, because of what
    somebody else sends; the connection ends."""
    line = b'{"id": "1", "data": "x"}\n'
    data = post(b"/send", line + line)
    client.say(data[:-1])
    other = server.connect()
    other.say(data[: -len(line)])
    ((sender, _, _), _) = server.router.sent

    def settle(*_: object) -> None:
        if failed:
            sender.failed(1)
        else:
            sender.settled(1, 1)

    monkeypatch.setattr(server.router, "send", settle)
    client.end_writing()
    other.say(line)
    assert client.take_all() == b""
    assert client.ended


@pytest.mark.parametrize("pieces", [1, 3])
def test_hostile_senders_keep_nobody_from_asking(
    server: Server, client: Client, pieces: int
) -> None:
    """While the router is full a stream is opened all the same, however its head is cut."""
    server.router.full = True
    head = get(b"/test/1").replace(b"Host", b"X: " + b"x" * 6000 + b"\r\nHost")
    size = len(head) // pieces + 1
    for at in range(0, len(head), size):
        client.say(head[at : at + size])
    assert server.state(client) == LOGGING_IN


def test_hostile_messages_behind_a_question_wait(server: Server, client: Client) -> None:
    """Few of them are taken with it while the router is full."""
    server.router.full = True
    client.say(get(b"/nothing") + SHORT * 1000)
    assert len(server.router.sent) < 100
    assert not server.reactor.turn()


@pytest.mark.parametrize("more", [b"", get(b"/test/1")])
def test_hostile_silence_of_the_router_has_an_end(more: bytes) -> None:
    """What is owed for too long is answered: it isn't known; what comes later changes nothing."""
    with running(Settings(answer_timeout=5)) as server:
        client = server.connect()
        client.say(SHORT + SHORT + more)
        first, second = server.router.sent
        server.router.sent.clear()
        first.sender.settled(1, 1)
        assert client.take_all().endswith(b'{"delivered": 1}')
        server.tick(4 * 5 - 1)
        assert client.take_all() == b""
        server.tick(4 + 2)
        said = client.take_all()
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"--answer-timeout" in said
        second.sender.settled(1, 1)
        assert client.take_all() == b""
        assert client.ended
        assert server.router.asked == []
