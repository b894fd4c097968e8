"""The machine on which a measurement is made."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_PROC = Path("/proc")


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
