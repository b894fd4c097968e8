"""What all servers have that are started here: a start, a log, what they cost, an end."""

import os
import subprocess
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from encke.tools.load.usage import cpu_seconds, process_tree, pss

from .processes import PATIENCE, BenchError, NotInTime, end, started, until


class Server:
    """A server's processes; as a context it's ended when that is left.

    `core` is where it runs, None: where we are. `patience`: seconds that it may take to end.
    """

    def __init__(self, name: str, port: int = 0, core: int | None = None) -> None:
        self.name = name
        self.port = port
        self.core = core
        self.patience = PATIENCE
        self.process: subprocess.Popen[bytes]
        self._log = os.memfd_create(f"log of {name}")  # it can be read when all has ended
        weakref.finalize(self, os.close, self._log)

    def launch(
        self,
        command: Iterable[str | Path],
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        *,
        own_session: bool = True,
    ) -> None:
        """Start it; see processes.started. Returns once it's `ready`; raises NotInTime."""
        self.process = started(
            list(command),
            self.core,
            pipe=subprocess.DEVNULL,
            environment=environment,
            log=self._log,
            user=user,
            own_session=own_session,
        )
        try:
            until(lambda: self._is(ready), f"{self.name} is ready", 30)
        except BaseException as error:
            self.kill()
            if isinstance(error, NotInTime):
                raise NotInTime(f"{error}\n{self.said[-2000:]}") from None
            raise

    def _is(self, ready: Callable[[], bool]) -> bool:
        if self.process.poll() is not None:
            raise NotInTime(f"{self.name} did not start (exit code {self.process.returncode})")
        return ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it in order; it can be started again."""
        end(self.process, self.patience)

    def kill(self) -> None:
        """End it at once, with all of its processes."""
        end(self.process, 0)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        return os.pread(self._log, os.fstat(self._log).st_size, 0).decode(errors="replace")

    @property
    def log(self) -> list[str]:
        return self.said.splitlines()

    def cpu_seconds(self) -> float:
        return cpu_seconds(process_tree(self.pid))

    def memory(self) -> dict[int, int]:
        """PSS of each of its processes, bytes, by pid."""
        return {pid: pss(pid) for pid in process_tree(self.pid)}

    def settled_memory(self, looks: int = 20) -> dict[int, int]:
        """PSS once it has stopped changing (two readings within 0.5 %), or after so many looks."""
        before = self.memory()
        for _ in range(looks):
            time.sleep(0.25)
            now = self.memory()
            if abs(sum(now.values()) - sum(before.values())) * 200 < sum(now.values()):
                return now
            before = now
        return before


def needed(reason: str | None) -> None:
    """Raises BenchError if something lacks."""
    if reason:
        raise BenchError(f"This can't be measured: {reason}.")
