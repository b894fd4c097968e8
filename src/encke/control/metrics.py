"""The node's state as Prometheus metrics.

One table says which column of the state is which metric; nothing is counted here.
Per-process metrics are labelled with the process's place (`gateway-0`), which its
replacement inherits, so that restarts don't make new series.

May import: state.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .state import NodeState

_GAUGES = {
    "connections": "Open client connections.",
    "streams": "Open streams: connections that are logged in under a user id.",
    "capacity": "Connections that the running gateways can hold.",
    "users": "User ids with at least one stream.",
    "logins_held": "Pairs of user id and stream.",
    "queued_bytes": "Bytes waiting for slow clients.",
    "nodes": "Other nodes of the cluster that are heard of.",
}
_COUNTERS = {
    "accepted": "Connections accepted.",
    "logins": "Logins of streams.",
    "logouts": "Logouts of streams.",
    "requests": "HTTP requests answered.",
    "messages": "Messages taken from senders.",
    "delivered": "Messages handed to a stream.",
    "undelivered": "Messages meant for a stream that had gone.",
    "unavailable": "Messages answered with 503.",
    "bad_requests": "Requests answered with 4xx.",
    "timeouts": "Connections closed because a head, a body or the next request took too long.",
    "slow_clients": "Streams closed because their client read too slowly.",
    "accept_pauses": "Pauses of accepting for want of files or memory.",
    "bytes_out": "Bytes written to clients.",
    "published": "Of the messages taken, those that were published to subscribers.",
    "subscribers_read": "Subscribers that the friends' store named.",
    "lookups_failed": "Publications whose subscribers the friends' store couldn't name.",
    "forwarded": "Messages handed on to other nodes.",
    "unforwarded": "Messages that should have been handed on to other nodes, and couldn't.",
    "received": "Messages of other nodes, taken.",
    "dropped": "Messages of other nodes that couldn't be taken.",
    "nats_lost": "Links to NATS that were lost.",
}
_PROCESS_GAUGES = {
    "memory_bytes": "Memory of the process (PSS).",
    "connections": "Open client connections of the process.",
    "queued_bytes": "Bytes waiting for slow clients of the process.",
}
_PROCESS_COUNTERS = {
    "cpu_seconds": "Processor time of the process, user and system.",
    "restarts": "How often the process was replaced.",
}


def exposition(state: NodeState) -> bytes:
    """All metrics of the node that is in `state`, in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Node(state))
    return generate_latest(registry)


class _Node(Collector):
    def __init__(self, state: NodeState) -> None:
        self._state = state

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        state = self._state
        build = GaugeMetricFamily("encke_build", "Version of the server.", labels=("version",))
        build.add_metric((state.version,), 1)
        yield build
        yield GaugeMetricFamily(
            "encke_ready", "1 while the node takes connections.", float(state.status == "ready")
        )
        if state.nats_link != "none":
            yield GaugeMetricFamily(
                "encke_nats_ready",
                "1 while the link to NATS is ready.",
                float(state.nats_link == "ready"),
            )
        yield GaugeMetricFamily("encke_uptime_seconds", "Time since the start.", state.uptime)
        for name, help_text in _GAUGES.items():
            yield GaugeMetricFamily(f"encke_{name}", help_text, getattr(state, name))
        for name, help_text in _COUNTERS.items():
            yield CounterMetricFamily(f"encke_{name}", help_text, getattr(state, name))
        yield from self._processes()

    def _processes(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        families = [
            (name, family(f"encke_process_{name}", help_text, labels=("process",)))
            for family, table in (
                (GaugeMetricFamily, _PROCESS_GAUGES),
                (CounterMetricFamily, _PROCESS_COUNTERS),
            )
            for name, help_text in table.items()
        ]
        for name, metric in families:
            for process in self._state.processes:
                metric.add_metric((process.name,), getattr(process, name))
            yield metric
