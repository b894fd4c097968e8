"""What is sent, as bytes, and what its answer means; the same for both clients. Pure."""

import typing
from typing import Literal

import msgspec

from ..errors import BadMessage, BadSettings, BadUserId, EnckeError, Refused
from ..ids import user_id
from .answers import decoded, failure
from .reader import Answer
from .server import Field, Server

Verb = Literal["send", "publish"]

Wait = Literal["", "cluster"]
"""What an answer waits for: this node, or all nodes of the cluster."""

WRITE_SIZE = 64 * 1024
"""Bytes of lines that are collected at most before they are written: a message is some
60 bytes, so this makes a thousand of them cost one write; more saves nothing measurable."""

LAST_CHUNK = b"0\r\n\r\n"

_QUERIES: dict[str, str] = {"": "", "cluster": "?wait=cluster"}
_TEXT = Field("Content-Type", "text/plain; charset=utf-8")
_CHUNKED = Field("Transfer-Encoding", "chunked")


class Sent(msgspec.Struct, frozen=True):
    """What became of many messages: how many were taken, and how often one was delivered."""

    accepted: int
    delivered: int
    forwarded: int = 0
    """How many were handed on to other nodes of a cluster, unless all were asked (`wait`)."""


class _Delivered(msgspec.Struct):
    delivered: int


class _Line(msgspec.Struct):
    id: str
    data: str


def segment(id: str) -> str:
    """The user id as a segment of a path (RFC 3986, section 3.3), where all of it may stand.

    Raises BadUserId.
    """
    if not isinstance(id, str):
        raise BadUserId(f"The user id {id!r} is no str; write str({id!r}) if you mean that.")
    return user_id(id).decode()


def text(message: str | bytes) -> str:
    """`message` as a plain str that UTF-8 can say; raises BadMessage."""
    try:
        if isinstance(message, str):
            message.isascii() or message.encode()
            return str.__str__(message)  # of a subclass too: JSON's encoder takes no other
        return bytes(memoryview(message)).decode()
    except (UnicodeEncodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"The message isn't UTF-8 ({error.reason}); encode it as UTF-8.") from None
    except TypeError:
        kind = type(message).__name__
        raise BadMessage(f"The message is neither str nor bytes, but {kind}.") from None


def single(server: Server, verb: Verb, id: str, message: str | bytes, wait: Wait) -> bytes:
    """The request that sends one message; raises BadUserId, BadMessage, BadSettings."""
    path = f"/{verb}/{segment(id)}{_query(wait)}"
    body = text(message).encode()
    return server.head("POST", path, _TEXT, Field("Content-Length", str(len(body)))) + body


def bulk(server: Server, path: str, content_type: str) -> bytes:
    """The head of a request whose body is `chunk`s."""
    return server.head("POST", path, Field("Content-Type", content_type), _CHUNKED)


def bulk_path(verb: Verb, wait: Wait) -> str:
    return f"/{verb}{_query(wait)}"


def chunk(block: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(block), block)


def _query(wait: Wait) -> str:
    try:
        return _QUERIES[wait]
    except (KeyError, TypeError):
        raise BadSettings(f'wait is "" or "cluster", not {wait!r}.') from None


class Lines:
    """Lines of a body, as they are collected; the first thing that can't be one is their end."""

    content_type = "application/x-ndjson"

    def __init__(self) -> None:
        self.block = bytearray()
        self.bad: EnckeError | None = None
        self._number = 0
        self._encode_into = msgspec.json.Encoder().encode_into

    def add(self, item: object) -> bool:
        """Whether it was taken, and more may come."""
        self._number += 1
        try:
            one, other = _pair(item)
            self._write(one, other)
        except EnckeError as error:
            self.bad = error
            return False
        return True

    def take(self) -> bytes:
        """The lines so far as a chunk, b"" if there are none."""
        if not self.block:
            return b""
        piece = chunk(bytes(self.block))
        self.block.clear()
        return piece

    def check(self, accepted: int, delivered: int) -> None:
        """Raises what ended the lines, with what became of those before it."""
        if self.bad is not None:
            detail = f"Line {self._number}: {self.bad} The lines before it were sent."
            raise Refused(400, detail, self._number, accepted, delivered) from self.bad

    def _write(self, id: str, message: str | bytes) -> None:
        self._encode_into(_Line(segment(id), text(message)), self.block, -1)
        self.block.append(0x0A)


def _pair(item: object) -> tuple[str, str]:
    """`item` as what it should be: whoever has no type checker is told here."""
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return typing.cast("tuple[str, str]", tuple(item))
    raise BadMessage(f"It takes pairs, as (id, message), and not {type(item).__name__}.")


def delivered(answer: Answer, server: Server) -> int:
    """To how many connections a single message went."""
    return result(answer, _Delivered, server).delivered


def sent(answer: Answer, lines: Lines, server: Server) -> Sent:
    """What became of many."""
    told = result(answer, Sent, server)
    lines.check(told.accepted, told.delivered)
    return told


T = typing.TypeVar("T")


def result(answer: Answer, kind: type[T], server: Server) -> T:
    """What the answer to a request says; raises what it stands for."""
    if answer.status != 200:
        raise failure(answer, server.url)
    return decoded(answer.body, kind, server.url)
