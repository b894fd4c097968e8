"""Encke as a user runs it: ``encke serve`` as processes of their own, on free ports.

It's looked at through the control port, the log and /proc only, as an operator does. ENCKE_*
of our environment are left out.
"""

import http.client
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import ClassVar

import msgspec
import psutil

from encke.control.state import NodeState, ProcessState

from .processes import PATIENCE, BenchError, until
from .server import Server

Address = tuple[str, int]

PROGRAM = [sys.executable, "-m", "encke"]
"""The `encke` that serves; the benchmarks' option --encke names another one."""

ROOM = 1_000
"""Connections that a server should take beside its streams: senders, and those who look."""


class Encke(Server):
    """A node with `flags`; `files` is its open-files limit (hard), 0: as it is here.

    `through` begins its command, to run it somewhere else. Raises NotInTime if it doesn't start.
    """

    USUAL: ClassVar[tuple[str, ...]] = ()
    """Flags before all others."""

    def __init__(
        self,
        *flags: str,
        listen: str = "127.0.0.1:0",
        core: int | None = None,
        files: int = 0,
        environment: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
        own_session: bool = True,
    ) -> None:
        super().__init__("encke serve", core=core)
        command = [*through, *PROGRAM, "serve", "--listen", listen, "--control", "127.0.0.1:0"]
        command += [*self.USUAL, *flags]
        if files:
            command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command]
        self.patience = 30.0  # the kernel closes up to a million sockets
        clean = {**environment_of_ours(), **(environment or {})}
        self.launch(command, self._is_ready, clean, own_session=own_session)
        self.port = self.address[1]
        self.first_pids = self.pids()

    def _is_ready(self) -> bool:
        return "event=ready" in self.said

    @property
    def address(self) -> Address:
        """Host and port of the public port."""
        return self._address("listen")

    @property
    def control(self) -> Address:
        """Host and port of the control port."""
        return self._address("control")

    @property
    def control_url(self) -> str:
        return "http://{}:{}".format(*self.control)

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    def _address(self, name: str) -> Address:
        found = re.search(rf" event=ready .*\b{name}=(\S+):(\d+)", self.said)
        assert found is not None
        return found[1], int(found[2])

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body that the control port answers."""
        with closing(http.client.HTTPConnection(*self.control, timeout=30)) as connection:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()

    def state(self) -> NodeState:
        """What /state says; memory is at most a second old. Raises BenchError."""
        try:
            return msgspec.json.decode(self.get("/state")[1], type=NodeState)
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            raise BenchError(f"The node doesn't tell its state: {error!r}") from None

    def until(
        self, condition: Callable[[NodeState], bool], what: str, seconds: float = PATIENCE
    ) -> float:
        """Wait until /state fulfils `condition`; raises NotInTime."""
        return until(lambda: condition(self.state()), what, seconds, 0.05)

    def warnings(self) -> list[str]:
        """The lines of its log in which something isn't as it should be."""
        return [line for line in self.log if " level=info " not in line]

    def current(self, name: str) -> ProcessState | None:
        """What /state says of one process; None if it, or the control process, is away."""
        with suppress(BenchError):
            return next((it for it in self.state().processes if it.name == name), None)
        return None

    def replaced(self, name: str, old: int) -> bool:
        """Whether a process has another pid than the `old` one, and is ready."""
        process = self.current(name)
        return process is not None and process.pid != old and process.state == "ready"

    def named_pids(self) -> dict[str, int]:
        """Process id by the process's name."""
        return {process.name: process.pid for process in self.state().processes}

    def pids(self) -> list[int]:
        """Process ids of the supervisor's children."""
        with suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        return []


def environment_of_ours() -> dict[str, str]:
    """Our environment without settings of Encke."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ENCKE_")}
