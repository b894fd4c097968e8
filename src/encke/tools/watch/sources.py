"""Where readings come from: an Encke node's control port, or any process and its children.

Memory is PSS, which counts a page that n processes share as 1/n for each: the sum over
a server's processes is what it takes from the machine.

A process's connections are its descriptors, less its own files, listening sockets and
Unix sockets. The number of descriptors is st_size of /proc/PID/fd (Linux 6.2): one call,
whatever their number, where listing 20,000 takes 22 ms and leaves 17 MB of the kernel's
memory behind. (In /proc/net/tcp a million connections are 300 MB of text.) What is a
server's own it has opened first, and the kernel gives the lowest free number: so where
there are many, only the numbers below `LOOKED_AT` are looked at. A file or a listening
socket above counts as a connection then, as does any socket of UDP.

A source is read by one thread at a time.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec
import psutil

from ...client.pool import once
from ...client.posts import result
from ...client.server import Server
from ...errors import EnckeError, Interrupted, Unreachable
from .samples import ProcessSample, Reading

LOOKED_AT = 256
"""Descriptors of a process that are looked at, one by one, at most: 0.4 ms."""


class Ended(EnckeError):
    """The process has ended, and won't come back."""


class Source(Protocol):
    """A server that can be watched under a name."""

    @property
    def name(self) -> str:
        """What it is called in log and graph."""

    def read(self) -> Reading:
        """How it is now. Raises EnckeError: not now; Ended: nevermore."""


class ControlPort:
    """An Encke node by its control port.

    `url` is ``http://HOST:PORT``, or ``HOST:PORT``; `api_key` is the server's, if it has
    one; `timeout`: seconds that it may take to answer. The node tells memory as it was
    at most a second before. Raises BadSettings if `url` is none.
    """

    def __init__(
        self, url: str, name: str = "encke", api_key: str = "", timeout: float = 5.0
    ) -> None:
        self.name = name
        self._server = Server(url if "://" in url else f"http://{url}", api_key)
        self._timeout = timeout

    def read(self) -> Reading:
        """Raises Unreachable, Refused or Unavailable."""
        server = self._server
        try:
            answer = once(server, server.head("GET", "/state"), self._timeout)
        except Unreachable as error:
            raise Unreachable(
                f"No control port answers at {server.url} ({error}); start the server with "
                "`encke serve`, or correct the address."
            ) from None
        except Interrupted as error:  # nothing was sent that could have arrived
            raise Unreachable(f"{server.url} takes too long to answer: {error}") from None
        state = result(answer, _State, server)
        processes = tuple(process.sample() for process in state.processes)
        return Reading(processes, state.connections, state.delivered)


class _Process(msgspec.Struct):
    name: str
    pid: int
    memory_bytes: int
    connections: int
    cpu_seconds: float
    delivered: int | None = None

    def sample(self) -> ProcessSample:
        return ProcessSample(
            self.name,
            self.pid,
            self.memory_bytes // 1024,
            self.connections,
            self.cpu_seconds,
            self.delivered,
        )


class _State(msgspec.Struct):
    """What is read of /state."""

    connections: int
    delivered: int
    processes: list[_Process]


class Processes:
    """Process `pid` and all that descend from it; `name`: by default the program's and the pid.

    Raises Ended if there is no such process.
    """

    def __init__(self, pid: int, name: str = "") -> None:
        try:
            self._root = psutil.Process(pid)
            self.name = name or f"{self._root.name()} {pid}"
        except (psutil.Error, ValueError, OverflowError):
            raise Ended(f"There is no process {pid}.") from None

    def read(self) -> Reading:
        """Raises Ended; EnckeError if this user may not look into a process."""
        apart = _not_connections(self._root.pid)
        processes = tuple(_samples(self._tree(), apart))
        if not processes:
            raise Ended(f"process {self._root.pid} has ended")
        return Reading(processes, sum(process.connections for process in processes))

    def _tree(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            if self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE:
                return [self._root, *self._root.children(recursive=True)]
        return []


def _samples(tree: list[psutil.Process], apart: frozenset[str]) -> Iterator[ProcessSample]:
    for process in tree:
        try:
            cpu = process.cpu_times()
            yield ProcessSample(
                name=f"{process.name()}-{process.pid}",
                pid=process.pid,
                kb=process.memory_full_info().pss // 1024,
                connections=connections(process.pid, apart),
                cpu_seconds=cpu.user + cpu.system,
            )
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        except (psutil.AccessDenied, PermissionError):
            raise EnckeError(
                f"This user may not look into process {process.pid}; "
                "watch it as its own user, or as root."
            ) from None


def connections(pid: int, apart: frozenset[str]) -> int:
    """Open TCP connections of the process; `apart`: see `_not_connections`. OSError if it's gone.

    How they are counted is said at the file's head.
    """
    directory = f"/proc/{pid}/fd"
    count = os.stat(directory).st_size or len(os.listdir(directory))  # 0: an older kernel
    numbers = os.listdir(directory) if count <= LOOKED_AT else map(str, range(LOOKED_AT))
    return max(count - sum(_is_own(f"{directory}/{number}", apart) for number in numbers), 0)


def _is_own(descriptor: str, apart: frozenset[str]) -> bool:
    try:
        link = os.readlink(descriptor)
    except FileNotFoundError:  # not open
        return False
    return not link.startswith("socket:[") or link[8:-1] in apart


def _not_connections(pid: int) -> frozenset[str]:
    """Inodes of the sockets in the process's network that are no TCP connections."""
    inodes: set[str] = set()
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/net/unix").read_text(errors="replace").splitlines()
        inodes.update(line.split(maxsplit=7)[6] for line in lines[1:])
    for table in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/{pid}/net/{table}") as lines_of_sockets:
            next(lines_of_sockets)
            for line in lines_of_sockets:
                fields = line.split(maxsplit=10)
                if fields[3] != "0A":
                    break  # the kernel lists listening sockets first
                inodes.add(fields[9])
    return frozenset(inodes)
