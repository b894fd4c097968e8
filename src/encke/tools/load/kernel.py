"""What the kernel says: how many files a process may open, which connections it dropped."""

import resource
from typing import NamedTuple


class Queues(NamedTuple):
    """Connections that the kernel dropped, on any port of this machine, since its start.

    `overflows`: because a listening queue (the server's backlog) was full. `drops`: these,
    and others.
    """

    overflows: int = 0
    drops: int = 0

    def since(self, before: "Queues") -> "Queues":
        """What came after `before`."""
        return Queues(self.overflows - before.overflows, self.drops - before.drops)


def listening_queues() -> Queues:
    """The counters now; 0 where they can't be read."""
    try:
        with open("/proc/net/netstat", encoding="ascii") as file:
            lines = [line.split() for line in file if line.startswith("TcpExt:")]
    except OSError:
        return Queues()
    named = dict(zip(lines[0][1:], map(int, lines[1][1:]), strict=True))
    return Queues(named.get("ListenOverflows", 0), named.get("ListenDrops", 0))


def source_ports() -> int:
    """Connections that one source address can quickly make to one server.

    That's half of its ports: connect() tries every other port first, and once these are
    taken it looks at all of them, each time, before the others (inet_hash_connect). Measured
    on Linux 6.18: 15 us each up to there, and more than a millisecond from there on.
    """
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            first, last = map(int, file.read().split())
    except OSError:
        first, last = 32_768, 60_999
    return max(1, (last - first + 1) // 2)


def raise_files_limit() -> int:
    """Let this process, and those it forks, have as many open files as it may; the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
