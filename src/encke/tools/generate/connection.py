"""One connection with the server: writes what is given to it, reads answers, reconnects.

Posts and Bodies say what is written, and what an answer means.

Invariants: what can't be written now waits in `out`, and is bounded by `full`; a message
that was given to a connection is accounted for exactly once, by its answer or by the
connection's loss. A lost connection is made again after a pause, which doubles up to
LONGEST_PAUSE.
"""

import os
import select
import socket
import time
from abc import ABC, abstractmethod
from collections import deque

import httptools
import msgspec

from ..load.target import Target
from .account import Account
from .poller import Poller

READ_SIZE = 64 * 1024
MOST_WAITING = 256 * 1024
"""Bytes that wait to be written before a connection counts as full."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds until a lost connection is made again."""
LONGEST_RETRY_AFTER = 60.0


class Counts(msgspec.Struct):
    """The members of Encke's answers that matter here; other servers' have none."""

    accepted: int | None = None
    delivered: int | None = None
    forwarded: bool | int | None = None
    """Of a node among others: messages were handed on, and who got them there isn't told."""


_answer = msgspec.json.Decoder(Counts)

Message = tuple[int, int]
"""(user, sequence)"""


class Connection(ABC):
    """The plumbing; subclasses fill `out`.

    `again` gets the messages that are to be sent again: those that the server surely
    hasn't looked at; and, if `retry`, those that it couldn't take (503).
    """

    def __init__(
        self,
        target: Target,
        poller: Poller,
        account: Account,
        again: deque[Message],
        *,
        retry: bool,
    ) -> None:
        self.out = bytearray()
        self.fd = -1
        """-1: not connected, nor trying."""
        self.failures = 0
        """Attempts to connect that failed, since one succeeded."""
        self.last_error = ""
        self._target = target
        self._poller = poller
        self._account = account
        self._again = again
        self._retry = retry
        self.connected = False
        self._pause_until = 0.0  # monotonic seconds; until then nothing is sent
        self._since = 0.0  # when it was begun to connect
        self._writing = False
        self._body = b""
        self._retry_after = 0.0
        self._last_answer = False
        self._parser = httptools.HttpResponseParser(self)

    # what subclasses say

    @property
    @abstractmethod
    def owed(self) -> int:
        """Messages that are neither accepted nor failed yet."""

    @property
    @abstractmethod
    def crowded(self) -> bool:
        """Whether enough is under way."""

    @property
    @abstractmethod
    def oldest(self) -> int:
        """When the request was written whose answer comes next, monotonic ns; 0: none."""

    @abstractmethod
    def add(self, user: int, sequence: int) -> None:
        """Write a message (to `out`, at the latest when flushed)."""

    @abstractmethod
    def answered(self, status: int, answer: Counts) -> None:
        """The next answer."""

    @abstractmethod
    def abandon(self) -> list[Message]:
        """Forget all that is owed; returns it."""

    def end(self) -> None:  # noqa: B027 (most have nothing to end)
        """End what is begun, since no message may come for long."""

    # what the generator asks

    def full(self, now: int) -> bool:
        """Whether no message can be added, at `now` (monotonic ns)."""
        return (
            not self.connected
            or now < self._pause_until * 1e9
            or len(self.out) > MOST_WAITING
            or self.crowded
        )

    def tick(self, now: float, timeout: float) -> None:
        """Called a few times a second: connect, if it's time; or give up waiting."""
        if self.fd < 0:
            if now >= self._pause_until:
                self._connect()
        elif not self.connected and now - self._since > timeout:
            self._close()
            self._failed("timeout")
        elif self.oldest and now - self.oldest / 1e9 > timeout:
            self._lose("timeout")

    def flush(self) -> None:
        """Write what can be written."""
        if not self.connected:
            return
        try:
            if self.out:
                del self.out[: os.write(self.fd, self.out)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(_said(error))
            return
        if bool(self.out) != self._writing:
            self._writing = bool(self.out)
            events = select.EPOLLIN | select.EPOLLOUT if self._writing else select.EPOLLIN
            self._poller.change(self.fd, events)

    # the connection's life

    def _ready(self, events: int) -> None:
        """The connection is ready."""
        if not self.connected:
            self._established()
        elif events & select.EPOLLOUT:
            self.flush()
        if self.connected and events & ~select.EPOLLOUT:
            self._read()

    def _connect(self) -> None:
        connection = socket.socket(self._target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection.connect(self._target.address)
        except BlockingIOError:
            pass
        except OSError as error:
            connection.close()
            self._failed(_said(error))
            return
        self._parser = httptools.HttpResponseParser(self)
        self._last_answer = False
        self.fd = connection.detach()
        self._since = time.monotonic()
        self._writing = True
        self._poller.add(self.fd, select.EPOLLIN | select.EPOLLOUT, self._ready)

    def _established(self) -> None:
        connection = socket.socket(self._target.family, socket.SOCK_STREAM, 0, self.fd)
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        connection.detach()
        if error:
            self._close()
            self._failed(os.strerror(error).lower())
            return
        self.connected = True
        self.failures = 0
        self.flush()

    def _failed(self, reason: str) -> None:
        self.last_error = reason
        self._pause_until = time.monotonic() + min(LONGEST_PAUSE, FIRST_PAUSE * 2**self.failures)
        self.failures += 1

    def _close(self) -> None:
        self._poller.remove(self.fd)
        os.close(self.fd)
        self.fd = -1
        self.connected = False
        self.out.clear()

    def _lose(self, reason: str) -> None:
        """The connection is of no more use; what is owed may or may not have been delivered."""
        self._close()
        self._pause_until = max(self._pause_until, time.monotonic() + FIRST_PAUSE)
        self._not_taken(self.abandon(), reason)

    def _read(self) -> None:
        try:
            data = os.read(self.fd, READ_SIZE)
            self._parser.feed_data(data)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(_said(error))
            return
        except httptools.HttpParserError:
            self._lose("not HTTP")
            return
        if self._last_answer:
            # what comes after a request with this answer is not looked at (RFC 9112, 9.6)
            self._close()
            self._not_taken(self.abandon(), "not looked at", again=True)
            if time.monotonic() >= self._pause_until:
                self._connect()
        elif not data:
            self._lose("closed")

    # what the parser calls

    def on_message_begin(self) -> None:
        self._body = b""
        self._retry_after = 0.0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after" and value.isdigit():
            self._retry_after = min(float(value), LONGEST_RETRY_AFTER)

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._last_answer:
            return
        if self._retry_after:
            self._pause_until = time.monotonic() + self._retry_after
        try:
            answer = _answer.decode(self._body) if self._body[:1] == b"{" else Counts()
        except msgspec.MsgspecError:
            answer = Counts()
        self._last_answer = not self._parser.should_keep_alive()
        self.answered(status, answer)

    def refuse(self, messages: list[Message], status: int) -> None:
        """The server answered that it doesn't take these."""
        self._not_taken(messages, str(status), again=status == 503 and self._retry)

    def _not_taken(self, messages: list[Message], reason: str, *, again: bool = False) -> None:
        self._account.errors[reason] += len(messages)
        if again:
            self._account.retried += len(messages)
            self._again.extend(messages)


def _said(error: OSError) -> str:
    return str(error.strerror).lower()
