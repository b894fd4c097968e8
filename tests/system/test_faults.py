"""Faults: processes of the server are killed under load, and nobody is lied to.

ENCKE_TEST_KILLS says how often each kind of process is killed (3; 20 for the long run);
``pytest -rP`` shows the verdicts.
"""

import itertools
import os
import signal
import sys
import threading
import time
from functools import partial

import pytest

from bench.checker import Checker
from bench.crowd import Crowd, End, Stream
from encke.node.children import HEALTHY

from .node import Node, until
from .raw import Raw, ask, chunked, post, request, send, stream

KILLS = int(os.environ.get("ENCKE_TEST_KILLS", "3"))
USERS = 200
OLD_ENOUGH = HEALTHY + 0.2
"""Seconds: a process that dies younger is taken for one that can't live, and waits its turn."""

PROBES = itertools.count()
"""Numbers of the messages that are sent besides the checker's."""

pytestmark = pytest.mark.timeout(60 + 10 * KILLS)


class Killer:
    """Kills a node's processes, and watches how they are replaced."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._began: dict[str, float] = {}
        self._started = time.monotonic()
        self.took: list[float] = []
        """Seconds from each kill until /state showed another process, ready."""

    def kill(self, name: str) -> None:
        """Kill one process with SIGKILL, and wait until it is replaced: within 1 s."""
        born = self._began.get(name, self._started)
        until(lambda: time.monotonic() - born > OLD_ENOUGH, f"{name} is old enough")
        pid = self._node.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        self.took.append(until(lambda: self._node.replaced(name, pid), f"{name} is replaced"))
        self._began[name] = time.monotonic()


def spread(node: Node, checker: Checker) -> None:
    """Open streams on every gateway: some users on one of them, some on all; tag: where."""
    gateways = len(node.gateways())
    for index in range(gateways):
        with node.only_gateway(index):
            checker.open((f"u{number}" for number in range(index, USERS, gateways)), index)
            checker.open((f"both{number}" for number in range(20)), index)


def reopen(node: Node, checker: Checker, streams: list[Stream], index: int) -> None:
    """Open streams for those whose gateway died, there where they were."""
    with node.only_gateway(index):
        checker.open((it.user for it in streams), index)


def delivered(node: Node, user: str) -> int:
    """To how many connections a message was delivered; -1 if the router isn't available."""
    answer = ask(node.address, post(f"/send/{user}", f"probe:{next(PROBES)}:{user}".encode()))
    if answer.status == 503:
        return -1
    count = answer.json()["delivered"]
    assert isinstance(count, int)
    return count


def is_delivered(node: Node, user: str, count: int) -> bool:
    """Whether a message is delivered to so many connections."""
    return delivered(node, user) == count


def all_cut(streams: list[Stream]) -> bool:
    """Whether these streams have broken off."""
    return all(it.end is End.CUT for it in streams)


def conclude(checker: Checker, killer: Killer) -> None:
    """Hold everything that was promised against what came."""
    verdict = checker.verdict()
    slowest = max(killer.took)
    sys.stdout.write(f"{KILLS} kills, replaced after {slowest:.2f} s at most: {verdict}; ")
    sys.stdout.write(f"{checker.unavailable} unavailable, {checker.broken} broken off\n")
    assert not checker.failures
    assert verdict.is_clean, str(verdict)
    assert verdict.acknowledged > 100 * KILLS, str(verdict)


@pytest.mark.alone
@pytest.mark.parametrize("gateways", [1, 2])
def test_gateway_killed(gateways: int) -> None:
    """A killed gateway takes its own streams along and no other; it is replaced within 1 s.

    Its users are logged out. No message is lost but with a stream that died, none comes
    twice, or to somebody else.
    """
    with (
        Node("--gateways", str(gateways)) as node,
        Checker(node.address, seed=6) as checker,
    ):
        killer = Killer(node)
        spread(node, checker)
        checker.start_sending()
        for number in range(KILLS):
            index = number % gateways
            checker.until_answered(100)
            victims = [it for it in checker.crowd.streams if it.tag == index and it.end is End.OPEN]
            others = [it for it in checker.crowd.streams if it.tag != index and it.end is End.OPEN]
            killer.kill(f"gateway-{index}")
            assert killer.took[-1] < 1.0
            until(partial(all_cut, victims), "its streams end")
            user = next(it.user for it in victims if it.user[0] == "u")
            until(partial(is_delivered, node, user, 0), "its users are logged out", 2)
            checker.until_answered(100)
            assert all(it.end is End.OPEN for it in others)
            reopen(node, checker, victims, index)
        checker.until_answered(100)
        node.until(lambda state: state.streams == USERS + 20 * gateways, "all are there again")
        conclude(checker, killer)
        assert checker.unavailable == 0


@pytest.mark.alone
def test_router_killed() -> None:
    """A killed router closes no stream and is replaced within 1 s; everyone is reachable again.

    Senders are told 503, and when to try again; never a false success.
    """
    with Node("--gateways", "2") as node, Checker(node.address, seed=7) as checker:
        killer = Killer(node)
        spread(node, checker)
        checker.start_sending()
        for _ in range(KILLS):
            checker.until_answered(100)
            killer.kill("router")
            assert killer.took[-1] < 1.0
            checker.until_answered(100)
            until(lambda: delivered(node, "u0") == 1, "senders are served again")
            assert all(it.end is End.OPEN for it in checker.crowd.streams)
            for user in range(0, USERS, 10):
                assert delivered(node, f"u{user}") == 1
            assert delivered(node, "both1") == 2
        node.until(lambda state: state.users == USERS + 20, "all users are there")
        conclude(checker, killer)
        assert checker.unavailable > 0
        assert checker.broken == 0


