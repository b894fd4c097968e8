"""What the long benchmarks are made of: a node, a flood and a generator, on all cores.

    with (
        node(11_000, folder / "server.log") as server,
        flood(server.url, "--connections", "10000", "--verify") as clients,
        generate(server.url, "--rate", "1000", "--duration", "60") as sender,
    ):
        clients.until(lambda figures: figures.event == "connected", 60)
        last = sender.result(90)

Each is a process of its own, with ENCKE_* of our environment left out. Invariants: it's
ended when its block is left, however it's left: first asked to, then killed, by its id,
with all that it has started. What it says is read by a thread as it comes, so that it
never waits for us.

May import: errors, peers, processes, flood.teller, generate.teller.
"""

import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Generic, TypeVar

import httpx
import msgspec

from encke.tools.flood.teller import Figures as Flooded
from encke.tools.generate.teller import Figures as Generated

from .peers import START_TIMEOUT, Server
from .processes import BenchError, running

__all__ = ["Flooded", "Generated", "Node", "State", "Tool", "flood", "generate", "node"]

F = TypeVar("F", Flooded, Generated)

ROOM = 1_000
"""Connections that a server should take beside its streams: senders, and those who look."""

NODE_PATIENCE = 30.0
TOOL_PATIENCE = 60.0
"""Seconds that they may take to end: the kernel closes up to a million sockets of each."""

LOOK = 0.1
"""Seconds between two looks at what is waited for."""

_ready = re.compile(rb" event=ready listen=(\S+) control=(\S+)").search


# ---- the server --------------------------------------------------------------------------


class ProcessState(msgspec.Struct, frozen=True):
    """A process of the node."""

    name: str
    pid: int
    restarts: int
    memory_bytes: int


class State(msgspec.Struct, frozen=True):
    """What the benchmarks read of the control port's /state."""

    connections: int
    streams: int
    users: int
    logins_held: int
    queued_bytes: int
    logins: int
    logouts: int
    delivered: int
    undelivered: int
    slow_clients: int
    accept_pauses: int
    processes: list[ProcessState]

    @property
    def pids(self) -> dict[str, int]:
        """Process id by the process's name."""
        return {process.name: process.pid for process in self.processes}

    @property
    def restarts(self) -> int:
        """Processes that have died and were replaced."""
        return sum(process.restarts for process in self.processes)


class Node(Server):
    """A running node. `control` is HOST:PORT; `log` the file with all that it says."""

    def __init__(self, pid: int, listen: str, control: str, log: Path) -> None:
        super().__init__("Encke", pid, int(listen.rpartition(":")[2]))
        self.control = control
        self.log = log

    def state(self) -> State:
        """Its state, now; memory is at most a second old. Raises BenchError."""
        try:
            answer = httpx.get(f"http://{self.control}/state", trust_env=False, timeout=30)
            return msgspec.json.decode(answer.raise_for_status().content, type=State)
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise BenchError(f"The node doesn't tell its state: {error!r}") from None

    def until(self, condition: Callable[[State], bool], timeout: float, what: str) -> State:
        """Its state once `condition` holds. Raises BenchError, which says that `what` failed."""
        give_up = time.monotonic() + timeout
        while not condition(state := self.state()):
            if time.monotonic() > give_up:
                raise BenchError(
                    f"{what}: not within {timeout:g} s; the node has {state.connections:,} "
                    f"connections, {state.users:,} users."
                )
            time.sleep(LOOK)
        return state


@contextmanager
def node(max_connections: int, log: Path, **settings: float | str) -> Iterator[Node]:
    """``encke serve`` that takes so many connections (see ROOM), once it's ready.

    `settings` are passed as ENCKE_* variables. Raises BenchError if it doesn't start.
    """
    command = [
        sys.executable, "-m", "encke", "serve", "--listen", "127.0.0.1:0",
        "--control", "127.0.0.1:0", "--max-connections", str(max_connections),
    ]  # fmt: skip
    environment = _environment()
    environment |= {f"ENCKE_{name.upper()}": str(value) for name, value in settings.items()}
    with (
        log.open("wb") as file,
        running(
            command, None, environment=environment, log=file.fileno(), patience=NODE_PATIENCE
        ) as process,
    ):
        listen, control = _addresses(process, log)
        yield Node(process.pid, listen, control, log)


