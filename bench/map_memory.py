"""Child process of ``python -m bench memory``: bytes that the router's map takes a user.

``python -m bench.map_memory USERS`` logs USERS ids in, one connection
each, spread over gateways as a machine with a limit of 20,000 open files would, and
prints what the process has grown by. A fresh process, since a heap that was used
before hides growth.
"""

import os
import sys
import time

import msgspec

from encke.hub.map import RouterMap
from encke.ids import handle
from encke.tools.load.usage import pss

GATEWAY_HOLDS = 20_000


class MapMemory(msgspec.Struct):
    """`bytes`: growth of the process's PSS; `seconds`: for all logins."""

    users: int
    bytes: int
    seconds: float


def measure(users: int) -> MapMemory:
    """Log `users` ids in; must be a process's first work."""
    before = pss(os.getpid())
    start = time.perf_counter()
    router_map = RouterMap()
    for number in range(users):
        gateway, slot = divmod(number, GATEWAY_HOLDS)
        router_map.login(b"%d" % number, handle(gateway, 0, slot))
    seconds = time.perf_counter() - start
    assert len(router_map) == users
    return MapMemory(users, pss(os.getpid()) - before, seconds)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure(int(sys.argv[1]))) + b"\n")
