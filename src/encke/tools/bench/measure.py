"""What a server costs: CPU time and memory of all its processes; and the machine.

CPU time is the kernel's account of each process (user and system), so what a
neighbour on the machine takes doesn't count. Memory is PSS: a page that n
processes share counts 1/n for each, so the sum over a server's processes is what
it really takes.

May import: nothing of Encke.
"""

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

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


class Machine(msgspec.Struct, frozen=True):
    """Where and with what a measurement was made."""

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    encke: str
    commit: str
    date: str


def machine(version: str) -> Machine:
    """This machine, now; `version` is Encke's."""
    return Machine(
        cpu=_first_of("cpuinfo", "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=int((_first_of("meminfo", "MemTotal") or "0").split()[0]) * 1024,
        kernel=platform.release(),
        python=platform.python_version(),
        encke=version,
        commit=_commit(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _first_of(file: str, name: str) -> str:
    for line in (_PROC / file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _commit() -> str:
    """The commit that this package is run from, with + if files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
