"""Limits: open files, connections, and peers that are gone without a word."""

import contextlib
import ctypes
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import pytest

from bench.crowd import Crowd
from encke.settings import RESERVED_FILES

from .node import Address, Node, cpu_seconds, until
from .raw import Raw, request, send, stream

FILES = 200
CAPACITY = FILES - RESERVED_FILES
"""Connections of a gateway with so many files: some are kept for its own needs."""


def waiting(address: Address, user: str) -> Raw:
    """A connection that asks for a stream, and doesn't wait for the answer."""
    connection = Raw(address)
    connection.send(request("GET", f"/test/{user}"))
    return connection


def opens(address: Address, user: str) -> bool:
    """Whether a stream can be opened; it's closed at once."""
    with waiting(address, user) as late:
        return late.head().status == 200


def spin(pid: int, seconds: float = 1.5) -> float:
    """Processor time that the process takes in so many seconds."""
    before, end = cpu_seconds(pid), time.monotonic() + seconds
    until(lambda: time.monotonic() > end, "the time has passed")
    return cpu_seconds(pid) - before


def test_more_connections_than_files() -> None:
    """Beyond its capacity a gateway takes no streams, until others leave."""
    with Node("--gateways", "1", files=FILES) as node, Crowd(node.address) as crowd:
        streams = crowd.open(f"u{number}" for number in range(CAPACITY))
        node.until(lambda state: state.status == "full", "it is full")
        for number in range(20):
            with waiting(node.address, f"late{number}") as late:
                assert late.answer().status == 503
        assert spin(node.pid_of("gateway-0")) < 0.3
        state = node.state()
        assert (state.streams, state.capacity, state.accept_pauses) == (CAPACITY, CAPACITY, 0)
        for it in streams[:20]:
            crowd.drop(it)
        node.until(lambda state: state.streams == CAPACITY - 20, "there's room")
        late_streams = [stream(node.address, f"late{number}") for number in range(20)]
        assert send(node.address, "late7", "x") == 1
        assert late_streams[7].chunk() == b"Recvd msg #1: 'x'\n"
        for each in late_streams:
            each.close()


def test_more_gateways_as_they_are_needed() -> None:
    """With --max-connections beyond one gateway's capacity others are started as it fills."""
    with (
        Node("--gateways", "1", "--max-connections", "200", files=FILES) as node,
        Crowd(node.address) as crowd,
    ):
        assert len(node.gateways()) == 1
        streams = crowd.open(f"u{number}" for number in range(190))
        node.until(lambda state: state.connections == 190, "all are in")
        assert len(node.gateways()) == 3
        assert all(it.connections <= CAPACITY for it in node.gateways())
        for stream in streams:
            assert send(node.address, stream.user, stream.user) == 1
        crowd.until(lambda: all(it.messages for it in streams), "everyone got something")
        assert [it.messages for it in streams] == [[it.user.encode()] for it in streams]


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_max_connections_is_a_limit(gateways: str) -> None:
    """There aren't more streams than --max-connections, whatever the gateways could hold."""
    flags = ("--gateways", gateways, "--max-connections", "30")
    with Node(*flags) as node, Crowd(node.address) as crowd:
        streams = crowd.open(f"u{number}" for number in range(30))
        node.until(lambda state: state.status == "full", "it is full")
        for number in range(10):
            with waiting(node.address, f"late{number}") as late:
                assert late.answer().status == 503
        assert spin(node.pid_of("gateway-0"), 0.6) < 0.3
        assert node.state().streams == 30
        for it in streams[:10]:
            crowd.drop(it)
        node.until(lambda state: state.streams == 20, "there's room")
        for number in range(10):  # who comes before a gateway has seen that is refused
            until(partial(opens, node.address, f"late{number}"), "it gets in")


