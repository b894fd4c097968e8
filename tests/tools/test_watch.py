"""``encke watch``: what it sees of real servers and processes, its log, its graph, the slope."""

import contextlib
import itertools
import random
import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from system.node import PATIENCE, Node

from encke.errors import BadSettings, Refused, Unreachable
from encke.tools.watch import (
    ControlPort,
    Ended,
    Processes,
    ProcessSample,
    Reading,
    Sample,
    slope,
    slopes,
)
from encke.tools.watch.account import Account
from encke.tools.watch.samples import Rate, Thinned, rate
from encke.tools.watch.trend import BLOCKS

WATCH = [sys.executable, "-m", "encke", "watch"]

SERVER = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
pair = socket.socketpair()
if sys.argv[1:] and os.fork() == 0:
    sys.stdin.read()
    sys.exit()
print(listener.getsockname()[1], flush=True)
held = []
for line in sys.stdin:
    if line == "accept\\n":
        held.append(listener.accept()[0])
    elif line == "reset\\n":
        held.clear()
    else:
        held.append(b"x" * int(line))
    print(flush=True)
"""
"""Accepts a connection, or takes memory, on command; with an argument it has a child."""


class Servant:
    """A small server, which does as it's told."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.pid = self.process.pid
        self.port = int(self.process.stdout.readline())

    def do(self, what: object) -> None:
        """Give an order, and wait until it's carried out."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, file=self.process.stdin, flush=True)
        self.process.stdout.readline()

    def connect(self) -> socket.socket:
        """A connection that it has accepted."""
        client = socket.create_connection(("127.0.0.1", self.port))
        self.do("accept")
        return client

    def end(self) -> None:
        """End it."""
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(timeout=PATIENCE)


@pytest.fixture
def servant() -> Iterator[Servant]:
    """A small server."""
    servant = Servant()
    yield servant
    servant.end()


def sample(time: float, kb: int = 1000, source: str = "encke", **fields: object) -> Sample:
    return msgspec.convert({"source": source, "time": time, "kb": kb, **fields}, Sample)


def process(name: str, pid: int, kb: int = 100, cpu: float = 0.0) -> ProcessSample:
    return ProcessSample(name, pid, kb, 0, cpu)


def line(kbs: list[float], every: float = 10.0) -> list[Sample]:
    """Readings of a server, one after the other."""
    return [
        Sample(
            source="encke", time=i * every, kb=round(kb), processes=(process("a", 1, round(kb)),)
        )
        for i, kb in enumerate(kbs)
    ]


# What is read


def test_a_process_is_read(servant: Servant) -> None:
    """By pid: PSS as the kernel tells it, connections without the listening and Unix sockets."""
    source = Processes(servant.pid, "servant")
    before = source.read()
    assert before.connections == 0
    clients = [servant.connect() for _ in range(3)]
    servant.do(50_000_000)
    after = source.read()
    assert after.connections == 3
    [then], [now] = before.processes, after.processes
    assert 50_000_000 / 1024 <= now.kb - then.kb < 60_000_000 / 1024
    pss = psutil.Process(servant.pid).memory_full_info().pss
    assert now.kb == pytest.approx(pss / 1024, rel=0.05)
    assert now.cpu_seconds >= then.cpu_seconds
    assert (now.pid, now.name.rpartition("-")[2]) == (servant.pid, str(servant.pid))
    for client in clients:
        client.close()


def test_many_connections_are_counted(servant: Servant) -> None:
    """Beyond the descriptors that are looked at one by one, too, and once they're closed."""
    source = Processes(servant.pid)
    clients = [servant.connect() for _ in range(400)]
    assert source.read().connections == 400
    servant.do("reset")
    assert source.read().connections == 0
    for client in clients:
        client.close()


def test_children_count() -> None:
    """A process is watched with all that it has forked."""
    servant = Servant("fork")
    reading = Processes(servant.pid).read()
    assert len(reading.processes) == 2
    servant.end()


def test_no_such_process() -> None:
    """A pid that isn't there, or has ended, is said to have ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    source = Processes(ended.pid)
    ended.wait()
    with pytest.raises(Ended, match=str(ended.pid)):
        source.read()
    with pytest.raises(Ended, match=f"There is no process {ended.pid}"):
        Processes(ended.pid)


def test_a_node_is_read(server: Node) -> None:
    """By its control port: what /state says, and messages since the first sample."""
    reading = ControlPort("{}:{}".format(*server.control)).read()
    state = server.state()
    assert {it.pid for it in reading.processes} == {it.pid for it in state.processes}
    assert {it.name for it in reading.processes} >= {"supervisor", "control", "gateway-0"}
    assert reading.connections == 0
    assert reading.delivered == 0


@pytest.mark.parametrize("url", ["", "ftp://localhost", "http://", "http://[::1", "http://a:b"])
def test_bad_addresses(url: str) -> None:
    """What is no address is refused at once."""
    with pytest.raises(BadSettings):
        ControlPort(url)


def test_nobody_answers() -> None:
    """An address without a server: the error says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Unreachable, match="too long"):
            ControlPort(f"127.0.0.1:{port}", timeout=0.05).read()
    with pytest.raises(Unreachable, match="encke serve"):
        ControlPort(f"127.0.0.1:{port}").read()


def test_a_server_with_a_key() -> None:
    """The key is shown; without it the server's refusal is told."""
    with Node("--gateways", "1", "--api-key", "secret") as node:
        url = "http://{}:{}".format(*node.control)
        assert ControlPort(url, api_key="secret").read().processes
        with pytest.raises(Refused, match="API key"):
            ControlPort(url).read()


