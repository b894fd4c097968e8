"""The friends' store on a thread of its own: it may block, the control port must not.

Thread and store come with the first call. Calls are done one after the other, in the
order in which they came; that is also why the store need not be safe for threads. What a call
brings comes back to the loop by an eventfd.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from ..errors import StoreError
from ..friends.store import Store
from ..reactor.loop import IN, Reactor
from .ending import CLOSING_SECONDS
from .problems import problem_of
from .response import Later, Response

T = TypeVar("T")

WAITING = 100
"""Calls that may be under way or wait; further ones fail at once."""

TOO_MANY = "Too many requests wait for the friends' store; try again later."


class StoreThread:
    """Calls the store that `open_it` opens."""

    def __init__(self, reactor: Reactor, open_it: Callable[[], Store]) -> None:
        self._reactor = reactor
        self._open = open_it
        self._thread: threading.Thread | None = None
        self._waiting = 0
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._done: deque[tuple[Later, Response | None]] = deque()
        self._bell = -1
        self._store: Store | None = None  # the thread's

    def call(
        self,
        what: Callable[[Store], T],
        answer: Callable[[T], Response | None],
        failed: Callable[[StoreError], Response] = problem_of,
    ) -> Later:
        """The response that `answer` makes of what `what` returns for the store; both are called
        on the thread.

        `failed` makes it of a StoreError: what `what` raises, that the store can't be opened, or
        that too many calls wait.
        """
        later = Later()
        if self._waiting >= WAITING:
            later.resolve(failed(StoreError(TOO_MANY)))
            return later

        def work() -> None:
            try:
                response = answer(what(self._opened()))
            except StoreError as error:
                response = failed(error)
            except Exception as error:  # noqa: BLE001 (it's answered, and logged)
                response = problem_of(error)
            self._done.append((later, response))
            os.eventfd_write(self._bell, 1)

        self._waiting += 1
        if self._thread is None:
            self._start()
        self._calls.put(work)
        return later

    def close(self) -> None:
        """Close the store, if it was opened, and if it doesn't take long."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join(CLOSING_SECONDS)

    def _start(self) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._reactor.add(self._bell, IN, self._come_back)
        self._thread = threading.Thread(target=self._run, name="friends", daemon=True)
        self._thread.start()

    def _come_back(self, _events: int) -> None:
        """On the loop: some calls are done."""
        os.eventfd_read(self._bell)
        while self._done:
            later, response = self._done.popleft()
            self._waiting -= 1
            later.resolve(response)

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._open()
        return self._store

    def _run(self) -> None:
        while (work := self._calls.get()) is not None:
            work()
        if self._store is not None:
            self._store.close()
