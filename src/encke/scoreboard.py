"""The scoreboard: what every process of a node says of itself, in shared memory.

One anonymous shared mapping, made by the supervisor before it forks; a row of
64-bit numbers for each process, written by that process alone, read by the
control process and the supervisor without asking anyone. A process that is
stopped, busy or dead can therefore still be seen.

    row 0        the node: its state, and the counters of processes that died
    row 1        supervisor
    row 2        router
    row 3        control process
    row 4 ...    gateways

The loop of each process writes its **tick**, the time on the machine's monotonic clock, several
times a second: whose tick is old hangs (`Watcher`).

Invariants: one writer a row (the supervisor takes a row over once its process is
dead, adds its counters to row 0 and clears it, so sums never go backward). A
64-bit aligned store is atomic; a reader may see a row half updated, which is good
enough for a gauge.
"""

import enum
import mmap
import time
from collections.abc import Iterator

ROWS = 1024
"""Processes of one node: 1,020 gateways of 20,000 connections each are 20 million."""

NODE, SUPERVISOR, ROUTER, CONTROL, FIRST_GATEWAY = range(5)


SILENT = 3.0
"""Seconds without a tick after which a process counts as hung: ticks come four times a second, but
a turn may take a while on a busy machine. It is killed after --hang-timeout."""


class Field(enum.IntEnum):
    """The columns of the scoreboard."""

    PID = 0  # 0: no process in this row
    NUMBER = enum.auto()  # gateway: its number, as in handles
    STATE = enum.auto()  # a State
    STARTED = enum.auto()  # seconds since the epoch
    RESTARTS = enum.auto()  # how often the process in this row was replaced
    TICK = enum.auto()  # when its loop turned last: monotonic, ms
    # gauges
    CONNECTIONS = enum.auto()  # open client connections
    STREAMS = enum.auto()  # of which logged in
    CAPACITY = enum.auto()  # connections that the process can hold
    USERS = enum.auto()  # router: user ids with at least one connection
    LOGINS_HELD = enum.auto()  # router: (user id, connection) pairs
    QUEUED_BYTES = enum.auto()  # waiting for slow clients
    BLOCKED = enum.auto()  # connections for which something waits
    BODY_BYTES = enum.auto()  # kept of bodies that haven't come to their end
    NATS_LINK = enum.auto()  # router: a NatsLink
    NODES = enum.auto()  # router: other nodes that it knows
    NODE = enum.auto()  # router: the node's own name among them, a number of 48 bits
    # counters
    ACCEPTED = enum.auto()  # connections accepted
    LOGINS = enum.auto()
    LOGOUTS = enum.auto()
    REQUESTS = enum.auto()  # HTTP requests answered
    MESSAGES = enum.auto()  # messages taken from senders
    DELIVERED = enum.auto()  # messages handed to a connection
    UNDELIVERED = enum.auto()  # meant for a connection that had gone
    UNAVAILABLE = enum.auto()  # requests answered with 503
    BAD_REQUESTS = enum.auto()  # answered with 4xx, 501 or 505; streams closed for junk
    TIMEOUTS = enum.auto()  # heads, bodies or idle connections that took too long
    SLOW_CLIENTS = enum.auto()  # closed because their queue was full
    STREAMS_REFUSED = enum.auto()  # the node was full, or the user had too many
    ACCEPT_PAUSES = enum.auto()  # accept() refused for want of files or memory
    BYTES_OUT = enum.auto()  # written to clients
    PUBLISHED = enum.auto()  # of MESSAGES, those published to subscribers
    SUBSCRIBERS_READ = enum.auto()  # subscribers that the friends' store named
    LOOKUPS_FAILED = enum.auto()  # publications whose subscribers it couldn't name
    FORWARDED = enum.auto()  # messages handed on to NATS
    UNFORWARDED = enum.auto()  # messages that should have been, and couldn't
    RECEIVED = enum.auto()  # messages of other nodes, taken
    DROPPED = enum.auto()  # messages of other nodes, not taken
    NATS_LOST = enum.auto()  # links to NATS that were lost
    LOG_LINES_DROPPED = enum.auto()  # counted where it happens, and last: gateways copy the others


