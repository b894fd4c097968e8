"""What README tells a newcomer to type does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from system.node import Node

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
ENCKE = str(Path(sys.executable).with_name("encke"))


def at(server: Node, text: str) -> str:
    """`text` of README, for a server that isn't at its usual address."""
    return text.replace("127.0.0.1:8000", "{}:{}".format(*server.address))


def test_there_are_programs() -> None:
    """README shows the asynchronous and the plain client."""
    assert len(PROGRAMS) == 2


@pytest.mark.parametrize("program", PROGRAMS, ids=["asyncio", "script"])
def test_programs(server: Node, program: str) -> None:
    """The Python programs in README run, and print what they say."""
    done = subprocess.run(
        [sys.executable, "-c", at(server, program)], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("1 connection\nHello\n", "0 connections got it\n")


def test_curl(server: Node) -> None:
    """The curl lines in README are answered as they say, when 123 has a stream open."""
    url = at(server, "http://127.0.0.1:8000")
    stream = subprocess.Popen(["curl", "-sN", f"{url}/test/123"], stdout=subprocess.PIPE, text=True)
    assert stream.stdout is not None
    try:
        while True:  # until the stream is open
            send = [ENCKE, "send", "123", "Hello World", "--to", url]
            if subprocess.check_output(send, text=True) == "delivered to 1 connection\n":
                break
        assert stream.stdout.readline() == "Recvd msg #1: 'Hello World'\n"
        lines = re.search(r"\$ curl -d .*?(?=```)", README, re.DOTALL)
        assert lines is not None
        single, bulk = re.findall(
            r"^\$ (.*?)\n(\{.*?\})$", at(server, lines[0]), re.DOTALL | re.MULTILINE
        )
        for command, answer in (single, bulk):
            assert subprocess.check_output(["bash", "-c", f"{command} -s"], text=True) == answer
    finally:
        stream.terminate()
        stream.wait()
        stream.stdout.close()
