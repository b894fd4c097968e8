"""The friends' store on a thread of its own: it may block, the control port must not.

Thread and store come with the first call. Calls are done one after the other, in the
order in which they came; that is also why the store need not be safe for threads.

May import: friends.store, errors.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..errors import StoreError
from ..friends.store import Store

T = TypeVar("T")

WAITING = 100
"""Calls that may be under way or wait; further ones fail at once."""

CLOSING_SECONDS = 0.5
"""Time for the store to be closed in; it is safe against being killed, too."""


class StoreThread:
    """Calls the store that `open_it` opens."""

    def __init__(self, open_it: Callable[[], Store]) -> None:
        self._open = open_it
        self._store: Store | None = None
        self._waiting = 0
        self._executor = ThreadPoolExecutor(1, "friends")

    async def call(self, what: Callable[[Store], T]) -> T:
        """What `what` returns for the store.

        Raises what it raises, StoreError if the store can't be opened, or if too many
        calls wait.
        """
        if self._waiting >= WAITING:
            raise StoreError("Too many requests wait for the friends' store; try again later.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._call, what
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Close the store, if it was opened, and if it doesn't take long."""
        closing = self._executor.submit(self._close)
        self._executor.shutdown(wait=False, cancel_futures=False)
        with contextlib.suppress(TimeoutError, StoreError):
            closing.result(CLOSING_SECONDS)

    def _call(self, what: Callable[[Store], T]) -> T:
        if self._store is None:
            self._store = self._open()
        return what(self._store)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