def test_too_few_files_to_serve() -> None:
    """Where the open-files limit leaves nothing for connections, the start says what to do."""
    command = [sys.executable, "-m", "encke", "serve", "--listen", "127.0.0.1:0"]
    command += ["--control", "127.0.0.1:0", "--gateways", "1"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh", *command],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode not in (0, -9)
    assert "Traceback" not in done.stderr
    assert "files" in done.stderr


@contextlib.contextmanager
def no_more_files(pid: int) -> Iterator[None]:
    """Inside, the process can't open another file."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    now = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (now, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def test_out_of_files() -> None:
    """If accepting fails for want of files, it pauses, counts that, doesn't spin, and recovers."""
    with Node("--gateways", "1") as node, Crowd(node.address) as crowd:
        streams = crowd.open(f"u{number}" for number in range(20))
        gateway = node.pid_of("gateway-0")
        with no_more_files(gateway):
            late = [waiting(node.address, f"late{number}") for number in range(10)]
            node.until(lambda state: state.accept_pauses > 0, "a pause is counted")
            assert spin(gateway) < 0.3
            assert 2 <= node.state().accept_pauses < 40
            assert node.pid_of("gateway-0") == gateway
            # a sender that was connected before would still be served; these are streams
            assert all(stream.is_open for stream in streams)
        for connection in late:
            assert connection.head().status == 200
            connection.close()
        assert sum("event=accept-paused" in line for line in node.log) == 1
        assert send(node.address, "u3", "x") == 1


def timers(address: Address) -> list[int]:
    """The kind of timer that runs on each connection that the server holds (proc(5), tcp).

    2: nothing is under way, and it is probed from time to time.
    """
    port = f":{address[1]:04X}"
    with open("/proc/net/tcp", encoding="ascii") as lines:
        rows = [line.split() for line in list(lines)[1:]]
    established = [row for row in rows if row[1].endswith(port) and row[3] == "01"]
    return [int(row[5].split(":")[0]) for row in established]


@pytest.mark.parametrize(("keepalive", "timer"), [("60", 2), ("0", 0)])
def test_clients_are_probed(keepalive: str, timer: int) -> None:
    """The connections that are accepted have TCP keepalive, unless it's switched off."""
    with Node("--gateways", "1", "--keepalive", keepalive) as node:
        listeners = [stream(node.address, str(number)) for number in range(5)]
        until(lambda: timers(node.address) == [timer] * 5, "they have it")
        for listener in listeners:
            listener.close()


def ip(*arguments: str) -> None:
    """Run iproute2's command."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Elsewhere:
    """Another machine: a network namespace, joined to this one by a virtual cable."""

    here, there = "198.18.77.1", "198.18.77.2"  # RFC 2544: for tests

    def __init__(self) -> None:
        self.name = f"encke-{os.getpid()}"
        self.cable = f"ek{os.getpid()}"

    def build(self) -> None:
        """Lay the cable; raises OSError if that isn't allowed here."""
        ip("netns", "add", self.name)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "far", "netns", self.name)
        ip("addr", "add", f"{self.here}/30", "dev", self.cable)
        ip("link", "set", self.cable, "up")
        ip("-n", self.name, "addr", "add", f"{self.there}/30", "dev", "far")
        ip("-n", self.name, "link", "set", "far", "up")

    def connect(self, address: Address) -> Raw:
        """A connection from there."""
        with (
            open("/proc/self/ns/net", "rb") as ours,
            open(f"/run/netns/{self.name}", "rb") as theirs,
        ):
            _enter(theirs.fileno())
            try:
                return Raw(address)
            finally:
                _enter(ours.fileno())

    def vanish(self) -> None:
        """From now on nobody there answers, or says that nobody is there."""
        ip("-n", self.name, "addr", "del", f"{self.there}/30", "dev", "far")

    def remove(self) -> None:
        """Leave nothing of it."""
        for arguments in (("link", "del", self.cable), ("netns", "del", self.name)):
            with contextlib.suppress(OSError):
                ip(*arguments)


def _enter(namespace: int) -> None:
    """Let this thread make its sockets in that network (setns(2))."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0):
        raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Another machine, which can vanish."""
    place = Elsewhere()
    try:
        place.build()
    except OSError as error:
        place.remove()
        pytest.skip(f"network namespaces aren't allowed here: {error}")
    yield place
    place.remove()


def test_peers_that_vanish(elsewhere: Elsewhere) -> None:
    """A client whose machine is gone without a word is found dead, whether idle or sent to."""
    flags = ("--gateways", "1", "--insecure", "--keepalive", "1", "--user-timeout", "2")
    with Node(*flags, listen=f"{elsewhere.here}:0") as node:
        gone = [elsewhere.connect(node.address) for _ in range(3)]
        for number, connection in enumerate(gone):
            connection.send(request("GET", f"/test/gone{number}"))
            assert connection.head().status == 200
        with stream(node.address, "here") as here:
            elsewhere.vanish()
            assert send(node.address, "gone0", "into the void") == 1
            node.until(lambda state: state.streams == 1, "those that vanished are logged out", 15)
            for number in range(3):
                assert send(node.address, f"gone{number}", "x") == 0
            assert send(node.address, "here", "x") == 1
            assert here.chunk() == b"Recvd msg #1: 'x'\n"
        for connection in gone:
            connection.close()


def test_storm_of_short_connections(node: Node) -> None:
    """3,000 connections that come and go leave no descriptor behind, and harm no gateway."""
    gateways = [it.pid for it in node.gateways()]

    def files() -> list[int]:
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in gateways]

    before = files()
    for number in range(3000):
        with socket.create_connection(node.address) as connection:
            if number % 3:
                connection.send(request("GET", f"/test/{number}"))
    until(lambda: files() == before, "all descriptors are closed")
    node.until(lambda it: (it.connections, it.streams, it.users) == (0, 0, 0), "none is counted")
    assert [it.pid for it in node.gateways()] == gateways
