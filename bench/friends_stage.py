"""A node's listeners, to whom their friends publish: opened, published to, checked.

As stage.Stage, but nobody says whom a message goes to: the node finds them in its store, and
what came is compared with what the graph says (friends_due).
"""

import time
from pathlib import Path

import httpx
import msgspec

from encke.tools.load.stamp import SUM, first_sender, key, publication
from encke.tools.load.summary import Durations
from encke.tools.load.usage import process_tree, split_seconds

from . import counts
from .friends_due import Audience, Messages, Mismatch, mismatch
from .servers.encke import Encke
from .servers.processes import BenchError
from .stage import ARRIVAL, LINGER, SENDERS, Cost, Stage, cost_of, paced

BATCH = 10_000
"""Publications of an NDJSON body, at most."""

PATIENCE = 120.0
"""Seconds that one publication, or what is left of very many, may take."""


class Share(msgspec.Struct, frozen=True):
    """CPU seconds of processes of one kind, user's and kernel's."""

    name: str
    user: float
    system: float

    @property
    def both(self) -> float:
        return self.user + self.system


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """Messages were published, and waited for until all had come."""

    publications: int
    """Accepted by the server."""
    refused: int
    claimed: int
    """Deliveries, as the server says."""
    deliveries: int
    """Messages that came."""
    seconds: float
    """Until the last one had come."""
    rate: float
    """Publications accepted a second, until the last answer."""
    cost: Cost
    shares: list[Share]
    """Where the CPU time went; what the generator took isn't split."""
    lag: Durations
    """How much later than due they were written."""
    wrong: Mismatch
    """With all that came since the streams were opened."""

    @property
    def delivery_rate(self) -> float:
        return self.deliveries / self.seconds

    @property
    def server_us(self) -> float:
        """The server's CPU time a delivery, microseconds."""
        return self.cost.server / max(1, self.deliveries) * 1e6


class Answered(msgspec.Struct, frozen=True):
    """One publication: how long its answer took, and what that says."""

    seconds: float
    delivered: int


class Listeners(Stage):
    """The streams of an audience, at a node; `users` may publish, numbered from 1 on."""

    def __init__(
        self, server: Encke, audience: Audience, users: int, directory: Path, transport: str
    ) -> None:
        urls = directory / "urls"
        with urls.open("w") as file:
            file.writelines(f"{server.url}/{transport}/{user}\n" for user in audience.online)
        self._sums = directory / "got-sums"
        addresses = ("--urls", str(urls), "--sums", str(self._sums))
        super().__init__(server, len(audience.online), directory, addresses=addresses)
        self._node = server
        self._audience = audience
        self._users_all = users
        self._published = Messages.none(users)
        self._sender = first_sender()
        self._runs = 0
        self._numbers = 0
        self._client = self._stack.enter_context(
            httpx.Client(timeout=PATIENCE, trust_env=False, verify=False)  # noqa: S501 (no TLS)
        )

    def publish_fastest(self, seconds: float) -> Published:
        """For so long, as fast as they are taken."""
        return self._publish(PATIENCE + 3 * seconds, "--duration", str(seconds))

    def publish_paced(self, rate: float, seconds: float) -> Published:
        """`rate` a second, as stage.send_paced."""
        pace = paced(rate, seconds, LINGER)
        return self._publish(PATIENCE + 3 * seconds, *pace)

    def publish_one(self, publisher: int) -> Answered:
        """One message, by POST. Raises BenchError if it isn't accepted."""
        self._numbers += 1
        number = key(self._sender, self._numbers)
        url = f"{self.server.url}/publish/{publisher}"
        began = time.monotonic()
        try:
            answer = self._client.post(url, content=publication(number)).raise_for_status()
            delivered = msgspec.json.decode(answer.content, type=dict[str, int])["delivered"]
        except (httpx.HTTPError, msgspec.MsgspecError, KeyError) as error:
            raise BenchError(f"A publication was not taken: {error!r}") from None
        seconds = time.monotonic() - began
        self._published.counts[publisher - 1] += 1
        sums = self._published.sums
        sums[publisher - 1] = (sums[publisher - 1] + number) & SUM
        return Answered(seconds, delivered)

    def await_all(self) -> Mismatch:
        """Wait until all that was published has come, or nothing more comes; what is wrong."""
        due = self._audience.due(self._published)
        self._wait_for(sum(due.counts))
        return mismatch(due, Messages.read(self._got, self._sums))

    # parts of these

    def _publish(self, patience: float, *arguments: str) -> Published:
        self._runs += 1
        counted, sums = (self._directory / f"{kind}-{self._runs}" for kind in ("counts", "sums"))
        came = self._came()
        before, meter = self._spent(), self._meter()
        said = self.generated(
            patience,
            *("--publish", "--stamp", "--ndjson", "--batch", str(BATCH)),
            *("--senders", str(SENDERS), "--max-id", str(self._users_all)),
            *("--counts", str(counted), "--sums", str(sums)),
            *arguments,
        )
        ended = time.monotonic()
        if not said.accepted:
            raise BenchError(f"Nothing could be published: {said.errors}.")
        arrived = self._wait_for(came + said.delivered)
        seconds = said.elapsed + time.monotonic() - ended
        cost = cost_of(meter, said.cpu_seconds)
        shares = self._shares(before)
        self._published.add(Messages.read(counted, sums))
        return Published(
            publications=said.accepted,
            refused=said.failed,
            claimed=said.delivered,
            deliveries=arrived - came,
            seconds=seconds,
            rate=said.rate,
            cost=cost,
            shares=shares,
            lag=said.lag,
            wrong=self.await_all(),
        )

    def _wait_for(self, count: int) -> int:
        """Wait until so many have come, or nothing more comes; how many have."""
        counts.wait(lambda: self._came() >= count, self._came, ARRIVAL)
        return self._came()

    def _came(self) -> int:
        return counts.came(self._got)

    def _spent(self) -> dict[str, tuple[float, float]]:
        """CPU seconds by kind of process."""
        kinds: dict[str, list[int]] = {}
        for name, pid in self._node.named_pids().items():
            kinds.setdefault(name.partition("-")[0], []).append(pid)
        kinds["flood"] = process_tree(self.clients.pid)
        return {kind: split_seconds(pids) for kind, pids in kinds.items()}

    def _shares(self, before: dict[str, tuple[float, float]]) -> list[Share]:
        return [
            Share(kind, user - before[kind][0], system - before[kind][1])
            for kind, (user, system) in self._spent().items()
        ]
