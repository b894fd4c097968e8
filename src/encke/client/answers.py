"""What comes back of a request: a result, or the error that it stands for."""

import os
import socket
import ssl
from typing import TypeVar

import msgspec

from ..errors import Closed, Interrupted, Refused, Unavailable, Unreachable
from .reader import Answer

T = TypeVar("T")

USUAL_RETRY = 1.0
LONGEST_RETRY_AFTER = 3600.0
"""Seconds: whoever asks for more is taken to mean that."""

_NOT_NOW = (408, 425, 429)
"""4xx that say nothing against the message: it came too slowly, too early, too often."""

_NEVER = (501, 505)

EVENTS = "text/event-stream"


class Problem(msgspec.Struct):
    """An error of the server's (RFC 9457)."""

    title: str = ""
    detail: str = ""
    line: int | None = None
    accepted: int = 0
    delivered: int = 0


def unreachable(url: str, error: OSError) -> Unreachable:
    return Unreachable(
        f"No Encke answers at {url} ({reason(error)}); "
        "start it with `encke serve`, or correct the address."
    )


def broken(url: str, error: OSError) -> Interrupted:
    return Interrupted(f"The connection with {url} broke off ({reason(error)}).")


def too_slow(url: str) -> Interrupted:
    return Interrupted(f"{url} took too long; the message may have been delivered.")


def no_answer(url: str, seconds: float) -> Unreachable:
    return Unreachable(f"No answer from {url} within {seconds:g} s.")


def silent(url: str) -> Interrupted:
    return Interrupted(f"Nothing came from {url} for more than two of its heartbeats.")


def closed() -> Closed:
    return Closed("This client is closed; make another one.")


def reason(error: OSError) -> str:
    """What went wrong, in the operating system's words if it has some."""
    if isinstance(error, TimeoutError):
        return "it takes too long"
    if isinstance(error, (socket.gaierror, ssl.SSLError)):
        return error.strerror or str(error)
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def stranger(url: str) -> Interrupted:
    return Interrupted(f"What answers at {url} is no Encke; correct the address.")


def decoded(body: bytes | bytearray, kind: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise stranger(url) from None


def retry_after(answer: Answer) -> float:
    """Seconds that the server asks for (RFC 9110, 10.2.3; a date is taken for the usual time)."""
    after = answer.headers.get("retry-after", "")
    given = after.isascii() and after.isdecimal()
    return min(float(after), LONGEST_RETRY_AFTER) if given else USUAL_RETRY


_ENDS = ("content-length", "retry-after")


def is_events(answer: Answer) -> bool:
    """Whether events come, or none now."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return answer.status == 200 and kind == EVENTS


def is_stream(answer: Answer) -> bool:
    """Whether it's a stream that goes on. One whose end or whose next time is known is what an
    EventSource is told for "not now", by Encke or by the proxy that answers for it."""
    return is_events(answer) and not any(name in answer.headers for name in _ENDS)


def failure(answer: Answer, url: str) -> Refused | Unavailable:
    """The error that `answer`, which is no success, stands for."""
    status = answer.status
    try:
        problem = msgspec.json.decode(answer.body, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = Problem()
    detail = problem.detail or problem.title
    if "location" in answer.headers:
        detail = f"{url} has moved to {answer.headers['location']}; use that address."
    if not detail:
        detail = f"{url} answered {answer.reason or status}; is it Encke?"
    accepted, delivered = problem.accepted, problem.delivered
    if status in _NOT_NOW or (status >= 500 and status not in _NEVER):
        return Unavailable(status, detail, retry_after(answer), accepted, delivered)
    return Refused(status, detail, problem.line, accepted, delivered)
