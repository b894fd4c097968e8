"""The machine, in a line: a figure without it means little."""

import os
import platform
from pathlib import Path

import psutil


def this_machine() -> str:
    """Processor, cores that this process may use, memory, kernel."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} core{'s' if cores > 1 else ''}, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, Linux {platform.release()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