COUNTERS = tuple(range(Field.ACCEPTED, len(Field)))


class State(enum.IntEnum):
    """Where a process (row 0: the node) is in its life."""

    ABSENT = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    FULL = 4
    """Of the node: it's ready, but for more streams."""


class NatsLink(enum.IntEnum):
    """Where the link to NATS is in its life (`cluster/uplink`); its names are those of the
    control port too."""

    NONE = 0
    """The node is alone."""
    AWAY = 1
    CONNECTING = 2
    RESTORING = 3
    READY = 4
    """The node is joined to the others."""
    CLOSED = 5


class Row:
    """One process's row: `row[Field.STREAMS] = 3`."""

    __slots__ = ("_cells", "index")

    def __init__(self, cells: memoryview, index: int) -> None:
        self._cells = cells
        self.index = index

    def __getitem__(self, field: int) -> int:
        return int(self._cells[field])

    def __setitem__(self, field: int, value: int) -> None:
        self._cells[field] = value

    def tick(self) -> None:
        """Say that the process's loop turns."""
        self._cells[Field.TICK] = time.monotonic_ns() // 1_000_000


class Scoreboard:
    """The mapping and its rows."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, ROWS * len(Field) * 8)
        self._cells = memoryview(self._memory).cast("Q")

    def row(self, index: int) -> Row:
        """The row at `index`; see the module's head for who has which."""
        width = len(Field)
        return Row(self._cells[index * width : (index + 1) * width], index)

    def gateways(self) -> Iterator[Row]:
        """The rows of the gateways that are alive."""
        for index in range(FIRST_GATEWAY, ROWS):
            row = self.row(index)
            if row[Field.PID]:
                yield row

    def processes(self) -> Iterator[Row]:
        """The rows of all processes that are alive."""
        for index in (SUPERVISOR, ROUTER, CONTROL):
            row = self.row(index)
            if row[Field.PID]:
                yield row
        yield from self.gateways()

    def full(self, gateways: int) -> bool:
        """Whether none of the `gateways` that there may be takes another connection: each holds as
        many as it can, or hangs, but not all of them hang."""
        hangs = time.monotonic() - SILENT
        taken = hung = 0
        for row in self.gateways():
            if row[Field.STATE] != State.STARTING:
                if row[Field.TICK] / 1000 < hangs:
                    hung += 1
                elif row[Field.CONNECTIONS] >= row[Field.CAPACITY]:
                    taken += 1
        return taken > 0 and taken + hung >= gateways

    def total(self, field: Field) -> int:
        """`field` summed over the living processes; for counters, also those that died."""
        dead = self.row(NODE)[field] if field in COUNTERS else 0
        return dead + sum(row[field] for row in self.processes())

    def retire(self, index: int) -> None:
        """Clear the row of a dead process; its counters go to the node's row."""
        row, node = self.row(index), self.row(NODE)
        for field in COUNTERS:
            node[field] += row[field]
            row[field] = 0
        for gauge in (
            Field.PID,
            Field.NUMBER,
            Field.STATE,
            Field.TICK,
            *range(Field.CONNECTIONS, Field.ACCEPTED),
        ):
            row[gauge] = 0


class Watcher:
    """How long the others have been silent, as seen by a process that looks at them regularly, and
    that may have been stopped itself: what it has missed says nothing of them."""

    SUSPENDED = 1.0
    """Seconds between two looks from which on it's itself that was stopped."""

    def __init__(self) -> None:
        self._looked = self._since = time.monotonic()

    def look(self) -> None:
        """To be called several times a second."""
        now = time.monotonic()
        if now - self._looked > self.SUSPENDED:
            self._since = now
        self._looked = now

    def silent(self, row: Row) -> float:
        """Seconds since the process's loop has turned; 0.0 if it hasn't begun to."""
        tick = row[Field.TICK]
        if not tick:
            return 0.0
        return max(0.0, time.monotonic() - max(tick / 1000, self._since))