def _addresses(process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """Where it listens, once it says that it's ready."""
    give_up = time.monotonic() + START_TIMEOUT
    while (found := _ready(log.read_bytes())) is None:
        if process.poll() is not None or time.monotonic() > give_up:
            said = log.read_bytes()[-2000:].decode(errors="replace")
            raise BenchError(f"encke serve did not start (exit code {process.poll()}):\n{said}")
        time.sleep(LOOK / 2)
    return found[1].decode(), found[2].decode()


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("ENCKE_")}


# ---- the load ----------------------------------------------------------------------------


class Tool(Generic[F]):
    """A running ``encke flood --json`` or ``encke generate --json``."""

    def __init__(
        self, process: subprocess.Popen[bytes], kind: type[F], name: str, complaints: IO[bytes]
    ) -> None:
        self.pid = process.pid
        self.last: F | None = None
        """What it has said last, of what was taken with `next`."""
        self._process = process
        self._name = name
        self._complaints = complaints
        self._decoder: msgspec.json.Decoder[F] = msgspec.json.Decoder(kind)
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)
        self._thread.start()

    def next(self, timeout: float) -> F | None:
        """What it says next; None if that takes longer. Raises BenchError if it has ended."""
        try:
            line = self._lines.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return None
        if not line:
            self._lines.put(line)  # for who asks again
            raise BenchError(f"{self._name} has ended before its time. {self.complaints}")
        try:
            self.last = self._decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise BenchError(f"{self._name} said {line!r}: {error}") from None
        return self.last

    def until(
        self,
        condition: Callable[[F], bool],
        timeout: float,
        seen: Callable[[F], None] | None = None,
    ) -> F:
        """The first that it says that fulfils `condition`; `seen` gets all of them.

        Raises BenchError if it takes longer than `timeout` seconds, or ends.
        """
        give_up = time.monotonic() + timeout
        while (said := self.next(give_up - time.monotonic())) is not None:
            if seen is not None:
                seen(said)
            if condition(said):
                return said
        last = f"said last: {self.last.event}" if self.last else "said nothing"
        raise BenchError(f"{self._name} took longer than {timeout:g} s; {last}. {self.complaints}")

    def cut(self) -> None:
        """Of a flood: cut all streams at once, and open them again; events cut and back."""
        self._process.send_signal(signal.SIGUSR1)

    def result(self, timeout: float) -> F:
        """Its last line, once it has ended by itself. Raises BenchError."""
        last = self.until(lambda figures: figures.event == "end", timeout)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(TOOL_PATIENCE)
        return last

    def end(self) -> F:
        """End it in order (Ctrl-C); its last line. Raises BenchError."""
        self._process.send_signal(signal.SIGINT)
        return self.result(TOOL_PATIENCE)

    @property
    def exit_code(self) -> int | None:
        """None: it hasn't ended."""
        return self._process.poll()

    @property
    def complaints(self) -> str:
        """The last of what it has complained of, on one line."""
        self._complaints.seek(0)
        return " / ".join(self._complaints.read()[-2000:].decode(errors="replace").splitlines())

    def stop(self) -> None:
        """End it, whatever it says."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(TOOL_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._thread.join(TOOL_PATIENCE)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")


@contextmanager
def flood(url: str, *arguments: str, path: str = "/test/{}") -> Iterator[Tool[Flooded]]:
    """``encke flood --json`` at the server `url`; `arguments` as on its command line.

    With --urls among them, these are the addresses.
    """
    where = () if "--urls" in arguments else ("--url", url + path)
    with _tool(Flooded, "flood", *where, *arguments) as tool:
        yield tool


@contextmanager
def generate(url: str, *arguments: str) -> Iterator[Tool[Generated]]:
    """``encke generate --json`` to the server `url`; `arguments` as on its command line."""
    with _tool(Generated, "generate", "--to", url, *arguments) as tool:
        yield tool


@contextmanager
def _tool(kind: type[F], name: str, *arguments: str) -> Iterator[Tool[F]]:
    command = [sys.executable, "-m", "encke", name, *arguments, "--json"]
    with (
        tempfile.TemporaryFile() as complaints,
        running(command, None, environment=_environment(), log=complaints.fileno()) as process,
    ):
        tool = Tool(process, kind, f"encke {name}", complaints)
        try:
            yield tool
        finally:
            tool.stop()
