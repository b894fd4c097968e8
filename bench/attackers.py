"""Child process of ``python -m bench steady --attackers``: slow-header attackers.

``python -m bench.attackers PLAN`` keeps the plan's number of connections
at the server, each sending a request head, one byte each 2 s, that never ends. What
the server closes is opened anew, so that the attack lasts; until a line comes on
standard input: then nothing more is opened, and once the server's limit has passed,
the Outcome is printed.

All work is spread evenly over time (a slot has its turn each 2 s), and the process
runs at idle priority: the attack shall bother the server, not the good clients that
share this core. What it had no time for is left out, not made up for in a burst.
"""

import os
import resource
import select
import socket
import sys
import time

import msgspec

PAUSE = 2.0
"""Seconds between two bytes of one attacker."""

BURST = 0.02
"""Seconds' worth of work that may be made up for at once."""

RAMP = 5
"""Rounds of PAUSE over which the first connections are opened."""

_HEAD = b"GET /test/attacker HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 1000


class Plan(msgspec.Struct, frozen=True):
    """Whom to attack, and after how many seconds an attacker should be gone."""

    port: int
    count: int
    source: str
    limit: float


class Outcome(msgspec.Struct):
    """What became of the attackers."""

    opened: int = 0
    gone: int = 0
    """Closed by the server."""
    gone_in_time: int = 0
    """Of these, within the limit."""
    held_at_most: int = 0
    """Most of them at the same time."""
    longest: float = 0.0
    """Longest time that one could stay, seconds."""
    left: int = 0
    """Still there when the limit had passed after the last was opened."""
    failed: int = 0
    """Could not connect."""


def together(outcomes: list[Outcome]) -> Outcome:
    """What became of those who attacked at the same time."""
    total = Outcome()
    for outcome in outcomes:
        for name in total.__struct_fields__:
            both = getattr(total, name), getattr(outcome, name)
            setattr(total, name, max(both) if name == "longest" else sum(both))
    return total


class _Attacker:
    __slots__ = ("at", "born", "socket")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.born = time.monotonic()
        self.at = 0


class Attack:
    """All attackers of this process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._poller = select.epoll()
        self._slots: list[_Attacker | None] = [None] * plan.count
        self._by_fd: dict[int, int] = {}
        self.outcome = Outcome()

    def run(self) -> None:
        """Attack until told to stop, then wait until the server must have closed all."""
        self._poller.register(0, select.EPOLLIN)
        due, done, last, stopped = 0.0, 0, time.monotonic(), 0.0
        while not stopped or (self._by_fd and last < stopped + self._plan.limit):
            now = time.monotonic()
            due += min(now - last, BURST) * self._plan.count / PAUSE
            last = now
            for turn in range(done, int(due)):
                self._act(turn % self._plan.count, turn // self._plan.count, bool(stopped))
            done = int(due)
            for fd, _ in self._poller.poll(0.001):
                if fd:
                    self._hear(fd)
                else:
                    self._poller.unregister(0)
                    stopped = time.monotonic()
        self.outcome.left = len(self._by_fd)

    def _act(self, index: int, round: int, stopped: bool) -> None:
        attacker = self._slots[index]
        if attacker is not None:
            self._drip(attacker)
        elif not stopped and round >= index % RAMP:
            self._open(index)

    def _drip(self, attacker: _Attacker) -> None:
        try:
            attacker.socket.send(_HEAD[attacker.at : attacker.at + 1])
        except OSError:
            return  # closed: the poller tells us; or not connected yet
        if not attacker.at:
            attacker.born = time.monotonic()  # the server's limit counts from the first byte
        attacker.at += 1

    def _open(self, index: int) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        connection.bind((self._plan.source, 0))
        try:
            connection.connect(("127.0.0.1", self._plan.port))
        except BlockingIOError:
            pass
        except OSError:
            self.outcome.failed += 1
            connection.close()
            return
        attacker = self._slots[index] = _Attacker(connection)
        self._by_fd[connection.fileno()] = index
        self._poller.register(connection, select.EPOLLIN)
        self.outcome.opened += 1
        self.outcome.held_at_most = max(self.outcome.held_at_most, len(self._by_fd))
        self._drip(attacker)

    def _hear(self, fd: int) -> None:
        index = self._by_fd[fd]
        attacker = self._slots[index]
        assert attacker is not None
        try:
            if attacker.socket.recv(4096):
                return  # the 408; what counts is the end that follows
        except BlockingIOError:
            return
        except OSError:
            pass  # reset: as good as closed
        age = time.monotonic() - attacker.born
        self.outcome.gone += 1
        self.outcome.gone_in_time += age <= self._plan.limit
        self.outcome.longest = max(self.outcome.longest, age)
        attacker.socket.close()
        self._slots[index] = None
        del self._by_fd[fd]


def main() -> None:
    """Carry out the plan in argv."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    attack = Attack(msgspec.json.decode(sys.argv[1], type=Plan))
    attack.run()
    sys.stdout.buffer.write(msgspec.json.encode(attack.outcome) + b"\n")


if __name__ == "__main__":
    main()
