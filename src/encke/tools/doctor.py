"""``encke doctor``: can this machine hold N connections, and what to set if it can't.

The kernel tuning of "A Million-user Comet Application with Mochiweb" (2008, parts 1
and 3), brought up to date. Of its lines

- ``fs.file-max``, ``ulimit -n``, ``ip_local_port_range``, ``tcp_mem`` and the size of the
  connection tracker still matter and are checked here. ``ulimit`` in a shell doesn't
  reach a service, which has ``LimitNOFILE=``; ``ip_conntrack_max`` is now
  ``nf_conntrack_max``, and counts only where a firewall rule asks for tracking.
- ``tcp_rmem`` and ``tcp_wmem`` (4096 16384 33554432) are obsolete: buffers have grown and
  shrunk by themselves since Linux 2.6.17, and an idle socket's are not allocated at
  all. Only a minimum above the default would hurt, and that is checked.
- ``net.core.rmem_max`` and ``wmem_max`` are obsolete: they limit what a program asks for
  with SO_RCVBUF and SO_SNDBUF, and Encke doesn't ask.
- ``netdev_max_backlog`` is obsolete: network cards have been polled (NAPI) past that
  queue for long; it is left for loopback and for cards of one queue.
- ``tcp_max_tw_buckets``: by default it grows with the memory, and mostly the client
  closes first, which leaves the waiting to the client.
- ``vm.min_free_kbytes`` is sized by the kernel; ``vm.swappiness = 0`` has since Linux 3.5
  meant that programs are killed rather than swapped.

What the article didn't need to say, because it had one process and another kernel:
``somaxconn`` (it cut every backlog to 128), ``epoll.max_user_watches``, limits on
processes and memory that a container sets, and ``tcp_ehash_entries``: the table in which the
kernel looks up the socket of each packet has a fixed number of buckets, and what it walks
there is in no cache.

`check` is pure; `read_machine` reads /proc.
"""

import operator
import os
import resource
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from ..scoreboard import FIRST_GATEWAY, ROWS
from ..settings import RESERVED_FILES, Settings, connection_limit

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
PAGES = 1
"""Of TCP memory a connection with a message on its way: measured on Linux 6.18, as is that
an idle one has none. Someone will send to everyone at once, so all are counted."""
SOCKETS_A_BUCKET = 4
"""Of the kernel's table of TCP sockets, at most. Measured on Linux 6.18 with a million streams and
their clients: a message to each took the server 13.1 us with 8 a bucket, 10.7 with one in two."""
MB = 1_000_000
SMALLEST_BUFFER = 4096
"""The kernel's default minimum of a buffer, which each socket may use even when memory is short."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine allows. None: it can't be read here, or (limits) there is no limit."""

    cores: int
    files_soft: int
    files_hard: int
    files_used: int | None
    file_max: int | None
    nr_open: int | None
    epoll_watches: int | None
    somaxconn: int | None
    syn_backlog: int | None
    syn_cookies: int | None
    ports: tuple[int, int] | None
    tcp_buckets: int | None
    tcp_mem: int | None  # pages
    tcp_rmem: int | None  # bytes, as is the next
    tcp_wmem: int | None
    memory: int | None  # bytes available
    tracked: int | None  # connections in the tracker now
    track_max: int | None
    processes: int | None


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


class Report(msgspec.Struct, frozen=True):
    """What ``encke doctor --json`` prints."""

    connections: int
    suffices: bool
    findings: list[Finding]


