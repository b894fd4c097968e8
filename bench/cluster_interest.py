"""How long until a user who has just seen the head can be reached from another node?

On the same NATS server: at once, since the head isn't sent before it has processed the
subscription. Over several servers interest has to spread from one to the others, and that
is what is measured: from the head's last byte on, messages are sent through the other
node, one after the other, and the first one that comes says how long it took.
"""

import re
import select
import time
from contextlib import closing

import msgspec

from .raw import Raw, post, request
from .servers.encke import Encke
from .servers.processes import BenchError

STEP = 0.0002
"""Seconds between two messages: what can't be told more precisely."""

PATIENCE = 5.0
"""Seconds after which it's given up."""

_message = re.compile(rb"Recvd msg #1: '(\d+)'").search


class Interest(msgspec.Struct, frozen=True):
    """Seconds from the head to the sending of the first message that came."""

    rounds: int
    at_once: int
    """Rounds in which the very first message came."""
    p50: float
    p99: float
    max: float


def propagation(here: Encke, there: Encke, rounds: int) -> Interest:
    """Users log in at `here`, one after the other, and are sent to through `there`.

    Raises BenchError if one can't be reached.
    """
    took, at_once = [], 0
    try:
        with Raw(there.address, PATIENCE) as sender:
            for number in range(rounds):
                user = f"interest{number}"
                with closing(Raw(here.address, PATIENCE)) as listener:
                    listener.send(request("GET", f"/test/{user}"))
                    head = listener.head()
                    assert head.status == 200, head
                    began = time.perf_counter_ns()
                    sent, message = _until_reached(sender, listener, user)
                took.append((message - began) / 1e9)
                at_once += message == sent[0]
                for _ in sent:
                    sender.answer()
    except (OSError, AssertionError) as error:
        raise BenchError(f"Interest can't be measured: {error!r}") from None
    took.sort()
    last = len(took) - 1
    return Interest(rounds, at_once, took[last // 2], took[round(last * 0.99)], took[-1])


def _until_reached(sender: Raw, listener: Raw, user: str) -> tuple[list[int], int]:
    """Send until something comes: when each message was sent, and the one that came first, ns."""
    sent: list[int] = []
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        sent.append(time.perf_counter_ns())
        sender.send(post(f"/send/{user}", b"%d" % sent[-1]))
        if select.select([listener.socket], [], [], STEP)[0]:
            found = _message(listener.chunk())
            assert found is not None
            return sent, int(found[1])
    raise BenchError(f"Who logged in on one node isn't reached within {PATIENCE:g} s.")
