"""What senders are told, as bytes."""

import json
import math
import re
import time

import pytest

from encke.gateway.answers import Answers
from encke.gateway.routes import Problem

PROBLEM = Problem(503, "Try again.", ((b"Retry-After", b"1"),))


def parts(answer: bytes) -> tuple[list[bytes], bytes]:
    """An answer's lines, and its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


@pytest.mark.parametrize(
    ("forwarded", "known"),
    [(None, {}), (True, {"forwarded": True}), (False, {"forwarded": False})],
)
@pytest.mark.parametrize("close", [False, True])
def test_delivered(forwarded: bool | None, known: dict[str, bool], close: bool) -> None:
    """How many connections got it; of other nodes only what is known; and whether it's the last."""
    lines, body = parts(Answers().delivered[3, forwarded, close])
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert json.loads(body) == {"delivered": 3} | known
    assert b"Content-Length: %d" % len(body) in lines
    assert (b"Connection: close" in lines) == close


def test_accepted() -> None:
    """Of NDJSON: how many lines were taken, and how many connections got them."""
    answers = Answers()
    assert json.loads(parts(answers.accepted(5, 7, None, close=False))[1]) == {
        "accepted": 5, "delivered": 7,
    }  # fmt: skip
    assert json.loads(parts(answers.accepted(5, 7, 4, close=False))[1])["forwarded"] == 4


def test_refused() -> None:
    """A problem's status, sentence, headers, and what more there is to say; HEAD gets no body."""
    answers = Answers()
    lines, body = parts(answers.refused(PROBLEM, close=True, more={"line": 7}))
    assert {b"HTTP/1.1 503 Service Unavailable", b"Retry-After: 1", b"Connection: close"} <= {
        *lines
    }
    assert json.loads(body).items() >= {"status": 503, "detail": "Try again.", "line": 7}.items()
    lines, body = parts(answers.refused(PROBLEM, close=False, head_only=True))
    assert b"Content-Length: 0" not in lines
    assert body == b""


def test_not_now() -> None:
    """What an event stream says instead of a problem of status 503: the same sentence, and when to
    come back, at random: the problem's time or `least`, whichever is longer, and up to twice that.
    It has no event."""
    for least, shortest in ((0, 1), (3, 3)):
        waits = set[int]()
        for _ in range(20):
            lines, body = parts(Answers().not_now(PROBLEM, least=least, close=False))
            assert b"HTTP/1.1 200 OK" in lines
            assert b"Content-Type: text/event-stream; charset=utf-8" in lines
            found = re.fullmatch(rb": Try again\.\nretry: (\d+)\n", body)
            assert found is not None
            waits.add(int(found[1]))
            assert b"Retry-After: %d" % math.ceil(int(found[1]) / 1000) in lines
        assert len(waits) > 1
        assert all(shortest * 1000 <= it <= 2 * shortest * 1000 for it in waits)


def test_each_is_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many get it; then it has another date."""
    now = [0.0]
    monkeypatch.setattr(time, "gmtime", lambda gmtime=time.gmtime: gmtime(now[0]))
    answers = Answers()
    first, refusal = answers.delivered[1, None, False], answers.refused(PROBLEM, close=True)
    shared = answers.refused(PROBLEM, close=True, shared=True)
    assert b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in first
    assert shared == refusal
    now[0] = 1.0
    assert answers.delivered[1, None, False] is first
    assert answers.refused(PROBLEM, close=True, shared=True) is shared
    answers.tick()
    for answer in (
        answers.delivered[1, None, False],
        answers.refused(PROBLEM, close=True, shared=True),
        answers.accepted(1, 1, None, close=False),
    ):
        assert b"Date: Thu, 01 Jan 1970 00:00:01 GMT\r\n" in answer
