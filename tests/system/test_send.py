"""Senders: POST /send/{id}, one message a request."""

import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

import pytest

from bench.crowd import Crowd

from .node import Address, Node
from .raw import Raw, ask, chunked, post, request, send, stream

MIB = 1024 * 1024


def test_delivered_counts_connections(address: Address) -> None:
    """The answer says to how many connections a message went; none is no error."""
    assert send(address, "counted", "nobody") == 0
    with stream(address, "counted"), stream(address, "counted"):
        answer = ask(address, post("/send/counted", b"x"))
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.body == b'{"delivered": 2}'


def test_one_connection_serves_many_requests(address: Address) -> None:
    """A sender's connection is kept, request after request."""
    with stream(address, "kept") as listener, Raw(address) as sender:
        for number in range(1, 301):
            sender.send(post("/send/kept", b"%d" % number))
            answer = sender.answer()
            assert answer.json() == {"delivered": 1}
            assert "connection" not in answer.headers
            assert listener.chunk() == b"Recvd msg #%d: '%d'\n" % (number, number)


def test_pipelined_requests_are_answered_in_order(address: Address) -> None:
    """Answers come in the order of the requests, whatever each has to wait for."""
    with stream(address, "piped") as listener, Raw(address) as sender:
        sender.send(
            post("/send/piped", b"1"),
            request("GET", "/nowhere"),
            post("/send/nobody", b"2"),
            post("/send", b'{"id": "piped", "data": "3"}\n' * 2),
            request("HEAD", "/test/piped"),
            post("/send/piped", b"4"),
        )
        assert sender.answer().json() == {"delivered": 1}
        sender.answer().problem(404)
        assert sender.answer().json() == {"delivered": 0}
        assert sender.answer().json() == {"accepted": 2, "delivered": 2}
        assert sender.head().status == 200
        assert sender.answer().json() == {"delivered": 1}
        for number, message in enumerate("1334", 1):
            assert listener.chunk() == f"Recvd msg #{number}: '{message}'\n".encode()


@pytest.mark.parametrize("count", [257, 1000, 5000])
def test_long_pipelines(address: Address, count: int) -> None:
    """A whole lot of requests in one write are all answered, and the connection goes on."""
    with Raw(address) as sender:
        for _ in range(2):
            writer = threading.Thread(target=sender.send, args=[post("/send/1", b"x") * count])
            writer.start()
            for _ in range(count):
                assert sender.answer().json() == {"delivered": 0}
            writer.join()
        sender.send(post("/send/1", b"and one more"))
        assert sender.answer().json() == {"delivered": 0}


def test_answers_wait_for_a_sender_who_reads_later(address: Address) -> None:
    """A sender may write 2,000 requests before reading: no answer is lost meanwhile."""
    with Raw(address) as sender:
        sender.send(post("/send/1", b"x") * 2000)
        for _ in range(2000):
            assert sender.answer().json() == {"delivered": 0}


def test_pipelines_cut_anywhere(address: Address) -> None:
    """Requests may come in pieces of any size: each is taken once, in order."""
    count = 2000
    data = b"".join(post(f"/send/cut{number}", b"%d" % number) for number in range(count))
    cuts = sorted(random.Random(1).choices(range(len(data)), k=200))
    with Crowd(address) as crowd, Raw(address) as sender:
        streams = crowd.open(f"cut{number}" for number in range(0, count, 100))
        pieces = itertools.pairwise([0, *cuts, len(data)])

        def write() -> None:
            for start, end in pieces:
                sender.send(data[start:end])

        writer = threading.Thread(target=write)
        writer.start()
        for number in range(count):
            assert sender.answer().json() == {"delivered": int(number % 100 == 0)}
        writer.join()
        crowd.until(lambda: all(it.messages for it in streams), "everyone got something")
        assert [it.messages for it in streams] == [[it.user[3:].encode()] for it in streams]


def test_chunked_bodies(address: Address) -> None:
    """A body may be chunked, however it is cut, also with extensions and trailers."""
    with stream(address, "chunked") as listener, Raw(address) as sender:
        head = request("POST", "/send/chunked", "Transfer-Encoding: chunked")
        sender.send(head, chunked(b"Hello", b" ", b"World"))
        sender.send(head, chunked(*(bytes([it]) for it in b"byte by byte")))
        sender.send(head, b'5;a=b;c="d"\r\nHello\r\n0\r\nX-Trailer: 1\r\n\r\n')
        sender.send(head, chunked())
        for _ in range(4):
            assert sender.answer().json() == {"delivered": 1}
        for number, message in enumerate((b"Hello World", b"byte by byte", b"Hello", b""), 1):
            assert listener.chunk() == b"Recvd msg #%d: '%b'\n" % (number, message)


def test_expect_continue(address: Address) -> None:
    """A sender that asks first is told to go on, and then gets its answer."""
    with stream(address, "expect") as listener, Raw(address) as sender:
        for _ in range(2):
            head = request("POST", "/send/expect", "Expect: 100-continue", "Content-Length: 5")
            sender.send(head.replace(b"Content-Length: 0\r\n", b""))
            assert sender.line() == b"HTTP/1.1 100 Continue"
            assert sender.line() == b""
            sender.send(b"Hello")
            assert sender.answer().json() == {"delivered": 1}
        assert listener.chunk() == b"Recvd msg #1: 'Hello'\n"


