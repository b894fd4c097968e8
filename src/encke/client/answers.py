"""What comes back of a request: a result, or the error that it stands for."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import TypeVar

import httpx
import msgspec

from ..errors import Interrupted, Refused, SendError, Unavailable, Unreachable

T = TypeVar("T")


class Problem(msgspec.Struct):
    """An error of the server's (RFC 9457)."""

    title: str = ""
    detail: str = ""
    line: int | None = None
    accepted: int = 0
    delivered: int = 0


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Raises httpx's errors as Encke's."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unreachable(
            f"No Encke answers at {url} ({_reason(error)}); "
            "start it with `encke serve`, or correct the address."
        ) from error
    except httpx.TimeoutException as error:
        raise Interrupted(f"{url} took too long; the message may have been delivered.") from error
    except httpx.TransportError as error:
        raise Interrupted(f"The connection with {url} broke off ({_reason(error)}).") from error


def _reason(error: BaseException) -> str:
    """What lies at the bottom of `error`, in the operating system's words if it has some."""
    text = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
            text = os.strerror(cause.errno)
        elif isinstance(cause, socket.gaierror):
            text = cause.strerror or text
        cause = cause.__cause__ or cause.__context__
    return text or type(error).__name__


def stranger(url: str) -> SendError:
    return SendError(f"What answers at {url} is no Encke; correct the address.")


def decoded(body: bytes, kind: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError:
        raise stranger(url) from None


def failure(response: httpx.Response, url: str) -> SendError:
    """The error that `response`, which is no success, stands for."""
    status = response.status_code
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = Problem()
    detail = problem.detail or problem.title
    if "Location" in response.headers:
        detail = f"{url} has moved to {response.headers['Location']}; use that address."
    if not detail:
        detail = f"{url} answered {response.reason_phrase or status}; is it Encke?"
    if status >= 500 and status != 501:
        after = response.headers.get("Retry-After", "")
        return Unavailable(status, detail, float(after) if after.isdecimal() else 1.0)
    return Refused(status, detail, problem.line, problem.accepted, problem.delivered)
