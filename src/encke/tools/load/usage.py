"""What processes cost: CPU time and memory.

CPU time is the kernel's account of each process (user and system), so what a
neighbour on the machine takes doesn't count. Memory is PSS: a page that n
processes share counts 1/n for each, so the sum over a server's processes is what
it really takes.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def process_tree(pid: int) -> list[int]:
    """`pid` and all that descend from it, parents first; empty once `pid` is gone."""
    children: dict[int, list[int]] = {}
    alive = False
    for directory in _PROC.iterdir():
        if directory.name.isdecimal():
            fields = _stat(int(directory.name))
            if fields and fields[0] != b"Z":
                alive = alive or directory.name == str(pid)
                children.setdefault(int(fields[1]), []).append(int(directory.name))
    tree = [pid] if alive else []
    for parent in tree:
        tree.extend(children.get(parent, ()))
    return tree


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that `pids` have used, with that of children they have reaped."""
    ticks = 0
    for pid in pids:
        ticks += sum(map(int, _stat(pid)[11:15]))  # utime stime cutime cstime, see proc(5)
    return ticks / _TICKS


def split_seconds(pids: Iterable[int]) -> tuple[float, float]:
    """The user time and the system time that `pids` have used themselves."""
    user = system = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            user, system = user + int(fields[11]), system + int(fields[12])
    return user / _TICKS, system / _TICKS


def busy_seconds() -> float:
    """CPU time of all processes that can be seen, of those that have ended too.

    Not /proc/stat: it samples at ticks, and so misses work in small pieces.
    """
    return cpu_seconds(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())


def pss(pid: int) -> int:
    """Proportional set size of `pid`, bytes; 0 if it has gone."""
    try:
        rollup = (_PROC / str(pid) / "smaps_rollup").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in rollup.splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _stat(pid: int) -> list[bytes]:
    """Fields of /proc/PID/stat from the third (state) on; none if it has gone."""
    try:
        return (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