def test_expect_is_refused_before_the_body(address: Address) -> None:
    """A sender that asks first is told at once if the body would be too large."""
    fields = f"Host: localhost\r\nExpect: 100-continue\r\nContent-Length: {MIB + 1}"
    head = f"POST /send/1 HTTP/1.1\r\n{fields}\r\n\r\n"
    assert str(MIB) in ask(address, head.encode()).problem(413)


def test_the_body_does_not_wait_for_the_answer(address: Address) -> None:
    """A sender that asks, but sends without waiting, is served too."""
    with Raw(address) as sender:
        sender.send(b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n")
        sender.send(b"Content-Length: 5\r\n\r\nHello", post("/send/1", b"next"))
        head = sender.head()
        if head.status == 100:
            head = sender.head()
        assert head.status == 200
        sender.read(int(head.headers["content-length"]))
        assert sender.answer().json() == {"delivered": 0}


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_largest_body(address: Address, framing: str) -> None:
    """1 MiB is a message, and arrives whole; line ends, which take more on a stream, count as there
    (test_hostile_large)."""
    message = bytes(random.Random(2).choices(b"abc ", k=MIB))
    with stream(address, "large") as listener, Raw(address) as sender:
        if framing == "length":
            sender.send(post("/send/large", message))
        else:
            pieces = [message[start : start + 10_000] for start in range(0, MIB, 10_000)]
            sender.send(request("POST", "/send/large", "Transfer-Encoding: chunked"))
            sender.send(chunked(*pieces))
        assert sender.answer().json() == {"delivered": 1}
        assert listener.chunk() == b"Recvd msg #1: '%b'\n" % message


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_one_byte_too_many(address: Address, framing: str) -> None:
    """1 MiB and one byte is refused with 413, delivered to nobody, and the sender can read why."""
    message = b"x" * (MIB + 1)
    with stream(address, "larger") as listener:
        with Raw(address) as sender:
            if framing == "length":
                sender.send(post("/send/larger", message))
            else:
                head = request("POST", "/send/larger", "Transfer-Encoding: chunked")
                sender.send(head, chunked(message[:MIB], message[MIB:]))
            answer = sender.answer()
            assert "1048576" in answer.problem(413)
            assert answer.headers["connection"] == "close"
            sender.end()
            assert sender.rest() == b""
        assert send(address, "larger", "fits") == 1
        assert listener.chunk() == b"Recvd msg #1: 'fits'\n"


@pytest.mark.parametrize(
    "message", [b"\xff", b"abc\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]
)
def test_not_utf8(address: Address, message: bytes) -> None:
    """Bytes that aren't UTF-8 are refused, and delivered to nobody."""
    with stream(address, "utf8") as listener, Raw(address) as sender:
        sender.send(post("/send/utf8", message))
        assert "UTF-8" in sender.answer().problem(400)
        assert send(address, "utf8", "good") == 1
        assert listener.chunk() == b"Recvd msg #1: 'good'\n"


def test_utf8_cut_between_reads(address: Address) -> None:
    """A character whose bytes come in different pieces is still one character."""
    with stream(address, "utf8") as listener, Raw(address) as sender:
        head = request("POST", "/send/utf8", "Transfer-Encoding: chunked")
        sender.send(head, chunked(*(bytes([it]) for it in "☄𝄞".encode())))
        assert sender.answer().json() == {"delivered": 1}
        assert listener.chunk() == "Recvd msg #1: '☄𝄞'\n".encode()


def test_order_of_each_sender(address: Address) -> None:
    """Of many senders at once, each one's messages to a user arrive in its order, all once."""
    users, rounds, burst = 10, 40, 50
    problems: list[object] = []

    def work(name: int) -> None:
        choose = random.Random(name)
        numbers = itertools.count()
        with Raw(address) as sender:
            for _ in range(rounds):
                targets = choose.choices(range(users), k=burst)
                if choose.random() < 0.5:
                    sender.send(*(post(f"/send/order{it}", b"%d %d" % (name, next(numbers)))
                                  for it in targets))  # fmt: skip
                    problems.extend(it for _ in targets if (it := sender.answer()).status != 200)
                else:
                    lines = (b'{"id": "order%d", "data": "%d %d"}\n' % (it, name, next(numbers))
                             for it in targets)  # fmt: skip
                    sender.send(post("/send", b"".join(lines)))
                    if sender.answer().json() != {"accepted": burst, "delivered": burst}:
                        problems.append("not all were delivered")

    senders = [threading.Thread(target=work, args=[name]) for name in range(4)]
    with Crowd(address) as crowd:
        streams = crowd.open(f"order{number}" for number in range(users))
        total = len(senders) * rounds * burst
        for sender in senders:
            sender.start()
        crowd.until(
            lambda: bool(problems) or sum(len(it.messages) for it in streams) >= total,
            "everything arrived",
            60,
        )
        for sender in senders:
            sender.join()
        assert not problems
        everything = [message for it in streams for message in it.messages]
        assert len(everything) == len(set(everything)) == total
        for it in streams:
            seen: dict[bytes, int] = defaultdict(lambda: -1)
            for message in it.messages:
                name, number = message.split()
                assert int(number) > seen[name], f"{message!r} too late"
                seen[name] = int(number)


def test_connection_close(address: Address) -> None:
    """A sender that says Connection: close gets its answer, and then a clean end."""
    for value in ("close", "Close", "keep-alive, close"):
        with Raw(address) as sender:
            sender.send(post("/send/1", b"x", f"Connection: {value}"))
            answer = sender.answer()
            assert answer.json() == {"delivered": 0}
            assert answer.headers["connection"] == "close"
            assert sender.rest() == b""


def test_nothing_after_connection_close_is_taken(address: Address) -> None:
    """Requests after one with Connection: close aren't answered (RFC 9112, 9.6)."""
    with Raw(address) as sender:
        sender.send(post("/send/1", b"x", "Connection: close"), post("/send/1", b"y"))
        assert sender.answer().json() == {"delivered": 0}
        assert sender.rest() == b""


def test_http_10(address: Address) -> None:
    """An HTTP/1.0 sender gets its answer, and then a clean end."""
    with Raw(address) as sender:
        sender.send(request("POST", "/send/1", body=b"x", version="1.0"))
        assert sender.answer().json() == {"delivered": 0}
        assert sender.rest() == b""


def test_after_an_upgrade_that_is_ignored(address: Address) -> None:
    """A client that offers HTTP/2 is answered in HTTP/1.1, and told if the connection ends."""
    with Raw(address) as sender:
        offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAAB")
        sender.send(post("/send/1", b"x", *offer))
        answer = sender.answer()
        assert answer.json() == {"delivered": 0}
        if answer.headers.get("connection") == "close":
            assert sender.rest() == b""
        else:
            sender.send(post("/send/1", b"y"))
            assert sender.answer().json() == {"delivered": 0}


def test_half_closed_sender(address: Address) -> None:
    """A client that says that it won't send more still gets its answer, whenever it says so."""
    for number in range(1000):
        with Raw(address) as sender:
            sender.send(post("/send/1", b"x"))
            later = time.perf_counter() + number % 40 * 15e-6
            while time.perf_counter() < later:
                pass
            sender.end()
            assert sender.answer().json() == {"delivered": 0}
            assert sender.rest() == b""


def test_half_closed_pipeline(address: Address) -> None:
    """The same after many requests: all of them are answered."""
    with Raw(address) as sender:
        sender.send(post("/send/1", b"x") * 200, post("/send", b'{"id": "1", "data": "x"}'))
        sender.end()
        for _ in range(200):
            assert sender.answer().json() == {"delivered": 0}
        assert sender.answer().json() == {"accepted": 1, "delivered": 0}
        assert sender.rest() == b""


def test_half_a_message_is_no_message(address: Address) -> None:
    """If a sender ends in the middle of a body, nothing of it is delivered."""
    with stream(address, "half") as listener:
        for end in (
            b"Content-Length: 10\r\n\r\nhalf",
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ):
            with Raw(address) as sender:
                sender.send(b"POST /send/half HTTP/1.1\r\nHost: localhost\r\n" + end)
                sender.end()
                sender.rest()
        assert send(address, "half", "whole") == 1
        assert listener.chunk() == b"Recvd msg #1: 'whole'\n"


@pytest.fixture(scope="module")
def locked() -> Iterator[Node]:
    """A server with an API key."""
    with Node("--gateways", "1", environment={"ENCKE_API_KEY": "s3cret"}) as node:
        yield node


@pytest.mark.parametrize(
    "shown",
    ["", "Bearer wrong", "Bearer s3cre", "Bearer", "Basic s3cret", "s3cret", "Bearer s3cret2"],
)
@pytest.mark.parametrize("path", ["/send/1", "/send"])
def test_without_the_right_key(locked: Node, path: str, shown: str) -> None:
    """With an API key set, who doesn't show it can't send, and is told how to show it."""
    headers = [f"Authorization: {shown}"] if shown else []
    answer = ask(locked.address, post(path, b'{"id": "1", "data": "x"}', *headers))
    assert "Authorization: Bearer" in answer.problem(401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_with_the_right_key(locked: Node) -> None:
    """Who shows the key can send; streams take none."""
    with stream(locked.address, "locked") as listener, Raw(locked.address) as sender:
        for scheme in ("Bearer", "bearer"):
            sender.send(post("/send/locked", b"x", f"Authorization: {scheme} s3cret"))
            assert sender.answer().json() == {"delivered": 1}
        line = b'{"id": "locked", "data": "y"}'
        sender.send(post("/send", line, "authorization: Bearer s3cret"))
        assert sender.answer().json() == {"accepted": 1, "delivered": 1}
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"
