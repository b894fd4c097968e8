"""docs/client.md: its programs run, and its table has every error."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from system.node import Node

from encke import errors

PAGE = (Path(__file__).parents[2] / "docs/client.md").read_text("utf-8")
PROGRAMS = [
    program
    for program in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    if "import encke" in program
]
SAID = ["", "sent\n", "for you: Hello\n"]


def test_there_are_programs() -> None:
    """As many as it's known here what they print."""
    assert len(PROGRAMS) == len(SAID)


@pytest.mark.parametrize(("program", "said"), list(zip(PROGRAMS, SAID, strict=False)))
def test_programs(shared: Node, program: str, said: str) -> None:
    """They run, and print what they should."""
    here = program.replace("http://127.0.0.1:8000", shared.url)
    done = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == (said, "")


def test_the_table_has_every_error() -> None:
    """Of those that a client raises."""
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    of_the_client = {kind.__name__ for kind in errors.SendError.__subclasses__()}
    assert of_the_client | {"BadUserId", "BadMessage", "BadSettings", "FrameError"} <= named
