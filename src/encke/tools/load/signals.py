"""Signals as something that can be waited for beside sockets."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C has ended."""

Handler = Callable[[int, FrameType | None], object] | int | None


class Signals:
    """Inside, `numbers` don't interrupt, but are told by `take`; SIGINT a second time ends."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        self._came: list[int] = []
        self._interrupted = False
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: list[Handler] = []
        self._waker = -1

    def fileno(self) -> int:
        """The descriptor that is readable once a signal has come."""
        return self._pipe[0]

    def take(self) -> list[int]:
        """The signals that have come since the last call."""
        with suppress(BlockingIOError):
            os.read(self._pipe[0], 4096)
        came, self._came = self._came, []
        return came

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._note) for number in self._numbers]
        self._waker = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._waker)
        for number, handler in zip(self._numbers, self._before, strict=True):
            signal.signal(number, handler)
        for descriptor in self._pipe:
            os.close(descriptor)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupted:
            os._exit(INTERRUPTED)
        self._interrupted = self._interrupted or number == signal.SIGINT
        self._came.append(number)
