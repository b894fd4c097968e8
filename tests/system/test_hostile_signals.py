"""Signals that an operator, a terminal or a script sends to a node, or to one of its processes."""

import os
import signal
import time
from functools import partial

import psutil
import pytest

from .node import Node, lives, until
from .raw import Raw, send, stream

HARMLESS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM]
PATIENT = ("--drain-timeout", "600")
"""Who drains for so long isn't waited for here."""


@pytest.mark.parametrize("number", HARMLESS)
def test_hostile_signal_for_all(number: signal.Signals) -> None:
    """These neither end nor replace a process, whether the supervisor gets them or all do, as from
    a terminal."""
    with Node("--gateways", "2") as node, stream(node.address, "x") as listener:
        before = node.pids()
        for pid in (node.pid, *before):
            os.kill(pid, number)
            time.sleep(0.05)
        assert send(node.address, "x", "x") == 1
        assert listener.chunk() == b"Recvd msg #1: 'x'\n"
        assert node.process.poll() is None
        assert node.pids() == before
        assert all(map(lives, before))


def test_hangup_is_logged() -> None:
    """SIGHUP would reload the settings; that there's no such thing yet is said."""
    with Node("--gateways", "1") as node:
        node.signal(signal.SIGHUP)
        until(lambda: any("event=not-reloaded" in line for line in node.log), "it's logged")


def test_stacks_are_logged() -> None:
    """SIGUSR1: what each process does now is in the log, also of one that hangs."""
    with Node("--gateways", "2") as node:
        pids = {it.name: it.pid for it in node.state().processes}
        assert set(pids) == {"supervisor", "router", "control", "gateway-0", "gateway-1"}

        def told(times: int, name: str) -> bool:
            """Whether it has said so often where it is."""
            own = f"event=stack process={name} pid={pids[name]} "
            said = [line for line in node.log if own in line]
            return sum("Current thread" in line for line in said) == times

        for times in (1, 2):
            node.signal(signal.SIGUSR1)
            for name in pids:
                until(partial(told, times, name), f"{name} tells where it is")
        os.kill(pids["router"], signal.SIGUSR1)
        until(partial(told, 3, "router"), "one alone can be asked, too")
        assert told(2, "gateway-0")
        assert sum("router/process.py" in line and " in run" in line for line in node.log) == 3
        assert {it.name: it.pid for it in node.state().processes} == pids


@pytest.mark.parametrize("gateways", ["1", "2"])
@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGQUIT,),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGQUIT),
    ],
    ids=lambda numbers: "-".join(number.name for number in numbers),
)
def test_drain_that_is_ended(gateways: str, numbers: tuple[signal.Signals, ...]) -> None:
    """SIGQUIT, or a second SIGINT or SIGTERM: streams end properly, who would have to be waited
    for is cut off."""
    with (
        Node("--gateways", gateways, *PATIENT) as node,
        stream(node.address, "x") as listener,
        Raw(node.address) as straggler,
    ):
        straggler.send(b"POST /send/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        node.until(lambda state: state.requests == 2, "it was read")
        for number in numbers[:-1]:
            node.signal(number)
            node.until(lambda state: state.status == "draining", "it drains")
            assert node.process.poll() is None
        node.signal(numbers[-1])
        assert listener.rest() == b"0\r\n\r\n"
        assert node.wait() == 0
        assert straggler.everything() == b""
        assert any(f"event=stopping signal={numbers[0].name}" in line for line in node.log)
        assert not any("event=process-died" in line for line in node.log)


def test_quit_at_a_terminal() -> None:
    r"""Ctrl-\ signals every process of the terminal's group; it's the supervisor that acts on it,
    and nobody is taken for dead."""
    with Node("--gateways", "2", *PATIENT) as node, stream(node.address, "x") as listener:
        assert send(node.address, "x", "x") == 1
        os.killpg(os.getpgid(node.pid), signal.SIGQUIT)
        assert listener.rest().endswith(b"\r\n0\r\n\r\n")
        assert node.wait() == 0
        assert not any("event=process-died" in line for line in node.log)


def test_control_port_in_the_middle_of_an_answer() -> None:
    """It has its time to give it, and ends by itself."""
    with Node("--gateways", "1") as node, Raw(node.control) as client:
        client.send(
            b"POST /subscriptions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx"
        )
        node.state()  # so it was read
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert not any("event=process-killed" in line for line in node.log)


def test_hostile_gateway_that_hangs_at_the_end() -> None:
    """A drain that is ended doesn't wait for a process that hangs."""
    with Node("--gateways", "2", *PATIENT) as node:
        family = node.pids()
        hung = node.pid_of("gateway-1")
        os.kill(hung, signal.SIGSTOP)
        until(lambda: psutil.Process(hung).status() == psutil.STATUS_STOPPED, "it is stopped")
        node.signal(signal.SIGTERM)
        node.until(lambda state: state.status == "draining", "it drains")
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert not any(map(lives, family))
