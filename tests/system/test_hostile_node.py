"""A node whose processes, log and signals are tampered with: its own trouble stays its own."""

import os
import signal
import time

import psutil

from .node import Node, until
from .raw import send, stream
from .test_faults import is_new


def suspend(pid: int, seconds: float) -> None:
    """Stop a process for so long, as a debugger or the host of a virtual machine does."""
    process = psutil.Process(pid)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: process.status() == psutil.STATUS_STOPPED, "it is stopped")
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def test_hostile_suspension_of_the_supervisor() -> None:
    """A supervisor that was stopped for a while goes on as before: no stream notices anything."""
    with Node("--gateways", "2") as node, stream(node.address, "x") as listener:
        before = node.pids()
        for number in range(1, 7):
            suspend(node.pid, 0.3)
            assert send(node.address, "x", "x") == 1
            assert listener.chunk() == b"Recvd msg #%d: 'x'\n" % number
        assert node.process.poll() is None
        assert node.pids() == before
        node.signal(signal.SIGTERM)
        assert listener.rest() == b"0\r\n\r\n"
        assert node.wait() == 0


def test_hostile_signal_without_a_name() -> None:
    """A process that dies of a real-time signal is replaced like any other."""
    with Node("--gateways", "2") as node:
        pid = node.pid_of("gateway-0")
        os.kill(pid, signal.SIGRTMIN + 3)
        until(lambda: is_new(node, "gateway-0", pid), "it is replaced")
        (died,) = (line for line in node.log if "event=process-died" in line)
        assert f'reason="signal {signal.SIGRTMIN + 3}"' in died
