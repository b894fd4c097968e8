"""The node's state as Prometheus metrics.

One table says which column of the state is which metric; nothing is counted here.
Per-process metrics are labelled with the process's place (`gateway-0`), which its
replacement inherits, so that restarts don't make new series.

The text format (https://prometheus.io/docs/instrumenting/exposition_formats/) is a line a
sample and two a family, written here: its library brings HTTP servers and OpenSSL along, 7 MB
of a node (docs/adr/0013).
"""

from collections.abc import Iterable, Iterator

from .state import NodeState

_GAUGES = {
    "connections": "Open client connections.",
    "streams": "Open streams: connections that are logged in under a user id.",
    "capacity": "Connections that the running gateways can hold.",
    "users": "User ids with at least one stream.",
    "logins_held": "Pairs of user id and stream.",
    "queued_bytes": "Bytes waiting for slow clients.",
    "blocked": "Connections for which bytes wait: their clients haven't taken what came before.",
    "body_bytes": "Bytes kept of bodies of requests that haven't come to their end.",
    "tcp_memory_bytes": "Memory that the kernel keeps for TCP, of all programs of the machine.",
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
    "unavailable": "Requests answered with 503.",
    "bad_requests": "Requests answered with 4xx, 501 or 505; streams closed for what came on them.",
    "timeouts": "Connections closed because a head, a body or the next request took too long.",
    "slow_clients": "Streams closed because their client read too slowly.",
    "streams_refused": "Streams refused: the node was full, or the user had too many.",
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
    "log_lines_dropped": "Lines of the log that couldn't be written.",
}
_PROCESS_GAUGES = {
    "memory_bytes": "Memory of the process (PSS).",
    "connections": "Open client connections of the process.",
    "queued_bytes": "Bytes waiting for slow clients of the process.",
    "silent_seconds": "Time since the process's loop has turned.",
}
_PROCESS_COUNTERS = {
    "cpu_seconds": "Processor time of the process, user and system.",
    "restarts": "How often the process was replaced.",
}


Sample = tuple[str, float]
"""The labels, in their braces or empty, and the value."""


def exposition(state: NodeState) -> bytes:
    """All metrics of the node that is in `state`, in Prometheus's text format."""
    return "".join(_lines(state)).encode()


def _lines(state: NodeState) -> Iterator[str]:
    yield from _gauge("build", "Version of the server.", [(_label("version", state.version), 1)])
    full = state.status == "full"
    ready = full or state.status == "ready"
    yield from _gauge("ready", "1 while the node takes connections.", [("", ready)])
    yield from _gauge("full", "1 while it takes those of senders only.", [("", full)])
    if state.nats_link != "none":
        linked = state.nats_link == "ready"
        yield from _gauge("nats_ready", "1 while the link to NATS is ready.", [("", linked)])
    yield from _gauge("uptime_seconds", "Time since the start.", [("", state.uptime)])
    for name, help_text in _GAUGES.items():
        yield from _gauge(name, help_text, [("", getattr(state, name))])
    for name, help_text in _COUNTERS.items():
        yield from _counter(name, help_text, [("", getattr(state, name))])
    for name, help_text in _PROCESS_GAUGES.items():
        yield from _gauge(f"process_{name}", help_text, _by_process(state, name))
    for name, help_text in _PROCESS_COUNTERS.items():
        yield from _counter(f"process_{name}", help_text, _by_process(state, name))


def _by_process(state: NodeState, name: str) -> list[Sample]:
    return [(_label("process", it.name), getattr(it, name)) for it in state.processes]


def _label(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{{name}="{escaped}"}}'


def _gauge(name: str, help_text: str, samples: Iterable[Sample]) -> Iterator[str]:
    return _family(f"encke_{name}", "gauge", help_text, samples)


def _counter(name: str, help_text: str, samples: Iterable[Sample]) -> Iterator[str]:
    return _family(f"encke_{name}_total", "counter", help_text, samples)


def _family(name: str, kind: str, help_text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        yield f"{name}{labels} {float(value)!r}\n"
