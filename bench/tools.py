"""The load tools that users have, `encke flood` and `encke generate`, as processes.

    with flood("--url", url, "--connections", "10000", "--verify") as clients:
        clients.until(lambda figures: figures.event == "connected")
        with generate(url, "--rate", "1000", "--duration", "60") as sender:
            last = sender.result(90)

Settings of ours (ENCKE_*) are left out. A tool is ended when its block is left, however it's left.
"""

import queue
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import IO, Generic, TypeVar

from encke.tools.flood.teller import Figures as Flooded
from encke.tools.generate.teller import Figures as Generated

from .servers.encke import environment_of_ours
from .servers.processes import NotInTime, Talker, running

__all__ = ["F", "Flooded", "Generated", "Tool", "flood", "generate"]

F = TypeVar("F", Flooded, Generated)

PATIENCE = 60.0
"""Seconds that they may take to end: the kernel closes up to a million sockets of each."""

NEVER = 3600.0
"""Seconds between two lines: what is told costs time, since each process's memory is read."""


class Tool(Talker, Generic[F]):
    """A running ``encke flood --json`` or ``encke generate --json``."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", kind: type[F], name: str, complaints: IO[bytes]
    ) -> None:
        self._complaints = complaints
        self._kind: type[F] = kind
        self.last: F | None = None
        """What it has said last, of what was waited for."""
        super().__init__(process, name)

    def until(self, condition: Callable[[F], bool], seconds: float = PATIENCE) -> F:
        """The first that it says that fulfils `condition`.

        Raises NotInTime if it takes longer, or BenchError if it ends before.
        """
        give_up = time.monotonic() + seconds
        while True:
            try:
                self.last = self.hear(self._kind, give_up - time.monotonic())
            except queue.Empty:
                last = f"said last: {self.last.event}" if self.last else "said nothing"
                raise NotInTime(
                    f"{self._name} took longer than {seconds:g} s; {last}. {self.complaints}"
                ) from None
            if condition(self.last):
                return self.last

    def cut(self) -> None:
        """Of a flood: cut all streams at once, and open them again; events cut and back."""
        self.process.send_signal(signal.SIGUSR1)

    def result(self, seconds: float = PATIENCE) -> F:
        """Its last line, once it has ended by itself. Raises BenchError."""
        last = self.until(lambda figures: figures.event == "end", seconds)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        return last

    def end(self) -> F:
        """End it in order (Ctrl-C); its last line. Raises BenchError."""
        self.process.send_signal(signal.SIGINT)
        return self.result()

    @property
    def complaints(self) -> str:
        """The last of what it has complained of."""
        self._complaints.seek(0)
        return self._complaints.read()[-2000:].decode(errors="replace")


def flood(
    *arguments: str, every: float = NEVER, own_session: bool = True
) -> AbstractContextManager[Tool[Flooded]]:
    """``encke flood --json``; `arguments` as on its command line.

    It tells how it stands `every` so many seconds; `own_session`: see processes.started.
    """
    return _tool(Flooded, "flood", arguments, every, own_session)


def generate(
    url: str, *arguments: str, every: float = NEVER, own_session: bool = True
) -> AbstractContextManager[Tool[Generated]]:
    """The same of ``encke generate --json``, to the server `url`."""
    return _tool(Generated, "generate", ("--to", url, *arguments), every, own_session)


@contextmanager
def _tool(
    kind: type[F], name: str, arguments: tuple[str, ...], every: float, own_session: bool
) -> Iterator[Tool[F]]:
    command = [sys.executable, "-m", "encke", name, *arguments, "--json", "--every", f"{every}"]
    with (
        tempfile.TemporaryFile() as complaints,
        running(
            command, patience=PATIENCE, environment=environment_of_ours(),
            log=complaints.fileno(), own_session=own_session,
        ) as process,
    ):  # fmt: skip
        yield Tool(process, kind, f"encke {name}", complaints)