def check(machine: Machine, connections: int, backlog: int = Settings().backlog) -> list[Finding]:
    """Whether `machine` can hold `connections`, item by item.

    `backlog` is the number of connections that may wait to be accepted.
    """
    gateways = gateways_needed(machine, connections)
    return [
        *_files(machine, connections, gateways),
        *_queues(machine, backlog),
        *_tcp(machine, connections),
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


def _tcp(machine: Machine, connections: int) -> Iterator[Finding]:
    pages = connections * PAGES
    yield _finding(
        "tcp_mem, pages",
        machine.tcp_mem,
        pages,
        note="one a message on its way; to all at once",
        # Above the second figure the kernel saves, above the third it drops.
        sysctl=(f"net.ipv4.tcp_mem = {pages} {pages * 5 // 4} {pages * 3 // 2}",),
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
    each = USER_BYTES + KERNEL_BYTES
    yield _finding(
        "memory available, MB",
        None if machine.memory is None else machine.memory // MB,
        (connections * each + gateways * GATEWAY_BYTES + NODE_BYTES) // MB,
        note=f"{each:,} bytes a connection, {KERNEL_BYTES:,} of them the kernel's",
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


def read_machine(root: Path = Path("/")) -> Machine:
    """What this machine and this process are allowed; `root` is where proc and sys lie."""
    proc = root / "proc"
    sys_ = proc / "sys"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    nr_open = _numbers(sys_ / "fs/nr_open")[:1]
    ports = _numbers(sys_ / "net/ipv4/ip_local_port_range")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        files_soft=soft,
        files_hard=hard,
        files_used=_number(sys_ / "fs/file-nr"),
        file_max=_number(sys_ / "fs/file-max"),
        nr_open=nr_open[0] if nr_open else None,
        epoll_watches=_number(sys_ / "fs/epoll/max_user_watches"),
        somaxconn=_number(sys_ / "net/core/somaxconn"),
        syn_backlog=_number(sys_ / "net/ipv4/tcp_max_syn_backlog"),
        syn_cookies=_number(sys_ / "net/ipv4/tcp_syncookies"),
        ports=(ports[0], ports[1]) if len(ports) == 2 else None,
        tcp_buckets=tcp_buckets(root),
        tcp_mem=_number(sys_ / "net/ipv4/tcp_mem", 2),
        tcp_rmem=_number(sys_ / "net/ipv4/tcp_rmem"),
        tcp_wmem=_number(sys_ / "net/ipv4/tcp_wmem"),
        memory=_least(_memory_available(proc / "meminfo"), *_cgroup_memory_left(root)),
        tracked=_number(sys_ / "net/netfilter/nf_conntrack_count"),
        track_max=_number(sys_ / "net/netfilter/nf_conntrack_max"),
        processes=_least(
            _number(sys_ / "kernel/pid_max"),
            _number(sys_ / "kernel/threads-max"),
            _unless_infinite(resource.getrlimit(resource.RLIMIT_NPROC)[0]),
            *(_number(group / "pids.max") for group in _cgroups(root)),
        ),
    )


def tcp_buckets(root: Path = Path("/")) -> int | None:
    """Buckets of the kernel's table of TCP sockets (told since Linux 6.2)."""
    buckets = _number(root / "proc/sys/net/ipv4/tcp_ehash_entries")
    return None if buckets is None else abs(buckets)  # negative: shared with the first namespace


def _numbers(path: Path) -> list[int]:
    """The whole numbers in the file; none if it isn't there or holds something else."""
    try:
        return [int(word) for word in path.read_text("ascii").split()]
    except (OSError, ValueError):
        return []


def _number(path: Path, index: int = 0) -> int | None:
    numbers = _numbers(path)
    return numbers[index] if len(numbers) > index else None


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _unless_infinite(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _memory_available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text("ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroups(root: Path) -> Iterator[Path]:
    """This process's control group (version 2) and those above it: each may set a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    top = root / "sys/fs/cgroup"
    for line in lines:
        if line.startswith("0::"):
            group = top / line.removeprefix("0::").lstrip("/")
            yield group
            yield from (above for above in group.parents if above.is_relative_to(top))


def _cgroup_memory_left(root: Path) -> Iterator[int]:
    for group in _cgroups(root):
        most, used = _number(group / "memory.max"), _number(group / "memory.current")
        if most is not None and used is not None:
            yield max(most - used, 0)


def run(connections: int, json: bool) -> int:
    """Print what `check` finds for `connections` (0: the default); 0 if it suffices, else 1."""
    connections = connections or connection_limit(Settings())
    findings = check(read_machine(), connections)
    suffices = all(finding.verdict is not Verdict.LACKS for finding in findings)
    if json:
        report = Report(connections, suffices, findings)
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        _print_table(findings, connections)
        print("This machine suffices." if suffices else advice(findings))
    return 0 if suffices else 1


def _print_table(findings: list[Finding], connections: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    colour = {Verdict.OK: "green", Verdict.LACKS: "bold red", Verdict.UNKNOWN: "yellow"}
    title = f"To hold {connections:,} connections"
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("check", no_wrap=True)
    table.add_column("have", justify="right", no_wrap=True)
    table.add_column("need", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("note")
    for finding in findings:
        table.add_row(
            finding.check,
            "?" if finding.have is None else f"{finding.have:,}",
            f"{finding.need:,}",
            f"[{colour[finding.verdict]}]{finding.verdict}[/]",
            finding.note,
        )
    Console().print(table)


def advice(findings: list[Finding]) -> str:
    """The lines to put into the machine's files, for what lacks; a block a file."""
    blocks = [
        (
            "/etc/sysctl.d/90-encke.conf (then: sysctl --system)",
            [line for finding in findings for line in finding.sysctl],
        ),
        (
            "/etc/security/limits.d/90-encke.conf (for shells; log in anew)",
            [line for finding in findings for line in finding.limits],
        ),
        (
            "[Service] section of encke.service (then: systemctl daemon-reload)",
            [line for finding in findings for line in finding.unit],
        ),
        (
            "the kernel's command line (then: reboot; or see docs/deployment.md)",
            [line for finding in findings for line in finding.boot],
        ),
    ]
    lacks = ", ".join(f.check for f in findings if f.verdict is Verdict.LACKS)
    text = [f"What lacks: {lacks}.\n"]
    text += ["\n".join([f"# {file}", *lines, ""]) for file, lines in blocks if lines]
    return "\n".join(text).rstrip()
