"""Senders: what becomes of a body, and what its sender is told."""

import json
from collections.abc import Iterator

import pytest

from encke.settings import Settings
from encke.wire.message import Order, Status, Verb

from .harness import Client, Server, post, running

LIMIT = 1024


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Settings(body_limit=LIMIT, line_limit=LIMIT)) as server:
        yield server


def told(client: Client) -> tuple[int, dict[str, object]]:
    """What the last answer says."""
    client.take_all()
    answer = client.answers[-1]
    return answer.status, json.loads(answer.body)


def lines(*messages: bytes, id: bytes = b"a") -> bytes:
    return b"".join(b'{"id": "%b", "data": "%b"}\n' % (id, message) for message in messages)


@pytest.mark.parametrize("pieces", [1, 3, 90])
def test_a_message_is_its_body(server: Server, pieces: int) -> None:
    """Whole, however it comes; its id, and what is to be done, stand in the path."""
    client, data = server.connect(), post(b"/publish/ada?wait=cluster", "Grüße ☄".encode())
    size = -(-len(data) // pieces)
    for at in range(0, len(data), size):
        client.say(data[at : at + size])
    ((_, messages, order),) = server.router.sent
    assert (messages.to, messages.data) == ([b"ada"], ["Grüße ☄".encode()])
    assert order == Order(Verb.PUBLISH, wait=True)


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("announced", [True, False])
def test_the_limit_of_a_message(server: Server, over: int, announced: bool) -> None:
    """One of exactly the limit is taken; a byte more is refused, at its head if that says so."""
    client, body = server.connect(), b"x" * (LIMIT + over)
    if announced:
        client.say(post(b"/send/a", body)[: -len(body) * over or None])
    else:
        client.say(
            b"POST /send/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.say(b"%x\r\n%b\r\n" % (len(body), body) + (b"" if over else b"0\r\n\r\n"))
    assert len(server.router.sent) == 1 - over
    if over:
        assert told(client)[0] == 413
        assert client.ended


def test_what_isnt_utf_8_isnt_sent(server: Server) -> None:
    """It's refused; the next message on the connection is another matter."""
    client = server.connect()
    client.say(post(b"/send/a", b"\xff") + post(b"/send/a", b"next"))
    assert [it.messages.data for it in server.router.sent] == [[b"next"]]
    client.take_all()
    assert client.answers[0].status == 400


@pytest.mark.parametrize(
    ("why", "status"),
    [
        (None, 503), (Status.UNFORWARDED, 503), (Status.UNANSWERED, 503), (Status.UNKNOWN, 503),
        (Status.OFF, 409),
    ],
)  # fmt: skip
def test_what_failed_is_said(server: Server, why: Status | None, status: int) -> None:
    """By whoever sends one message, and by whoever sends many; 503 says when to try again."""
    client = server.connect()
    client.say(post(b"/send/a", b"1") + post(b"/send", lines(b"2", b"3")))
    server.router.fail(why)
    server.router.fail(why)
    client.take_all()
    assert [it.status for it in client.answers] == [status, status]
    assert client.raw.count(b"Retry-After: 1\r\n") == (2 if status == 503 else 0)
    assert told(client)[1].items() >= {"accepted": 0, "delivered": 0}.items()


def test_many_are_sent_as_they_come(server: Server) -> None:
    """Whole lines leave before the body's end, which may lack a line end; empty lines are none. The
    answer comes once all is known."""
    client, body = server.connect(), lines(b"1", b"2") + b"\n" + lines(b"3")[:-1]
    data = post(b"/send", body)
    client.say(data[:-20])
    assert [it.messages.data for it in server.router.sent] == [[b"1", b"2"]]
    server.router.answer()
    client.say(data[-20:])
    assert client.take_all() == b""
    server.stream(b"a")
    server.router.answer()
    assert told(client) == (200, {"accepted": 3, "delivered": 1})


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"{}", "Line 3: "),
        (lines(b"1", id=b"a/b"), "Line 3: "),
        (b"x" * (LIMIT + 1), f"Line 3: longer than {LIMIT} bytes"),
    ],
)
def test_a_bad_line(server: Server, bad: bytes, says: str) -> None:
    """Those before it stay sent, and are counted; those behind it aren't looked at."""
    client = server.connect()
    client.say(post(b"/send", lines(b"1", b"2") + bad + b"\n" + lines(b"4")))
    assert [it.messages.data for it in server.router.sent] == [[b"1", b"2"]]
    assert client.take_all() == b""
    server.router.answer()
    status, body = told(client)
    assert (status, body["accepted"], body["line"]) == (400, 2, 3)
    assert str(body["detail"]).startswith(says)


def test_in_a_cluster_whats_handed_on_is_said() -> None:
    """Of one whether it was, of many how many. Who waits for all nodes is told the count alone."""
    with running(Settings(nats="nats://nowhere")) as server:
        client = server.connect()
        waiting = post(b"/send/a?wait=cluster", b"")
        for data, settled, expected in (
            (post(b"/send/a", b""), (1, 2, 1), {"delivered": 2, "forwarded": True}),
            (post(b"/send/a", b""), (1, 2, 0), {"delivered": 2, "forwarded": False}),
            (waiting, (1, 2, 1), {"delivered": 2}),
            (
                post(b"/send", lines(b"1", b"2")),
                (2, 2, 1),
                {"accepted": 2, "delivered": 2, "forwarded": 1},
            ),
        ):
            client.say(data)
            server.router.sent.popleft().sender.settled(*settled)
            assert told(client) == (200, expected)


def test_nobody_is_told_who_has_gone(server: Server) -> None:
    """What is settled or fails afterwards reaches nobody, also whoever has the row now."""
    for data in (post(b"/send/a", b"1"), post(b"/send", lines(b"1"))):
        for failed in (False, True):
            client = server.connect()
            client.say(data)
            client.close()
            server.settle()
            successors = [server.connect() for _ in range(3)]
            if failed:
                server.router.fail()
            else:
                server.router.answer()
            assert [it.take_all() for it in successors] == [b"", b"", b""]
