"""Waits for connections, and for points in time that are less than a millisecond apart.

epoll counts in whole milliseconds, which at 10,000 messages a second is ten of them; so
it's waited for by select, which counts in microseconds, on the epoll's own descriptor.
"""

import select
from collections.abc import Callable

_SELECT_TAKES = 1024
"""Descriptors below this, whatever the open-files limit."""
_LEAST = 0.000_05
"""Seconds: the kernel wakes a process this late anyway."""


class Poller:
    """An epoll with a callback for each descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}

    def add(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback` with the events that are ready on `fd`."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on `fd`."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Wait for `fd` no more; call it before closing it."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def turn(self, seconds: float) -> None:
        """Wait at most so long for something to be ready, and serve it."""
        fd = self._epoll.fileno()
        if seconds > _LEAST and fd < _SELECT_TAKES:
            select.select([fd], [], [], seconds)
            seconds = 0.0
        for ready, events in self._epoll.poll(seconds):
            callback = self._callbacks.get(ready)
            if callback is not None:
                callback(events)