@pytest.mark.alone
def test_control_killed() -> None:
    """A killed control process is replaced, and neither streams nor senders notice anything."""
    with Node("--gateways", "2") as node, Checker(node.address, seed=8) as checker:
        killer = Killer(node)
        spread(node, checker)
        checker.start_sending()
        for number in range(KILLS):
            checker.until_answered(100)
            killer.kill("control")
            assert killer.took[-1] < 2.0, "it has much to import, and two cores are busy"
            control = node.current("control")
            assert control is not None
            assert control.restarts == number + 1
            assert node.get("/health") == (200, b'{"status":"ready"}')
            checker.until_answered(100)
        assert all(it.end is End.OPEN for it in checker.crowd.streams)
        conclude(checker, killer)
        assert (checker.unavailable, checker.broken) == (0, 0)


def test_counters_survive() -> None:
    """What a killed process counted stays counted; its restart is counted and logged."""
    with Node("--gateways", "2") as node, Raw(node.address) as sender:
        killer = Killer(node)
        with stream(node.address, "counted"):
            sender.send(post("/send/counted", b"x") * 100)
            for _ in range(100):
                sender.answer()
            node.until(lambda it: (it.messages, it.delivered) == (100, 100), "all are counted")
            for name in ("gateway-0", "gateway-1", "router"):
                killer.kill(name)
        node.until(lambda it: (it.messages, it.delivered) == (100, 100), "they still are")
        processes = {it.name: it.restarts for it in node.state().processes}
        assert processes["gateway-0"] == processes["gateway-1"] == processes["router"] == 1
        assert processes["control"] == 0
        died = [line for line in node.log if "event=process-died" in line]
        assert len(died) == 3
        assert all("reason=SIGKILL" in line for line in died)


def test_clients_log_in_while_the_router_dies() -> None:
    """Clients that come while the router is away get their head once it's back, and not before."""
    with Node("--gateways", "2") as node, Crowd(node.address) as crowd:
        killer = Killer(node)
        users = [f"u{number}" for number in range(1500)]
        opener = threading.Thread(target=crowd.open, args=[users])
        opener.start()
        for _ in range(2):
            killer.kill("router")
        opener.join()
        assert all(it.is_open and it.end is End.OPEN for it in crowd.streams)
        until(lambda: delivered(node, "u0") == 1, "senders are served again")
        for user in users[::10]:
            assert delivered(node, user) == 1
        node.until(lambda state: state.users == len(users), "all users are there")


def test_a_router_that_hangs_makes_clients_wait() -> None:
    """While the router hangs, heads and answers wait, streams stay; then all of them come."""
    with Node("--gateways", "2") as node, stream(node.address, "hang") as listener:
        router = node.pid_of("router")
        os.kill(router, signal.SIGSTOP)
        try:
            with Raw(node.address) as sender, Raw(node.address) as late:
                sender.send(post("/send/hang", b"x"))
                late.send(request("GET", "/test/late"))
                accepted = node.state().accepted
                node.until(lambda it: it.requests >= 3 or it.accepted > accepted, "they are read")
                for connection in (sender, late):
                    connection.socket.settimeout(0.3)
                    with pytest.raises(TimeoutError):
                        connection.head()
                    connection.socket.settimeout(20)
                os.kill(router, signal.SIGCONT)
                assert sender.answer().json() == {"delivered": 1}
                assert late.head().status == 200
                assert send(node.address, "late", "x") == 1
        finally:
            os.kill(router, signal.SIGCONT)
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"


def test_who_can_not_log_in_is_told_so() -> None:
    """If the router hangs for longer than a client may take, it's told 503, and isn't logged in."""
    with Node("--gateways", "2", "--head-timeout", "1") as node, Raw(node.address) as late:
        router = node.pid_of("router")
        os.kill(router, signal.SIGSTOP)
        try:
            late.send(request("GET", "/test/late"))
            answer = late.answer()
            answer.problem(503)
            assert answer.headers["retry-after"] == "1"
            assert late.rest() == b""
        finally:
            os.kill(router, signal.SIGCONT)
        until(partial(is_delivered, node, "late", 0), "nobody is logged in")
        node.until(lambda state: (state.users, state.streams) == (0, 0), "nobody is counted")


def test_a_body_under_way_when_the_router_dies() -> None:
    """An NDJSON body that the router's death interrupts is answered 503, with true counts."""
    with Node("--gateways", "2") as node, stream(node.address, "cut") as listener:
        killer = Killer(node)
        with Raw(node.address) as sender:
            sender.send(request("POST", "/send", "Transfer-Encoding: chunked"))
            sender.send(chunked(b'{"id": "cut", "data": "x"}\n' * 10)[:-5])
            for number in range(1, 11):
                assert listener.chunk() == b"Recvd msg #%d: 'x'\n" % number
            os.kill(node.pid_of("router"), signal.SIGSTOP)
            sender.send(chunked(b'{"id": "cut", "data": "y"}\n' * 10)[:-5])
            killer.kill("router")
            sender.send(b"0\r\n\r\n")
            answer = sender.answer()
            answer.problem(503)
            assert answer.headers["retry-after"] == "1"
            told = answer.json()
            assert (told["accepted"], told["delivered"]) == (10, 10)
        until(lambda: delivered(node, "cut") == 1, "the stream is reachable again")


def test_a_young_process_is_replaced_too() -> None:
    """A process that dies right after its start is replaced, though not at once."""
    with Node("--gateways", "1") as node:
        for _ in range(2):
            pid = node.pid_of("gateway-0")
            os.kill(pid, signal.SIGKILL)
            until(partial(node.replaced, "gateway-0", pid), "it is replaced", 5)
        with stream(node.address, "x"):
            assert send(node.address, "x", "x") == 1
