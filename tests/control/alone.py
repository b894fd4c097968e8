"""The control process by itself, with a scoreboard that the test fills."""

import os
import signal
import socket
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Self

import httpx

from bench.servers.processes import PATIENCE, until
from encke.control.process import run
from encke.node import sockets
from encke.scoreboard import CONTROL, NODE, SUPERVISOR, Field, Scoreboard, State
from encke.settings import Settings


class Alone:
    """A control process, forked off this one, that serves until the block is left."""

    def __init__(self, settings: Settings) -> None:
        self.scoreboard = Scoreboard()
        supervisor = self.scoreboard.row(SUPERVISOR)
        supervisor[Field.PID] = os.getpid()
        supervisor[Field.STARTED] = int(time.time())
        self.status(State.READY)
        lifeline, self._lifeline_end = os.pipe()
        with sockets.control(Settings(control="127.0.0.1:0")) as listener:
            self.port: int = listener.getsockname()[1]
            self.pid = _fork()
            if self.pid == 0:
                os.close(self._lifeline_end)
                _become(settings, self.scoreboard, listener, lifeline)
        os.close(lifeline)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)
        self.exit_code: int | None = None

    def status(self, state: State) -> None:
        """Say on the scoreboard where the node is in its life."""
        self.scoreboard.row(NODE)[Field.STATE] = state

    def process(self, row: int, pid: int, **fields: int) -> None:
        """Say on the scoreboard that a process is there."""
        own = self.scoreboard.row(row)
        own[Field.PID], own[Field.STATE] = pid, State.READY
        for name, value in fields.items():
            own[Field[name.upper()]] = value

    def get(self, path: str, **headers: str) -> httpx.Response:
        """What it answers."""
        return self.client.get(path, headers=headers)

    def connect(self) -> socket.socket:
        """A connection of its own."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def terminate(self) -> None:
        """SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds."""
        until(condition, "it holds")

    def abandon(self) -> None:
        """Let the lifeline end, as when the supervisor is killed."""
        os.close(self._lifeline_end)
        self._lifeline_end = -1

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end; its exit code. Fails if it lives on."""
        until(self._has_ended, "the control process has ended", seconds)
        assert self.exit_code is not None
        return self.exit_code

    def _has_ended(self) -> bool:
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing running."""
        self.client.close()
        if self._lifeline_end >= 0:
            self.abandon()
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def _fork() -> int:
    with warnings.catch_warnings():
        # Other tests may have left threads; the child neither needs nor locks what they hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _become(
    settings: Settings, scoreboard: Scoreboard, listener: socket.socket, lifeline: int
) -> None:
    code = 1
    try:
        run(settings, scoreboard, listener, lifeline, CONTROL)
        code = 0
    except BaseException:  # noqa: BLE001  # the last stop before _exit
        traceback.print_exc()
    finally:
        os._exit(code)
