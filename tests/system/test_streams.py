"""Streams end to end: /test and /events, from the first byte to the logout."""

import re
import threading
from collections.abc import Iterator

import pytest

from bench.crowd import Crowd

from .node import Address, Node, until
from .raw import Answer, Raw, ask, post, request, send, stream

ALLOWED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~@:"


def opened(address: Address, head: bytes) -> tuple[Raw, Answer]:
    """A connection on which `head` was sent, and the head that came back."""
    connection = Raw(address)
    connection.send(head)
    return connection, connection.head()


def test_a_message_is_one_chunk(address: Address) -> None:
    """/test: each message is exactly one chunk, the article's line, and nothing else comes."""
    with stream(address, "framing") as listener:
        assert send(address, "framing", "Hello World") == 1
        assert send(address, "framing", "again") == 1
        expected = b"1c\r\nRecvd msg #1: 'Hello World'\n\r\n16\r\nRecvd msg #2: 'again'\n\r\n"
        assert listener.read(len(expected)) == expected
        assert not listener.buffer


def test_an_event_is_one_chunk(address: Address) -> None:
    """/events: after the retry line each message is exactly one chunk, one event."""
    with stream(address, "framing", "events") as listener:
        assert send(address, "framing", "Hello World") == 1
        expected = b"13\r\ndata: Hello World\n\n\r\n"
        assert listener.read(len(expected)) == expected
        assert not listener.buffer


def test_head_of_a_text_stream(address: Address) -> None:
    """/test answers with HTML in chunks that no cache keeps."""
    listener, head = opened(address, request("GET", "/test/head"))
    with listener:
        assert head.status == 200
        assert head.headers["content-type"] == "text/html; charset=utf-8"
        assert head.headers["transfer-encoding"] == "chunked"
        assert "no-store" in head.headers["cache-control"]
        assert head.headers["date"].endswith(" GMT")
        assert "content-length" not in head.headers
        assert "access-control-allow-origin" not in head.headers


def test_head_of_an_event_stream(address: Address) -> None:
    """/events answers as EventSource wants it, and says when to come back: 2 to 4 s."""
    listener, head = opened(address, request("GET", "/events/head"))
    with listener:
        assert head.status == 200
        assert head.headers["content-type"].startswith("text/event-stream")
        assert head.headers["transfer-encoding"] == "chunked"
        assert "no-transform" in head.headers["cache-control"]
        found = re.fullmatch(rb"retry: (\d+)\n", listener.chunk())
        assert found is not None
        assert 2000 <= int(found[1]) <= 4000


def test_reconnects_are_spread(address: Address) -> None:
    """Clients are told different times to come back, so that they don't all come at once."""
    greetings = set()
    for _ in range(10):
        listener, _head = opened(address, request("GET", "/events/spread"))
        with listener:
            greetings.add(listener.chunk())
    assert len(greetings) > 5


def test_numbers_count_for_each_connection(address: Address) -> None:
    """N counts the messages of this connection, not those of the user id."""
    with stream(address, "count") as first:
        assert send(address, "count", "a") == 1
        assert send(address, "count", "b") == 1
        with stream(address, "count") as second:
            assert send(address, "count", "c") == 2
            assert [first.chunk() for _ in "abc"] == [
                b"Recvd msg #1: 'a'\n", b"Recvd msg #2: 'b'\n", b"Recvd msg #3: 'c'\n",
            ]  # fmt: skip
            assert second.chunk() == b"Recvd msg #1: 'c'\n"


def test_streams_of_both_kinds_share_an_id(address: Address) -> None:
    """One id may have several streams of both kinds: each gets each message once."""
    kinds = ["test", "events", "test", "events", "events"]
    listeners = [stream(address, "shared", kind) for kind in kinds]
    assert send(address, "shared", "x") == len(kinds)
    for kind, listener in zip(kinds, listeners, strict=True):
        assert listener.chunk() == (b"Recvd msg #1: 'x'\n" if kind == "test" else b"data: x\n\n")
        assert not listener.buffer
        listener.close()


