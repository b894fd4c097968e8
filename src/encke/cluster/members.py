"""The other nodes of the cluster, as far as they say that they live."""

from collections.abc import Collection

from .. import log
from ..wire.nodes import Heartbeat

SILENCE = 3.0
"""Seconds after which a node that says nothing is gone; it speaks every second."""

MAX_MEMBERS = 10_000
"""Nodes that are known; who comes on top isn't, since whoever publishes could come as many."""


class Members:
    """Who is there. Times are seconds of one clock that doesn't go back."""

    def __init__(self) -> None:
        self._said: dict[str, Heartbeat] = {}
        self._heard: dict[str, float] = {}  # or forgiven
        self._spoke: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._said)

    @property
    def nodes(self) -> Collection[str]:
        """Those that are there."""
        return self._said.keys()

    def seen(self) -> list[tuple[float, Heartbeat]]:
        """What each said last, and when that was."""
        return [(self._spoke[node], said) for node, said in self._said.items()]

    def heard(self, heartbeat: Heartbeat, now: float) -> bool:
        """A node lives; says whether it's a new one."""
        node = heartbeat.node
        new = node not in self._said
        if new:
            if len(self._said) >= MAX_MEMBERS:
                return False
            log.info("node-joined", node=node, name=heartbeat.name, version=heartbeat.version)
        self._said[node] = heartbeat
        self._heard[node] = self._spoke[node] = now
        return new

    def left(self, node: str) -> None:
        """A node goes, on purpose."""
        said = self._remove(node)
        if said is not None:
            log.info("node-left", node=node, name=said.name)

    def silent(self, now: float) -> list[str]:
        """Forget the nodes that have been silent for too long, and name them."""
        gone = [node for node, heard in self._heard.items() if now - heard > SILENCE]
        for node in gone:
            said = self._remove(node)
            assert said is not None
            log.warning("node-lost", node=node, name=said.name, silent_for=f"{SILENCE:g}s")
        return gone

    def forgive(self, now: float) -> None:
        """It's we who couldn't hear them: all have been heard just `now`."""
        self._heard = dict.fromkeys(self._heard, now)

    def _remove(self, node: str) -> Heartbeat | None:
        self._heard.pop(node, None)
        self._spoke.pop(node, None)
        return self._said.pop(node, None)
