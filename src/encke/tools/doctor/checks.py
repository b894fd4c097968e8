"""What N connections need, item by item, and the lines that make it so.

Pure: the machine is given.
"""

import operator
from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec

from ...scoreboard import FIRST_GATEWAY, ROWS
from ...settings import RESERVED_FILES, Settings
from .machine import Machine

USER_BYTES = 512
"""Of the server's own memory a connection, at most (its budget)."""
KERNEL_BYTES = 4900
"""Of the kernel's memory a connection: socket, file and epoll entry. Measured on Linux 6.18
with a million idle ones."""
GATEWAY_BYTES = 3_000_000
"""A gateway's own memory, measured after the fork."""
NODE_BYTES = 40_000_000
"""The memory of a whole small server (its budget)."""
OTHER_PROCESSES = 3
"""Supervisor, router, control process."""
TCP_PAGES = 1
"""Of TCP memory a connection with a message on its way: measured on Linux 6.18, as is that
an idle one has none. Someone will send to everyone at once, so all are counted."""
PAGE = 4096
ONE_STUCK_IN = 100
"""One connection in so many is expected not to read what it's sent, for as long as it likes."""
STUCK_PAGES = 14
"""Of TCP memory each of those takes, whatever it's sent: measured on Linux 6.18, see
gateway.sockets.NOT_SENT."""
SOCKETS_A_BUCKET = 4
"""Of the kernel's table of TCP sockets, at most. Measured on Linux 6.18 with a million streams and
their clients: a message to each took the server 13.1 us with 8 a bucket, 10.7 with one in two."""
MB = 1_000_000
SMALLEST_BUFFER = 4096
"""The kernel's default minimum of a buffer, which each socket may use even when memory is short."""


