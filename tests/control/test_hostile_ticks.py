"""Health and state go by the processes' ticks."""

import os

import httpx

from encke.scoreboard import FIRST_GATEWAY, NODE, ROUTER, Field, State

from .alone import Alone


def health(control: Alone) -> tuple[int, str, list[str]]:
    """The status codes, and who hangs."""
    answer: httpx.Response = control.get("/health")
    said = answer.json()
    return answer.status_code, said["status"], [it["process"] for it in said.get("hung", [])]


def test_who_does_not_tick_hangs(control: Alone) -> None:
    """A gateway or router without a tick makes the node hung; while it ends, it's draining."""
    for row in (ROUTER, FIRST_GATEWAY, FIRST_GATEWAY + 1):
        control.process(row, os.getpid())
    assert health(control) == (200, "ready", []), "who hasn't begun to tick isn't taken for hung"
    board = control.scoreboard
    board.row(ROUTER)[Field.TICK] = board.row(FIRST_GATEWAY)[Field.TICK] = 1
    board.row(FIRST_GATEWAY + 1)[Field.TICK] = 1 << 62
    control.until(lambda: health(control)[1] == "hung")
    assert health(control) == (503, "hung", ["router", "gateway-0"])
    state = control.get("/state").json()
    assert state["status"] == "hung"
    states = {it["name"]: (it["state"], it["silent_seconds"] >= 3) for it in state["processes"]}
    assert states == {
        "supervisor": ("absent", False),
        "router": ("hung", True),
        "control": ("ready", False),
        "gateway-0": ("hung", True),
        "gateway-1": ("ready", False),
    }
    assert 'encke_process_silent_seconds{process="gateway-1"} 0.0\n' in control.get("/metrics").text
    board.row(NODE)[Field.STATE] = State.DRAINING
    assert health(control) == (503, "draining", ["router", "gateway-0"])
    board.row(NODE)[Field.STATE] = State.READY
    board.row(ROUTER).tick()
    board.row(FIRST_GATEWAY).tick()
    assert health(control) == (200, "ready", [])
