"""Senders of many messages: POST /send with NDJSON, a line a message."""

import contextlib
import itertools
import random
import threading

import pytest

from bench.crowd import Crowd

from .node import Address, Node
from .raw import Answer, Raw, ask, chunked, post, request, send, stream

MIB = 1024 * 1024


def line(id: str, data: str) -> bytes:
    """One message of a body."""
    return b'{"id": "%b", "data": "%b"}\n' % (id.encode(), data.encode())


def test_lines_become_messages(address: Address) -> None:
    """Each line is a message; the answer counts messages and deliveries."""
    with stream(address, "nd1") as first, stream(address, "nd2", "events") as second:
        body = line("nd1", "a") + line("nd2", "b") + line("nobody", "c") + line("nd1", "d\\ne")
        answer = ask(address, post("/send", body, "Content-Type: application/x-ndjson"))
        assert answer.body == b'{"accepted": 4, "delivered": 3}'
        assert first.chunk() == b"Recvd msg #1: 'a'\n"
        assert first.chunk() == b"Recvd msg #2: 'd\ne'\n"
        assert second.chunk() == b"data: b\n\n"


BODIES = {
    "empty": (b"", 0),
    "blank": (b"\n\n", 0),
    "no line end": (line("x", "a")[:-1], 1),
    "two, no line end": (line("x", "a") + line("x", "b")[:-1], 2),
    "CRLF": (line("x", "a").replace(b"\n", b"\r\n") * 2, 2),
    "blank lines": (b"\n" + line("x", "a") + b"\n \n" + line("x", "b"), 2),
    "other members": (b'{"ttl": [1, {}], "id": "x", "data": "a"}\n', 1),
    "escapes": (b'{"id": "\\u0078", "data": "\\u2604\\n"}\n', 1),
    "spaces": (b'  {  "id" :"x","data":"a" }  \n', 1),
    "empty message": (line("x", ""), 1),
}


