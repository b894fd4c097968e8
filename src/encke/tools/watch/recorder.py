"""Reads sources once a period, in a thread of its own, and keeps what it saw.

Invariants: what is kept is bounded (`Thinned`); a source that can't be read makes a gap
and a note, never an end; sources are read at the same time, so one that doesn't answer
doesn't delay the others. The first reading is made in `__enter__`, and there an error is
raised: most likely the address or the pid is wrong.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Self

from ...errors import BadSettings, EnckeError
from .account import Account
from .log import Log
from .samples import Sample, Thinned
from .sources import Ended, Source

LIMIT = 1000
"""Samples that are kept of a source: with 57 processes they take some 12 MB, and a graph
of 1,200 pixels can't show more."""

Listener = Callable[[Sequence[Sample]], None]


class Recorder:
    """Watches `sources` while its block is open; then `samples` is what it saw.

    A reading is made every `every` seconds, and by `read`. All of them are appended to
    the file `log`, if one is given, and shown to `listener`, if one is set, in the
    recorder's thread; of each source about `limit` are kept (see `Thinned`). After
    `count` readings the recording ends by itself.

    Entering the block raises what the first reading of a source raises, and EnckeError if
    the log can't be written; leaving it, what has ended the recording since.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        every: float = 10.0,
        *,
        log: Path | None = None,
        limit: int = LIMIT,
        count: int | None = None,
    ) -> None:
        if len({source.name for source in sources}) < len(sources) or not sources:
            raise BadSettings("Each thing that is watched needs a name of its own.")
        self._watched = [_Watched(source, limit) for source in sources]
        self._every = every
        self._log_path = log
        self._log: Log | None = None
        self.listener: Listener | None = None
        self._count = count
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._cpu_seconds = 0.0
        self._pool = ThreadPoolExecutor(len(sources) + 1, "watch")
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        try:
            if self._log_path is not None:
                self._log = Log(self._log_path, self._every)
            self.read(first=True)
            self._running = self._pool.submit(self._run)
        except BaseException:  # also Ctrl-C, which may come when the thread has just begun
            self._over.set()
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._running is not None:
            wait([self._running])  # it may be about to read, for which it needs the pool
        self._close()
        if self._running is not None and error is None:
            self._running.result()

    @property
    def samples(self) -> list[Sample]:
        """What was seen so far, of all sources."""
        with self._lock:
            return [sample for watched in self._watched for sample in watched.kept.samples]

    def samples_of(self, name: str) -> list[Sample]:
        """What was seen so far of the source of this name."""
        return [sample for sample in self.samples if sample.source == name]

    @property
    def cpu_seconds(self) -> float:
        """What the recording itself has taken so far; what a node takes to tell is the node's."""
        return self._cpu_seconds + sum(watched.cpu_seconds for watched in self._watched)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the recording has ended by itself, or for `seconds`; whether it has.

        It does after `count` readings, once all that is watched has ended for good, and
        after an error.
        """
        return self._over.wait(seconds)

    def read(self, *, first: bool = False) -> list[Sample]:
        """Make a reading now; one sample of each source. `first`: errors are raised."""
        with self._lock:
            began = time.thread_time()
            samples = list(self._pool.map(lambda watched: watched.read(first), self._watched))
            if self._log is not None:
                self._log.write(samples)
            if self.listener is not None:
                self.listener(samples)
            self._cpu_seconds += time.thread_time() - began
        return samples

    def _run(self) -> None:
        due = time.monotonic() + self._every
        made = 1
        try:
            while made != self._count and not self._over.wait(max(0.0, due - time.monotonic())):
                self.read()
                made += 1
                if all(watched.ended for watched in self._watched):
                    break
                late = time.monotonic() - due
                due += self._every * max(1, -(-late // self._every))  # what was missed is missed
        finally:
            self._over.set()

    def _close(self) -> None:
        self._pool.shutdown()
        if self._log is not None:
            self._log.close()


class _Watched:
    """A source, and what is known of it."""

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._account = Account(source.name)
        self.kept = Thinned(limit)
        self.ended = False
        self.cpu_seconds = 0.0

    def read(self, first: bool) -> Sample:
        began = time.thread_time()
        try:
            sample = self._read(first)
            self.kept.add(sample)
            return sample
        finally:
            self.cpu_seconds += time.thread_time() - began

    def _read(self, first: bool) -> Sample:
        if self.ended:
            return self._account.absent(time.time(), "")
        try:
            reading = self._source.read()
        except EnckeError as error:
            if first:
                raise
            self.ended = isinstance(error, Ended)
            return self._account.absent(time.time(), str(error))
        return self._account.present(time.time(), reading)
