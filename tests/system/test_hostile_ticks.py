"""Processes whose loop doesn't turn any more: they are found, said, and replaced."""

import os
import signal
import time

import msgspec
import pytest

from encke.scoreboard import SILENT

from .node import Node, until
from .raw import send, stream


class Hung(msgspec.Struct):
    process: str
    since: float


class Health(msgspec.Struct):
    status: str
    hung: list[Hung] = []


def health(node: Node) -> Health:
    """What /health says; its status says the same."""
    code, body = node.get("/health")
    told = msgspec.json.decode(body, type=Health)
    assert code == (200 if told.status == "ready" else 503)
    return told


@pytest.mark.parametrize("name", ["gateway-1", "router", "control"])
def test_who_hangs_is_replaced(name: str) -> None:
    """A process that is stopped is killed and replaced; others' streams stay, senders go on."""
    with Node("--gateways", "2", "--hang-timeout", "2") as node:
        with node.only_gateway(0):
            listener = stream(node.address, "x")
        with listener:
            before = node.named_pids()
            began = time.monotonic()
            os.kill(before[name], signal.SIGSTOP)
            until(lambda: node.replaced(name, before[name]), "it is replaced")
            assert time.monotonic() - began > 1
            (hung,) = (line for line in node.log if "event=process-hung" in line)
            assert f"process={name} pid={before[name]} " in hung
            (died,) = (line for line in node.log if "event=process-died" in line)
            assert f"process={name} reason=SIGKILL" in died
            until(lambda: send(node.address, "x", "x") == 1, "senders are served")
            assert listener.chunk().startswith(b"Recvd msg #1: ")
            until(lambda: health(node).status == "ready", "it's ready again")
            after = node.named_pids()
            assert {it for it in before if after[it] != before[it]} == {name}


@pytest.mark.parametrize("name", ["gateway-0", "router"])
def test_who_hangs_is_said(name: str) -> None:
    """A node with a hung gateway or router isn't ready, and says who hangs since when; with
    --hang-timeout 0 nobody is killed for it."""
    with Node("--gateways", "2", "--hang-timeout", "0") as node:
        assert health(node) == Health("ready")
        pid = node.pid_of(name)
        stopped = time.time()
        os.kill(pid, signal.SIGSTOP)
        until(lambda: health(node).status == "hung", "it's said")
        assert time.time() - stopped > SILENT - 1
        [hung] = health(node).hung
        assert hung.process == name
        assert stopped - 1 < hung.since < time.time() - SILENT + 0.1
        state = node.state()
        assert state.status == "hung"
        assert {it.name for it in state.processes if it.state == "hung"} == {name}
        (silent,) = (it.silent_seconds for it in state.processes if it.name == name)
        assert silent >= SILENT
        assert b"encke_ready 0.0\n" in node.get("/metrics")[1]
        os.kill(pid, signal.SIGCONT)
        until(lambda: health(node) == Health("ready"), "it goes on")
        assert node.pid_of(name) == pid
        assert max(it.silent_seconds for it in node.state().processes) < SILENT


def test_all_are_suspended() -> None:
    """A supervisor that was stopped itself, with all others, gives them time to come back."""
    with Node("--gateways", "2", "--hang-timeout", "3") as node:
        before = node.named_pids()
        for pid in (node.pid, *node.pids()):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4)
        os.kill(node.pid, signal.SIGCONT)
        time.sleep(0.5)  # it has looked at them
        for pid in node.pids():
            os.kill(pid, signal.SIGCONT)
        until(lambda: health(node).status == "ready", "it goes on")
        time.sleep(1)
        assert node.named_pids() == before
        assert not any("event=process-hung" in line for line in node.log)
