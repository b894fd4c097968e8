"""uvicorn, told when to end by its supervisor. Imported in the control process only.

Invariants: the row says READY only while connections are accepted; the signals'
handlers are ours, so `serve` returns where uvicorn alone would die of the signal again.

May import: app, protocol, settings, scoreboard.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from functools import partial

from uvicorn.config import Config
from uvicorn.server import Server

from ..scoreboard import Field, Row, Scoreboard, State
from ..settings import Settings
from .app import Control
from .protocol import Limited

SHUTDOWN_SECONDS = 1
"""Time for answers under way once the process is to end; a scrape takes milliseconds."""


class _Server(Server):
    def __init__(self, config: Config, control: Control, lifeline: int, row: Row) -> None:
        super().__init__(config)
        self._cluster = control.cluster
        self._lifeline = lifeline
        self._row = row

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self._lifeline, self._stop)
        if self._cluster is not None:
            self._cluster.start()
        self._row[Field.STATE] = State.READY

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._row[Field.STATE] = State.DRAINING
        if self._cluster is not None:
            await self._cluster.stop()
        await super().shutdown(sockets)

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()

    def _stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self.should_exit = True


def serve(
    settings: Settings, scoreboard: Scoreboard, listener: socket.socket, lifeline: int, row: Row
) -> None:
    """Serve the control port on `listener` until SIGTERM or the end of `lifeline`."""
    row[Field.PID] = os.getpid()
    row[Field.STARTED] = int(time.time())
    row[Field.STATE] = State.STARTING
    control = Control(scoreboard, settings)
    config = Config(
        control.application(),
        loop="asyncio",
        http=partial(Limited, settings=settings),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = _Server(config, control, lifeline, row)
    signal.signal(signal.SIGTERM, server.handle_exit)
    # What lives now lives for ever: the collector need not look at it (and write to it) again.
    gc.collect()
    gc.freeze()
    asyncio.run(server.serve(sockets=[listener]))
    control.close()