# What is made of it


def test_rates() -> None:
    """Messages a second and CPU per cent between two samples; unknown across a gap."""
    before = sample(10, cpu_seconds=1.0, delivered=100)
    now = sample(20, cpu_seconds=2.5, delivered=600)
    assert rate(before, now) == Rate(50.0, 15.0)
    assert rate(None, now) == Rate()
    assert rate(sample(10, absent=True), now) == Rate()
    assert rate(now, sample(30)) == Rate()  # of another run, which counts from 0
    assert rate(sample(10), sample(20, cpu_seconds=1.0)) == Rate(None, 10.0)


def test_counts_never_go_back() -> None:
    """A process that ends, or a server that starts anew, takes nothing from what was counted."""
    account = Account("encke")
    first = account.present(0, Reading((process("a", 1, cpu=50), process("b", 2, cpu=7)), 3, 900))
    assert (first.kb, first.connections, first.cpu_seconds, first.delivered) == (200, 3, 0, 0)
    second = account.present(1, Reading((process("a", 1, cpu=51), process("b", 3, cpu=2)), 3, 950))
    assert (second.cpu_seconds, second.delivered) == (3, 50)
    assert second.note == "b (pid 2) replaced by 3"
    lost = account.absent(2, "No answer.")
    assert (lost.absent, lost.note) == (True, "No answer.")
    assert account.absent(3, "No answer.").note == ""
    anew = account.present(4, Reading((process("a", 8, cpu=1),), 0, 5))
    assert (anew.cpu_seconds, anew.delivered) == (4, 55)
    assert anew.note == "back after 2 s; started anew"
    assert account.present(5, Reading((process("a", 8, cpu=1), process("c", 9)), 0, 5)).note == ""
    assert account.present(6, Reading((process("a", 8, cpu=1),), 0, 5)).note == "c (pid 9) ended"


@given(st.integers(2, 40), st.lists(st.booleans(), max_size=400))
def test_thinning(limit: int, noted: list[bool]) -> None:
    """However many there were: not more than the limit and the last, spread over all the time."""
    thinned = Thinned(limit)
    for time, note in enumerate(noted):
        thinned.add(sample(time, note="x" * note))
    kept = [it.time for it in thinned.samples]
    assert kept == sorted(set(kept))
    assert len(kept) <= limit + 1
    if noted:
        assert (kept[0], kept[-1]) == (0, len(noted) - 1)
    if not any(noted):
        steps = {after - before for before, after in itertools.pairwise(kept[:-1])}
        assert len(steps) <= 1


# The slope


@given(
    st.integers(0, 2**32), st.floats(-500, 500), st.floats(0, 50), st.booleans(),
    st.integers(60, 300),
)  # fmt: skip
@settings(deadline=None)
def test_a_known_slope_is_found(
    seed: int, growth: float, spread: float, walks: bool, count: int
) -> None:
    """Growth (KB an hour) in wavering or wandering readings is found within 4 times the noise."""
    chance = random.Random(seed)
    waver = [chance.gauss(0, spread) for _ in range(count)]
    added = list(itertools.accumulate(waver)) if walks else waver
    found = slope(line([100_000 + growth * i / 360 + it for i, it in enumerate(added)]))
    assert found.readings == count
    assert found.hours == pytest.approx((count - 1) / 360)
    rounding = 1 / found.hours
    assert abs(found.kb_per_hour - growth) <= 4 * found.noise + rounding


@pytest.mark.parametrize("walks", [False, True])
def test_the_noise_is_honest(walks: bool) -> None:
    """Of 300 runs without growth at least 93 % are called flat, also of random walks."""
    flat = 0
    for seed in range(300):
        chance = random.Random(seed)
        kbs = [chance.gauss(0, 20) for _ in range(120)]
        flat += slope(line(list(itertools.accumulate(kbs)) if walks else kbs)).flat
    assert flat >= 279


@pytest.mark.parametrize(("steps", "flat"), [(0, True), (1, True), (2, True), (6, False)])
def test_one_step_is_no_growth(steps: int, flat: bool) -> None:
    """A step or two may be chance; steps that keep coming are growth."""
    assert slope(line([1000 + 256 * (i * steps // 360) for i in range(361)])).flat is flat


def test_slopes_of_processes() -> None:
    """Each process that was there all the time has its slope; gaps don't matter."""
    samples = [
        sample(
            i * 60,
            processes=[
                process("gateway-0", 5, 1000 + i),
                process("gateway-1", 6 if i < 30 else 7),
            ],
        )
        for i in range(60)
    ]
    samples[20] = sample(20 * 60, absent=True)
    found = slopes(samples)
    assert set(found) == {"gateway-0"}
    assert found["gateway-0"].kb_per_hour == pytest.approx(60)
    assert not found["gateway-0"].flat
    assert slope(samples).flat
    assert str(slope(samples)) == "+0.0 ± 0.0 KB/h"


def test_too_few_readings() -> None:
    """Out of a handful of readings, or of two servers mixed, no slope is made."""
    with pytest.raises(ValueError, match="at least 12"):
        slope(line([1.0] * (BLOCKS - 1)))
    with pytest.raises(ValueError, match="several sources"):
        slope([*line([1.0] * 20), *(sample(i, source="nchan") for i in range(20))])
    assert slopes([]) == {}
