"""The cluster, as the control process hears of it from NATS by itself: nobody is asked.

Imported only in a cluster: nats-py, and OpenSSL with it, cost megabytes.

May import: bystander, cluster, scoreboard, settings, state.
"""

import asyncio
import contextlib

from ..bystander import Nodes, connect
from ..cluster.joining import options
from ..cluster.servers import parse
from ..errors import EnckeError
from ..scoreboard import ROUTER, Field, Scoreboard
from ..settings import Settings
from ..wire.subjects import Subjects
from .state import ClusterState, cluster_state


class Cluster:
    """The nodes that live; to be started in a running event loop."""

    def __init__(self, settings: Settings, scoreboard: Scoreboard) -> None:
        self._settings = settings
        self._router = scoreboard.row(ROUTER)
        self._nodes = Nodes(Subjects(settings.nats_prefix))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen; it goes on by itself when NATS was away."""
        self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def state(self) -> ClusterState:
        """Who lives now."""
        return cluster_state(self._nodes.living(), f"{self._router[Field.NODE]:012x}")

    async def _listen(self) -> None:
        own = options(self._settings)
        with contextlib.suppress(EnckeError):  # the router says in the log what is wrong
            client = await connect(own, parse(own.servers), for_ever=True)
            try:
                await self._nodes.listen(client)
                await asyncio.Event().wait()
            finally:
                await client.close()