class Verdict(StrEnum):
    """What a check found."""

    OK = "ok"
    LACKS = "lacks"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One check: what there is, what N connections need, and the lines that make it so."""

    check: str
    have: int | None
    need: int
    verdict: Verdict
    note: str = ""
    sysctl: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    boot: tuple[str, ...] = ()


def check(
    machine: Machine,
    connections: int,
    backlog: int = Settings().backlog,
    send_buffer: int = Settings().send_buffer,
) -> list[Finding]:
    """Whether `machine` can hold `connections`, item by item.

    `backlog` is the number of connections that may wait to be accepted, `send_buffer` the bytes
    that the kernel is asked to hold for each.
    """
    gateways = gateways_needed(machine, connections)
    return [
        *_files(machine, connections, gateways),
        *_queues(machine, backlog),
        *_tcp(machine, connections, send_buffer),
        *_tracker(machine, connections),
        *_resources(machine, connections, gateways),
        *_ports(machine, connections),
    ]


def gateways_needed(machine: Machine, connections: int) -> int:
    """Gateway processes for `connections`: one a core, more if their open files demand it."""
    capacity = max(machine.files_hard - RESERVED_FILES, 1)
    return max(machine.cores, -(-connections // capacity))


def _files(machine: Machine, connections: int, gateways: int) -> Iterator[Finding]:
    most = ROWS - FIRST_GATEWAY
    roomy = _round_up(-(-connections // machine.cores) + RESERVED_FILES)
    need = -(-connections // most) + RESERVED_FILES
    note = f"{gateways:,} gateway{'s' if gateways > 1 else ''}"
    if gateways > machine.cores:
        note += "; with more files they'd be fewer"
    if machine.files_soft < machine.files_hard:
        note += f"; the soft limit ({machine.files_soft:,}) is raised"
    yield _finding(
        "open files a process",
        machine.files_hard,
        need,
        note=note,
        sysctl=(f"fs.nr_open = {roomy}",) if roomy > (machine.nr_open or 0) else (),
        limits=(f"* - nofile {roomy}",),
        unit=(f"LimitNOFILE={roomy}",),
    )
    all_files = connections + gateways * RESERVED_FILES + (machine.files_used or 0)
    yield _finding(
        "file-max",
        machine.file_max,
        all_files,
        note="open files of all processes",
        sysctl=(f"fs.file-max = {_round_up(all_files)}",),
    )
    watches = connections + gateways * RESERVED_FILES
    yield _finding(
        "epoll.max_user_watches",
        machine.epoll_watches,
        watches,
        note="one a connection",
        sysctl=(f"fs.epoll.max_user_watches = {_round_up(watches)}",),
    )


def _queues(machine: Machine, backlog: int) -> Iterator[Finding]:
    yield _finding(
        "somaxconn",
        machine.somaxconn,
        backlog,
        note="cuts --backlog",
        sysctl=(f"net.core.somaxconn = {backlog}",),
    )
    if machine.syn_cookies:
        yield Finding(
            check="tcp_max_syn_backlog",
            have=machine.syn_backlog,
            need=0,
            verdict=Verdict.OK,
            note="unused: tcp_syncookies is on",
        )
        return
    yield _finding(
        "tcp_max_syn_backlog",
        machine.syn_backlog,
        backlog,
        sysctl=("net.ipv4.tcp_syncookies = 1", f"net.ipv4.tcp_max_syn_backlog = {backlog}"),
    )


def _tcp(machine: Machine, connections: int, send_buffer: int) -> Iterator[Finding]:
    pages = connections * TCP_PAGES + connections // ONE_STUCK_IN * STUCK_PAGES
    yield _finding(
        "tcp_mem, pages",
        machine.tcp_mem,
        pages,
        note=f"one a message on its way, to all at once; {STUCK_PAGES} for each of the one in "
        f"{ONE_STUCK_IN} that doesn't read",
        # Above the second figure the kernel saves, above the third it drops.
        sysctl=(f"net.ipv4.tcp_mem = {pages} {pages * 5 // 4} {pages * 3 // 2}",),
    )
    yield _finding(
        "wmem_max",
        machine.wmem_max,
        send_buffer,
        note="cuts --send-buffer",
        sysctl=(f"net.core.wmem_max = {send_buffer}",),
    )
    buckets = -(-connections // SOCKETS_A_BUCKET)
    yield _finding(
        "tcp_ehash_entries",
        machine.tcp_buckets,
        buckets,
        note="or each packet takes longer; clients on this machine count too",
        boot=(f"thash_entries={_round_up(buckets)}",),
    )
    for name, have, default in (
        ("tcp_rmem", machine.tcp_rmem, "4096 131072 6291456"),
        ("tcp_wmem", machine.tcp_wmem, "4096 16384 4194304"),
    ):
        yield _finding(
            f"{name}, minimum",
            have,
            SMALLEST_BUFFER,
            fits=operator.le,
            note="bytes, at most",
            sysctl=(f"net.ipv4.{name} = {default}",),
        )


def _tracker(machine: Machine, connections: int) -> Iterator[Finding]:
    if machine.track_max is None or machine.tracked is None:
        return  # not loaded, as it should be
    if not machine.tracked:
        yield _finding("nf_conntrack_max", machine.track_max, 0, note="tracks nothing")
        return
    entries = machine.tracked + connections
    yield _finding(
        "nf_conntrack_max",
        machine.track_max,
        entries,
        note="or exempt Encke's port: notrack",
        sysctl=(f"net.netfilter.nf_conntrack_max = {_round_up(entries)}",),
    )


def _resources(machine: Machine, connections: int, gateways: int) -> Iterator[Finding]:
    each = USER_BYTES + KERNEL_BYTES + STUCK_PAGES * PAGE // ONE_STUCK_IN
    yield _finding(
        "memory available, MB",
        None if machine.memory is None else machine.memory // MB,
        (connections * each + gateways * GATEWAY_BYTES + NODE_BYTES) // MB,
        note=f"{each:,} bytes a connection, {each - USER_BYTES:,} of them the kernel's",
    )
    processes = gateways + OTHER_PROCESSES
    yield _finding(
        "processes",
        machine.processes,
        processes,
        note="if not TasksMax: ulimit -u, kernel.pid_max",
        unit=(f"TasksMax={_round_up(processes + 1000)}",),
    )


def _ports(machine: Machine, connections: int) -> Iterator[Finding]:
    have = None
    note = "for load tools on this machine only"
    if machine.ports is not None:
        have = machine.ports[1] - machine.ports[0] + 1
        sources = -(-connections // have)
        note = f"source addresses for load tools here: {sources:,}"
    yield _finding(
        "ip_local_port_range",
        have,
        1024,
        note=note,
        sysctl=("net.ipv4.ip_local_port_range = 32768 60999",),
    )


def _finding(
    check: str,
    have: int | None,
    need: int,
    *,
    note: str = "",
    fits: Callable[[int, int], bool] = operator.ge,
    sysctl: tuple[str, ...] = (),
    limits: tuple[str, ...] = (),
    unit: tuple[str, ...] = (),
    boot: tuple[str, ...] = (),
) -> Finding:
    """The finding on `check`, with the lines that mend it only if it needs mending."""
    if have is None:
        return Finding(check=check, have=have, need=need, verdict=Verdict.UNKNOWN, note=note)
    if fits(have, need):
        return Finding(check=check, have=have, need=need, verdict=Verdict.OK, note=note)
    return Finding(
        check=check,
        have=have,
        need=need,
        verdict=Verdict.LACKS,
        note=note,
        sysctl=sysctl,
        limits=limits,
        unit=unit,
        boot=boot,
    )


def _round_up(number: int) -> int:
    """The next power of two: a limit that needs no second change."""
    return 1 << (number - 1).bit_length()
