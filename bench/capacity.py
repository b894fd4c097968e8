"""How many connections this machine can hold with both ends on it, and what sets the bound.

Pure.
"""

import msgspec

from encke.scoreboard import FIRST_GATEWAY, ROWS
from encke.settings import RESERVED_FILES
from encke.tools.doctor import Machine
from encke.tools.doctor import checks as doctor
from encke.tools.flood import plan as flood_plan

from .servers.processes import BenchError

MOST = 1_000_000
"""Connections by default, however large the machine is."""

FLOOD_BYTES = 200
"""Of the clients' memory a connection, with their processes (measured: about 150)."""

SPARE = 0.1
"""Share of the memory that is left alone: it's an estimate."""

RESERVE = doctor.NODE_BYTES + 500 * doctor.MB
"""Of memory: the node without a connection, this program with its graphs, messages on their way."""


class Bound(msgspec.Struct, frozen=True):
    """What the machine has of something, and for how many connections that does."""

    what: str
    allows: int
    why: str


def bounds(machine: Machine) -> list[Bound]:
    """What bounds the connections, the tightest first."""
    each = doctor.USER_BYTES + FLOOD_BYTES + 2 * doctor.KERNEL_BYTES
    server = max(machine.files_hard - RESERVED_FILES, 1)
    clients = max(min(machine.files_hard - flood_plan.RESERVED_FILES, flood_plan.MOST), 1)
    gateways = ROWS - FIRST_GATEWAY
    found = {
        "open files a process": (
            gateways * server,
            (
                f"{machine.files_hard:,} files, so {server:,} connections a gateway, "
                f"at most {gateways:,} gateways"
            ),
        )
    }
    if machine.memory is not None:
        usable = max(0, int(machine.memory * (1 - SPARE)) - RESERVE)
        each_with_process = each + doctor.GATEWAY_BYTES // server + doctor.GATEWAY_BYTES // clients
        found["memory"] = (
            usable // each_with_process,
            (
                f"{machine.memory / 1e9:.1f} GB available; {each_with_process:,} bytes a "
                f"connection, {2 * doctor.KERNEL_BYTES:,} of them the kernel's for both ends"
            ),
        )
    if machine.file_max is not None:
        free = machine.file_max - (machine.files_used or 0)
        found["file-max"] = free // 2, f"{free:,} files free, two a connection"
    if (watches := machine.epoll_watches) is not None:
        found["epoll.max_user_watches"] = watches // 2, f"{watches:,}, two a connection"
    if (processes := machine.processes) is not None:
        pairs = max(0, processes // 2 - doctor.OTHER_PROCESSES)
        found["processes"] = pairs * min(server, clients), f"{processes:,}, half for either end"
    return sorted((Bound(what, *it) for what, it in found.items()), key=lambda it: it.allows)


def most(found: list[Bound]) -> int:
    """Connections by default: what all bounds allow, in whole thousands if it's that many."""
    allowed = min(MOST, found[0].allows)
    return allowed - allowed % 1000 if allowed > 1000 else allowed


def check(connections: int, found: list[Bound]) -> None:
    """Raises BenchError if the machine can't hold so many."""
    first = found[0]
    if connections > first.allows or not connections:
        raise BenchError(
            f"This machine can't hold {connections:,} connections with both ends: {first.what} "
            f"allows {first.allows:,} ({first.why})."
        )
