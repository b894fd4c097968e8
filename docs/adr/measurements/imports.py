"""What it costs a node to import a library before the fork, in PSS over its processes.

A parent imports the modules named, freezes the collector and forks four children
that wait, as a supervisor with a router, two gateways and a control process does.

    python docs/adr/measurements/imports.py
"""

import gc
import os
import signal
import subprocess
import sys
import time

CHILDREN = 4
SETS = (
    "socket,select,array",
    "socket,select,array,httptools,msgspec",
    "socket,select,array,httptools,msgspec,asyncio",
)


def pss(pid: int) -> int:
    """KiB of memory of a process, shared pages divided among those who share them."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


def measure(modules: str) -> None:
    """Import, fork, print a line."""
    for module in modules.split(","):
        __import__(module)
    gc.collect()
    gc.freeze()
    pids = []
    for _ in range(CHILDREN):
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        pids.append(pid)
    time.sleep(0.5)
    total = pss(os.getpid()) + sum(map(pss, pids))
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    print(f"{total / 1024:6.1f} MiB  {1 + CHILDREN} processes  {modules}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        for modules in SETS:
            subprocess.run([sys.executable, __file__, modules], check=True)
