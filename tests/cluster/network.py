"""Network namespaces with addresses of their own, joined by cables that can be pulled.

A namespace lasts as long as a process in it: its holder, which ends when the test's process
does, however that ends, since its standard input closes then. With a namespace go its
interfaces and their other ends, so nothing is left on the machine, whatever happens.
"""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from system.node import until

_names = itertools.count()


class Space:
    """A network namespace, at first with loopback only."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        self.pid = self._holder.pid
        try:
            until(self._is_apart, "there is a namespace")
            self.do("ip", "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def through(self) -> list[str]:
        """What begins a command that is to run in it; the process's id stays the same."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]

    def do(self, *command: str) -> str:
        """Run a command in it, to its end; what it printed."""
        return do(*self.through, *command)

    def close(self) -> None:
        """Let it go, once no other process is in it."""
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdin is not None
        self._holder.stdin.close()

    def _is_apart(self) -> bool:
        assert self._holder.poll() is None, "a namespace can't be made here"
        return _network_of(str(self.pid)) != _network_of("self")


class Cable:
    """A pair of interfaces that joins two namespaces; None: the machine's own.

    `network` is the first three numbers of its addresses: the first end has .1, the second .2.
    """

    def __init__(self, first: Space | None, second: Space, network: str) -> None:
        self._ends = [(first, _name(), f"{network}.1/24"), (second, _name(), f"{network}.2/24")]
        (_, name, _), (_, other, _) = self._ends
        make = ["ip", "link", "add", name, "type", "veth", "peer", "name", other]
        _within(first, *make, "netns", str(second.pid))
        for space, interface, address in self._ends:
            _within(space, "ip", "address", "add", address, "dev", interface)
        self.plug()

    def plug(self) -> None:
        """Let it carry."""
        for space, interface, _ in self._ends:
            _within(space, "ip", "link", "set", interface, "up")

    def pull(self) -> None:
        """From now on nothing passes; both sides wait, as when a switch has died."""
        space, interface, _ = self._ends[1]
        _within(space, "ip", "link", "set", interface, "down")

    @contextmanager
    def pulled(self) -> Iterator[None]:
        """Nothing passes until the block is left."""
        self.pull()
        try:
            yield
        finally:
            self.plug()


def bridge(place: Space, others: list[Space], network: str) -> None:
    """Join all of them by a switch in `place`, which gets address .1, the others .2 and so on."""
    place.do("ip", "link", "add", "bridge", "type", "bridge")
    place.do("ip", "address", "add", f"{network}.1/24", "dev", "bridge")
    place.do("ip", "link", "set", "bridge", "up")
    for number, space in enumerate(others, 2):
        port, end = _name(), _name()
        veth = ["ip", "link", "add", port, "type", "veth", "peer", "name", end]
        place.do(*veth, "netns", str(space.pid))
        place.do("ip", "link", "set", port, "master", "bridge", "up")
        space.do("ip", "address", "add", f"{network}.{number}/24", "dev", end)
        space.do("ip", "link", "set", end, "up")


def missing() -> str:
    """Why no namespaces can be made here; empty if they can."""
    programs = [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
    if programs:
        return f"there is no {programs[0]} here"
    try:
        with Space() as one, Space() as other:
            Cable(one, other, "10.0.0")
    except (AssertionError, OSError, subprocess.CalledProcessError):
        return "network namespaces can't be made here: that takes root (CAP_NET_ADMIN)"
    return ""


def do(*command: str) -> str:
    """Run a command to its end; what it printed."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    return done.stdout


def _within(space: Space | None, *command: str) -> None:
    if space is None:
        do(*command)
    else:
        space.do(*command)


def _name() -> str:
    """An interface's name that no other on this machine has; at most 15 characters."""
    return f"ek{os.getpid()}-{next(_names)}"


def _network_of(pid: str) -> str:
    return os.readlink(Path("/proc") / pid / "ns/net")
