"""The kernel's memory for sockets: what a connection takes beside the server's own.

How it is determined: the kernel's objects (socket, inode, file, directory entry, epoll
entry, and so on) are in its slabs, whose size /proc/meminfo tells; what is on its way
in sockets are pages, which /proc/net/sockstat counts. Both are read without connections
and with all of them; the difference, divided by the sockets, is what a socket takes. On
loopback both ends are on this machine: two sockets a connection. They have the same
objects, one each (/proc/slabinfo shows it), so that half of it is the server's.

Not the sockets', and told apart: the kernel's stacks and page tables; and what someone leaves
behind who lists /proc/PID/fd, as monitors do: an inode and a directory entry of /proc for each
open file, kept until memory is short. They are known by their inodes' cache.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from encke.tools.doctor import tcp_buckets

_PROC = Path("/proc")

_LISTED = "proc_inode_cache"
_WITH_IT = ("dentry", "lsm_inode_cache")
"""What belongs to an inode of /proc, where the kernel has it."""


class Cache(msgspec.Struct, frozen=True):
    """A kind of object in the slabs; `size` of one in bytes."""

    objects: int
    size: int


class Reading(msgspec.Struct, frozen=True):
    """The kernel's memory at one time, bytes."""

    slabs: int
    socket_pages: int
    """Data in sockets."""
    processes: int
    """Stacks and page tables."""
    caches: dict[str, Cache]
    """By name, from /proc/slabinfo, which only root may read."""


class Objects(msgspec.Struct, frozen=True):
    """Objects of one kind that a socket has, and their bytes."""

    name: str
    a_socket: float
    bytes_a_socket: float


class Use(msgspec.Struct, frozen=True):
    """What came with `sockets`, bytes."""

    sockets: int
    slabs: int
    """Without `listed`."""
    socket_pages: int
    listed: int
    """What is left of listing open files."""
    processes: int
    objects: list[Objects]
    """The largest first, those of at least a byte a socket."""
    buckets: int | None
    """Of the table in which the kernel finds the socket of a packet; None: it doesn't tell."""

    @property
    def total(self) -> int:
        """Of all sockets."""
        return self.slabs + self.socket_pages

    @property
    def bytes_a_socket(self) -> float:
        return self.total / self.sockets


def read() -> Reading:
    """The kernel's memory now."""
    memory = dict(_pairs((_PROC / "meminfo").read_text("ascii")))
    return Reading(
        slabs=memory["Slab"] * 1024,
        socket_pages=_socket_pages() * os.sysconf("SC_PAGE_SIZE"),
        processes=(memory["KernelStack"] + memory["PageTables"]) * 1024,
        caches=_caches(),
    )


def use(before: Reading, after: Reading, sockets: int) -> Use:
    """What `sockets` that came between two readings take."""
    came = {
        name: (cache.objects - before.caches[name].objects, cache.size)
        for name, cache in after.caches.items()
        if name in before.caches
    }
    inodes = max(0, came.pop(_LISTED, (0, 0))[0])
    listed = inodes * sum(it.size for it in map(after.caches.get, (_LISTED, *_WITH_IT)) if it)
    objects = []
    for name, (count, size) in came.items():
        each = (count - inodes * (name in _WITH_IT)) / sockets
        objects.append(Objects(name, each, each * size))
    return Use(
        sockets,
        after.slabs - before.slabs - listed,
        after.socket_pages - before.socket_pages,
        listed,
        after.processes - before.processes,
        sorted((it for it in objects if it.bytes_a_socket >= 1), key=_size, reverse=True),
        tcp_buckets(),
    )


def _size(objects: Objects) -> float:
    return objects.bytes_a_socket


def _pairs(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        yield name, int(value.split()[0])


def _socket_pages() -> int:
    for line in (_PROC / "net/sockstat").read_text("ascii").splitlines():
        words = line.split()
        if words[0] == "TCP:":
            return int(words[words.index("mem") + 1])
    return 0


def _caches() -> dict[str, Cache]:
    caches = {}
    with suppress(PermissionError, FileNotFoundError):
        for line in (_PROC / "slabinfo").read_text("ascii").splitlines()[2:]:
            name, active, _, size = line.split()[:4]
            caches[name] = Cache(int(active), int(size))
    return caches
