"""Log lines about what is wrong again and again."""

import pytest

from encke.cluster import complaints
from encke.cluster.complaints import Complaints


def test_a_line_now_and_then(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is logged at once, the others together when the pause is over."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    dropped = Complaints("dropped")
    for number in range(5):
        dropped.add(2, reason=f"r{number}")
        dropped.tick()
    now += complaints.PAUSE
    dropped.tick()
    dropped.tick()
    lines = [line.split("event=")[1] for line in capfd.readouterr().err.splitlines()]
    assert lines == ["dropped reason=r0 times=2", "dropped reason=r4 times=8"]


def test_what_is_said_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    """What was forgotten is not logged; what was told is not told again."""
    dropped = Complaints("dropped")
    dropped.add(reason="r")
    dropped.forget()
    dropped.tell()
    assert capfd.readouterr().err == ""
    dropped.add(reason="r")
    dropped.tell()
    dropped.tick()
    assert capfd.readouterr().err.count("\n") == 1
