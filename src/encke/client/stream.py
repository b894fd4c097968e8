"""Listening in a script: a user's stream, read where its messages are wanted."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Self

from ..errors import EnckeError, Interrupted, SendError
from .answers import is_stream
from .feed import LOST, Feed, Message, OnLost, OnOpen
from .pool import Pool, Wire


class Stream(Iterator[Message]):
    """What `Listener` is, without `await`. One thread iterates; `close` may come from any."""

    def __init__(
        self,
        pool: Pool,
        feed: Feed,
        reconnect: bool,
        on_open: OnOpen | None,
        on_lost: OnLost | None,
    ) -> None:
        self._pool = pool
        self._feed = feed
        self._reconnect = reconnect
        self._on_open = on_open
        self._on_lost = on_lost
        self._messages: deque[Message] = deque()
        self._wire: Wire | None = None
        self._lost: SendError | None = None
        self._busy = False
        """Whether a thread waits for what comes; it closes the connection then."""
        self._over = threading.Event()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> Message:
        while not self._messages:
            if self._over.is_set():
                self._drop()
                raise StopIteration
            self._busy = True
            try:
                self._go_on()
            except EnckeError:
                self.close()
                raise
            finally:
                self._busy = False
                if self._over.is_set():
                    self._drop()
        return self._messages.popleft()

    def close(self) -> None:
        """Close the stream; the iteration ends. May be called again, and by another thread."""
        self._over.set()
        self._pool.streams.discard(self)
        self._messages.clear()
        wire = self._wire
        if not self._busy:
            self._drop()
        elif wire is not None:
            wire.shut()

    def forget(self) -> None:
        """It's another process's: let it go, so that this one notices nothing."""
        self._over.set()
        self._messages.clear()
        self._drop()

    def _go_on(self) -> None:
        if self._lost is not None:
            self._reopen(self._lost)
        elif self._wire is None:
            self._open()
        else:
            self._read(self._wire)

    def _open(self) -> None:
        wire = self._pool.open()
        self._pool.streams.add(self)
        try:
            answer = wire.open(self._feed.request())
            if not is_stream(answer):
                self._feed.refused(answer)
                self._over.set()  # the server wants no client any more
        except BaseException:
            wire.close()
            raise
        if self._over.is_set():
            wire.close()
            return
        wire.keep_alive()
        self._wire = wire
        self._feed.opened(answer)
        if self._on_open is not None:
            self._on_open()

    def _read(self, wire: Wire) -> None:
        try:
            piece = wire.piece(self._feed.patience)
            lost = Interrupted("The server ended the stream.")
        except Interrupted as error:
            if not self._reconnect and not self._over.is_set():
                raise
            piece, lost = b"", error
        if piece:
            self._messages.extend(self._feed.feed(piece))
        elif self._reconnect:
            self._drop()
            self._lost = lost
        else:
            self.close()

    def _reopen(self, lost: SendError) -> None:
        delay = self._feed.pause(lost)
        if self._on_lost is not None:
            self._on_lost(lost, delay)
        if self._over.wait(delay):
            return
        try:
            self._open()
            self._lost = None
        except LOST as error:
            self._lost = error

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