@pytest.mark.parametrize(("body", "messages"), BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bodies(address: Address, framing: str, body: bytes, messages: int) -> None:
    """What a body may look like, with a length or chunked."""
    with stream(address, "x"), Raw(address) as sender:
        if framing == "length":
            sender.send(post("/send", body))
        else:
            sender.send(request("POST", "/send", "Transfer-Encoding: chunked"), chunked(body))
        assert sender.answer().json() == {"accepted": messages, "delivered": messages}
        sender.send(post("/send/x", b"the connection goes on"))
        assert sender.answer().json() == {"delivered": 1}


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_long_body_in_odd_pieces(address: Address, framing: str) -> None:
    """100,000 lines in pieces of any size: every message arrives once, in order."""
    count, users = 100_000, 100
    body = b"".join(line(f"long{number % users}", str(number)) for number in range(count))
    dice = random.Random(3)
    sizes = (dice.choice((1, 7, 1000, 40_000, 200_000)) for _ in itertools.count())
    answers: list[Answer] = []

    def work() -> None:
        with Raw(address) as sender:
            if framing == "length":
                length = f"Content-Length: {len(body)}"
                sender.send(f"POST /send HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
            else:
                sender.send(request("POST", "/send", "Transfer-Encoding: chunked"))
            start = 0
            while start < len(body):
                piece = body[start : start + next(sizes)]
                start += len(piece)
                sender.send(piece if framing == "length" else chunked(piece)[:-5])
            sender.send(b"" if framing == "length" else b"0\r\n\r\n")
            answers.append(sender.answer())

    worker = threading.Thread(target=work)
    with Crowd(address) as crowd:
        streams = crowd.open(f"long{number}" for number in range(users))
        worker.start()
        crowd.until(lambda: not worker.is_alive(), "the sender is done", 60)
        crowd.until(lambda: all(len(it.messages) >= count // users for it in streams), "all came")
        assert answers[0].json() == {"accepted": count, "delivered": count}
        for it in streams:
            expected = range(int(it.user[4:]), count, users)
            assert it.messages == [b"%d" % number for number in expected]


BAD_LINES = {
    "no JSON": b"hello\n",
    "no object": b'["x", "a"]\n',
    "no id": b'{"data": "a"}\n',
    "no data": b'{"id": "x"}\n',
    "a number as id": b'{"id": 5, "data": "a"}\n',
    "null as data": b'{"id": "x", "data": null}\n',
    "bad id": line("a b", "x"),
    "empty id": line("", "x"),
    "too long id": line("x" * 129, "x"),
    "id that isn't ASCII": line("\N{COMET}", "x"),
    "half a surrogate": b'{"id": "x", "data": "\\ud800"}\n',
    "not UTF-8": b'{"id": "x", "data": "\xff"}\n',
    "two on a line": line("x", "a")[:-1] + b" " + line("x", "b"),
    "over two lines": b'{"id": "x",\n"data": "a"}\n',
    "cut off": b'{"id": "x", "data": "a\n',
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_bad_line(address: Address, bad: bytes) -> None:
    """A bad line is named by its number, and why; those before it were sent, none after it."""
    id = f"bad-{list(BAD_LINES.values()).index(bad)}"  # see test_too_long_line
    with stream(address, id) as listener:
        body = line(id, "1") + b"\n" + line(id, "2") + bad + line(id, "never")
        answer = ask(address, post("/send", body))
        assert "4" in answer.problem(400)
        told = answer.json()
        assert (told["line"], told["accepted"], told["delivered"]) == (4, 2, 2)
        assert send(address, id, "next") == 1
        for number, message in enumerate((b"1", b"2", b"next"), 1):
            assert listener.chunk() == b"Recvd msg #%d: '%b'\n" % (number, message)


@pytest.mark.parametrize("position", [0, 1, 999, 49_999, 99_999])
def test_a_bad_line_far_down(address: Address, position: int) -> None:
    """Wherever the bad line is, and however much follows, the answer is right and readable."""
    lines = [line("nobody", "x" * 20)] * 100_000
    lines[position] = b"{}\n"
    with Raw(address) as sender:
        with contextlib.suppress(OSError):  # it may be stopped, but must be told why
            sender.send(post("/send", b"".join(lines)))
        answer = sender.answer()
    answer.problem(400)
    told = answer.json()
    assert (told["line"], told["accepted"], told["delivered"]) == (position + 1, position, 0)


def test_longest_line(address: Address) -> None:
    """A line of 1 MiB is taken."""
    data = "x" * (MIB - len(line("long", "")) + 1)
    body = line("long", data)
    assert len(body) == MIB + 1
    with stream(address, "long") as listener:
        answer = ask(address, post("/send", body))
        assert answer.json() == {"accepted": 1, "delivered": 1}
        assert listener.chunk() == b"Recvd msg #1: '%b'\n" % data.encode()


@pytest.mark.parametrize("ended", [True, False])
def test_too_long_line(address: Address, ended: bool) -> None:
    """A longer one is a bad line, and named as such, even before its end comes."""
    id = f"long-{ended}"  # the stream of the one before may still be on its way out
    with stream(address, id) as listener, Raw(address) as sender:
        body = line(id, "before") + line(id, "x" * MIB)
        if ended:
            sender.send(post("/send", body))
        else:
            head = request("POST", "/send", "Transfer-Encoding: chunked")
            sender.send(head, chunked(body[:-10], b"x" * 100_000)[:-5])
        answer = sender.answer()
        assert "1048576" in answer.problem(400)
        told = answer.json()
        assert (told["line"], told["accepted"], told["delivered"]) == (2, 1, 1)
        assert listener.chunk() == b"Recvd msg #1: 'before'\n"


def test_messages_arrive_while_the_body_is_coming(address: Address) -> None:
    """A body is sent on as it comes: who feeds lines slowly sees each one delivered."""
    with stream(address, "live") as listener, Raw(address) as sender:
        sender.send(request("POST", "/send", "Transfer-Encoding: chunked"))
        for number in range(1, 21):
            sender.send(chunked(line("live", str(number)))[:-5])
            assert listener.chunk() == b"Recvd msg #%d: '%d'\n" % (number, number)
        sender.send(b"0\r\n\r\n")
        assert sender.answer().json() == {"accepted": 20, "delivered": 20}


def test_many_bodies_at_once(address: Address) -> None:
    """Ten long bodies at the same time: all of them are counted right."""
    answers: list[Answer] = []
    body = b"".join(line(f"u{number % 50}", "x") for number in range(20_000))
    senders = [
        threading.Thread(target=lambda: answers.append(ask(address, post("/send", body))))
        for _ in range(10)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert [it.json() for it in answers] == [{"accepted": 20_000, "delivered": 0}] * 10


def test_senders_wait_when_the_router_is_busy() -> None:
    """With a window of 1 KiB, less than a body, senders are held back, and none is forgotten."""
    with Node("--gateways", "2", "--window", "1024") as node:
        done: list[int] = []

        def work(name: int) -> None:
            with Raw(node.address) as sender:
                for number in range(100):
                    sender.send(post(f"/send/{name}", b"x" * 700) * (1 + number % 3))
                    for _ in range(1 + number % 3):
                        assert sender.answer().json() == {"delivered": 0}
                sender.send(post("/send", line("1", "x" * 500) * 1000))
                assert sender.answer().json() == {"accepted": 1000, "delivered": 0}
            done.append(name)

        senders = [threading.Thread(target=work, args=[name]) for name in range(20)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert sorted(done) == list(range(20))
