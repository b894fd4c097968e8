"""What the machine allows, read from /proc, /sys and this process's limits.

Invariant: what can't be read is None, and no error.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec


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
    tcp_rmem: int | None  # bytes, as are the next two
    tcp_wmem: int | None
    wmem_max: int | None
    memory: int | None  # bytes available
    tracked: int | None  # connections in the tracker now
    track_max: int | None
    processes: int | None


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
        wmem_max=_number(sys_ / "net/core/wmem_max"),
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