def test_streams_of_an_id_on_every_gateway(node: Node) -> None:
    """Streams of one id that are on different gateways all get the message."""
    listeners = []
    for index in range(len(node.gateways())):
        with node.only_gateway(index):
            listeners.append(stream(node.address, "everywhere"))
    node.until(lambda state: all(it.streams for it in state.processes if "gate" in it.name),
               "each gateway has a stream")  # fmt: skip
    for message in ("one", "two"):
        assert send(node.address, "everywhere", message) == len(listeners)
    for listener in listeners:
        assert listener.chunk() == b"Recvd msg #1: 'one'\n"
        assert listener.chunk() == b"Recvd msg #2: 'two'\n"
        listener.close()


@pytest.mark.parametrize("transport", ["test", "events"])
def test_head_request_gets_no_stream(address: Address, transport: str) -> None:
    """HEAD is answered with the head alone, logs no one in, and the connection goes on."""
    with Raw(address) as connection:
        connection.send(request("HEAD", f"/{transport}/asked"))
        head = connection.head()
        assert head.status == 200
        assert head.headers["content-type"].startswith("text/")
        assert send(address, "asked", "x") == 0
        connection.send(post("/send/asked", b"y"))
        assert connection.answer().json() == {"delivered": 0}


def test_http_10_streams_are_not_chunked(address: Address) -> None:
    """An HTTP/1.0 client gets the lines as they are, and a body that ends with the connection."""
    listener, head = opened(address, request("GET", "/test/old", version="1.0"))
    with listener:
        assert head.status == 200
        assert "transfer-encoding" not in head.headers
        assert head.headers["connection"] == "close"
        assert send(address, "old", "a") == 1
        assert send(address, "old", "b") == 1
        expected = b"Recvd msg #1: 'a'\nRecvd msg #2: 'b'\n"
        assert listener.read(len(expected)) == expected
        assert not listener.buffer


def test_http_10_events_are_not_chunked(address: Address) -> None:
    """The same for /events."""
    listener, head = opened(address, request("GET", "/events/old", version="1.0"))
    with listener:
        assert "transfer-encoding" not in head.headers
        assert listener.line_until(b"\n").startswith(b"retry: ")
        assert send(address, "old", "a") == 1
        assert listener.line_until(b"\n\n") == b"data: a"


def test_ids_are_percent_decoded(address: Address) -> None:
    """An id may be percent-encoded, in whole or in part, on either side."""
    with stream(address, "%41%6c%69%63%65@home%2Enet") as listener:
        assert send(address, "Alice@home.net", "1") == 1
        assert send(address, "Alice%40home.net", "2") == 1
        assert listener.chunk() == b"Recvd msg #1: '1'\n"
        assert listener.chunk() == b"Recvd msg #2: '2'\n"


def test_every_allowed_character(address: Address) -> None:
    """Each character that an id may have is taken, bare and percent-encoded, and is its own."""
    listeners = {character: stream(address, f"x{character}") for character in ALLOWED}
    for character, listener in listeners.items():
        assert send(address, f"x%{ord(character):02x}", character) == 1
        assert send(address, f"x{character}", "bare") == 1
        assert listener.chunk() == b"Recvd msg #1: '%b'\n" % character.encode()
        assert listener.chunk() == b"Recvd msg #2: 'bare'\n"
        listener.close()


def test_every_other_byte_is_refused(address: Address) -> None:
    """Each byte that an id may not have is refused with 400, on either side."""
    with Raw(address) as connection:
        for code in set(range(256)) - set(ALLOWED.encode()):
            connection.send(request("GET", f"/test/a%{code:02X}b"))
            assert "not allowed" in connection.answer().problem(400)
            connection.send(post(f"/send/a%{code:02X}b", b""))
            assert "not allowed" in connection.answer().problem(400)


@pytest.mark.parametrize("id", ["x" * 128, "%78" * 128, "0" * 128, "9" * 128])
def test_longest_id(address: Address, id: str) -> None:
    """128 characters are an id, however they are written."""
    with stream(address, id) as listener:
        assert send(address, id, "x") == 1
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"


@pytest.mark.parametrize("id", ["x" * 129, "%78" * 129])
def test_too_long_id(address: Address, id: str) -> None:
    """129 are not."""
    assert "129 characters" in ask(address, request("GET", f"/test/{id}")).problem(400)
    assert "129 characters" in ask(address, post(f"/send/{id}", b"")).problem(400)


@pytest.mark.parametrize("id", ["7", "007", "0", "00", "9" * 18, "9" * 19, "123456789012345678"])
def test_numbers_as_ids(address: Address, id: str) -> None:
    """Decimal ids are texts like any other: leading zeros make another id."""
    with stream(address, id) as listener:
        assert send(address, f"0{id}", "not for you") == 0
        assert send(address, id, "x") == 1
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"


MESSAGES = {
    "empty": "",
    "utf8": "Grüße, 彗星 ☄ 𝄞",
    "quote": "it's '#2'",
    "nul": "a\0b",
    "percent": "100%d %s",
    "spaces": "  a  ",
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_messages_arrive_as_they_are(address: Address, message: str) -> None:
    """Text arrives byte by byte as it was sent, on either kind of stream."""
    with stream(address, "text") as lines, stream(address, "text", "events") as events:
        assert send(address, "text", message) == 2
        assert lines.chunk() == b"Recvd msg #1: '%b'\n" % message.encode()
        assert events.chunk() == b"data: %b\n\n" % message.encode()


MULTI_LINE = {
    "two": ("a\nb", "data: a\ndata: b\n\n"),
    "blank": ("a\n\nb", "data: a\ndata: \ndata: b\n\n"),
    "last": ("a\n", "data: a\ndata: \n\n"),
    "only": ("\n", "data: \ndata: \n\n"),
    "crlf": ("a\r\nb\rc", "data: a\ndata: b\ndata: c\n\n"),
    "fields": ("id: 1\nevent: x\n:c", "data: id: 1\ndata: event: x\ndata: :c\n\n"),
}


@pytest.mark.parametrize(("message", "event"), MULTI_LINE.values(), ids=MULTI_LINE.keys())
def test_lines_of_an_event(address: Address, message: str, event: str) -> None:
    """A message of several lines is one event with several data lines, and can't be another."""
    with stream(address, "lines", "events") as listener:
        assert send(address, "lines", message) == 1
        assert listener.chunk() == event.encode()


def test_line_breaks_in_a_text_stream(address: Address) -> None:
    """On /test a message of several lines is still one chunk."""
    with stream(address, "lines") as listener:
        assert send(address, "lines", "a\r\nb\n") == 1
        assert listener.chunk() == b"Recvd msg #1: 'a\r\nb\n'\n"


@pytest.mark.parametrize("transport", ["test", "events"])
def test_reachable_once_the_head_is_there(address: Address, transport: str) -> None:
    """A client that sees the head is reachable: sent at once, the message is delivered."""
    with Raw(address) as sender:
        for number in range(200):
            with Raw(address) as listener:
                listener.send(request("GET", f"/{transport}/fresh{number}"))
                listener.head()
                sender.send(post(f"/send/fresh{number}", b"x"))
                assert sender.answer().json() == {"delivered": 1}


def test_the_query_does_not_matter(address: Address) -> None:
    """A query string behind the id is ignored, as browsers add one against caches."""
    with stream(address, "query?t=1/2") as listener:
        assert send(address, "query?x", "a") == 1
        assert listener.chunk() == b"Recvd msg #1: 'a'\n"


def test_absolute_target(address: Address) -> None:
    """A target may be a whole URI, as a proxy is sent (RFC 9112, 3.2.2)."""
    listener, head = opened(address, request("GET", "http://localhost:8000/test/absolute"))
    with listener:
        assert head.status == 200
        assert send(address, "absolute", "a") == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("body", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_body_does_no_harm(node: Node, method: str, body: str) -> None:
    """A stream may be asked for with a body, which means nothing (RFC 9110, 9.3.1)."""
    before = [it.pid for it in node.gateways()]
    data = b"hello" if "Length" in body else b"5\r\nhello\r\n0\r\n\r\n"
    with Raw(node.address) as listener:
        listener.send(request(method, "/test/body", body), data)
        head = listener.head()
        if head.status == 200 and method == "GET":
            assert send(node.address, "body", "x") == 1
            assert listener.chunk() == b"Recvd msg #1: 'x'\n"
        assert head.status < 500
    assert [it.pid for it in node.gateways()] == before


def test_a_stream_after_other_requests(address: Address) -> None:
    """A stream may be asked for on a connection that was used before, even pipelined."""
    with Raw(address) as connection:
        sends = post("/send/late", b"too early") * 3
        connection.send(sends, request("GET", "/test/late"), post("/send/late", b"ignored"))
        for _ in range(3):
            assert connection.answer().json() == {"delivered": 0}
        assert connection.head().status == 200
        assert send(address, "late", "x") == 1
        assert connection.chunk() == b"Recvd msg #1: 'x'\n"


def test_connection_close_does_not_end_a_stream(address: Address) -> None:
    """A client that wants no keep-alive still gets a stream that lasts."""
    listener, head = opened(address, request("GET", "/test/close", "Connection: close"))
    with listener:
        assert head.headers["transfer-encoding"] == "chunked"
        assert send(address, "close", "x") == 1
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"


def test_logout_when_the_client_closes(address: Address) -> None:
    """A client that has gone is logged out, and the others of its id stay."""
    with stream(address, "leaving") as stays:
        leaves = stream(address, "leaving")
        assert send(address, "leaving", "both") == 2
        leaves.close()
        until(lambda: send(address, "leaving", "one") == 1, "one is logged out")
        assert stays.chunk() == b"Recvd msg #1: 'both'\n"
    until(lambda: send(address, "leaving", "none") == 0, "both are logged out")


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_state_counts_streams(gateways: str) -> None:
    """/state knows the streams, the users and the messages, and forgets those that left."""
    with Node("--gateways", gateways) as node:
        with stream(node.address, "a"), stream(node.address, "a"), stream(node.address, "b"):
            node.until(lambda it: (it.streams, it.users) == (3, 2), "3 streams of 2 users")
            assert send(node.address, "a", "x") == 2
            node.until(lambda it: (it.messages, it.delivered) == (1, 2), "both are counted")
        node.until(lambda it: (it.streams, it.users) == (0, 0), "nobody is there any more")
        state = node.state()
        assert (state.logins, state.logouts, state.logins_held) == (3, 3, 0)
        assert (state.undelivered, state.slow_clients, state.queued_bytes) == (0, 0, 0)


def test_many_streams_each_get_their_own(address: Address) -> None:
    """2,000 streams: each gets its own message exactly once, and no other."""
    with Crowd(address) as crowd, Raw(address) as sender:
        streams = crowd.open(f"many{number}" for number in range(2000))
        lines = [f'{{"id": "{it.user}", "data": "for {it.user}"}}\n' for it in streams]
        sender.send(post("/send", "".join(lines).encode()))
        answer: list[Answer] = []
        thread = threading.Thread(target=lambda: answer.append(sender.answer()))
        thread.start()
        crowd.until(lambda: all(it.messages for it in streams), "everyone got something")
        thread.join()
        assert answer[0].json() == {"accepted": 2000, "delivered": 2000}
        crowd.poll(0)
        assert [it.messages for it in streams] == [[f"for {it.user}".encode()] for it in streams]


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def beating(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A server that sends a heartbeat each half second, and lets pages of one origin in."""
    flags = ("--heartbeat", "0.5", "--allow-origin", "https://example.org")
    with Node("--gateways", str(request.param), *flags) as node:
        yield node


def test_heartbeats(beating: Node) -> None:
    """/events streams get a comment at each beat, /test streams none."""
    address = beating.address
    with stream(address, "beat") as lines, stream(address, "beat", "events") as events:
        assert [events.chunk() for _ in range(3)] == [b":\n"] * 3
        assert send(address, "beat", "x") == 2
        assert lines.chunk() == b"Recvd msg #1: 'x'\n"
        while (event := events.chunk()) == b":\n":
            pass
        assert event == b"data: x\n\n"


def test_heartbeats_reach_everyone(beating: Node) -> None:
    """Heartbeats are spread over the time between two, and leave nobody out."""
    listeners = [stream(beating.address, f"beat{number}", "events") for number in range(100)]
    for listener in listeners:
        assert listener.chunk() == b":\n"
        listener.close()


@pytest.mark.parametrize("transport", ["test", "events"])
def test_pages_of_another_origin(beating: Node, transport: str) -> None:
    """With --allow-origin a stream's head lets pages of that origin read it (CORS)."""
    head = request("GET", f"/{transport}/cors", "Origin: https://example.org")
    listener, answer = opened(beating.address, head)
    with listener:
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
