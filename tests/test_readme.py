"""What README tells a newcomer to type does what it says."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from system.node import Node, until

from bench.servers.processes import free_ports

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
ENCKE = str(Path(sys.executable).with_name("encke"))


@pytest.fixture
def server(shared: Node) -> Node:
    """One server for all tests here."""
    return shared


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


def test_friends(tmp_path: Path) -> None:
    """The lines on friends print what they say; the first message appears, the second doesn't."""
    section = README.partition("## Friends")[2].partition("## ")[0]
    console = re.findall(r"```console\n(.*?)```", section, re.DOTALL)[0]
    steps = re.findall(r"^\$ (.*?)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE)
    assert len(steps) == 5
    with Node("--data", str(tmp_path)) as server, contextlib.ExitStack() as streams:
        places = {
            "ENCKE_URL": at(server, "http://127.0.0.1:8000"),
            "ENCKE_CONTROL": "http://{}:{}".format(*server.control),
        }
        shown = tmp_path / "shown"
        for line, printed in steps:
            command = at(server, line.replace(".venv/bin/encke", ENCKE))
            if command.startswith("curl -N"):
                stream = subprocess.Popen(["bash", "-c", f"exec {command} -s > {shown}"])
                streams.callback(stream.wait)
                streams.callback(stream.terminate)
                server.until(lambda state: state.users == 1, "123 is connected")
            else:
                done = subprocess.check_output(
                    ["bash", "-c", command], text=True, env={**os.environ, **places}
                )
                assert done == printed
        subprocess.check_call([ENCKE, "send", "123", "end", "--to", places["ENCKE_URL"]])
        until(lambda: b"'end'" in shown.read_bytes(), "the last message is shown")
        assert shown.read_bytes() == b"Recvd msg #1: 'Hello friends'\nRecvd msg #2: 'end'\n"


def test_many_machines(tmp_path: Path) -> None:
    """The lines on clusters start a NATS server and two nodes, on which a message crosses."""
    section = README.partition("## Many machines")[2].partition("## HTTP")[0]
    install, *lines = re.findall(r"^\$ (.*)$", section, re.MULTILINE)
    assert install == "pip install 'encke[cluster]'"
    assert len(lines) == 3
    ports = free_ports(5)
    usual = ("4222", "8000", "8001", "8010", "8011")
    here = dict(zip(usual, ports, strict=True))
    replaced = {
        "nats-server": f"{ENCKE[:-5]}nats-server -a 127.0.0.1 -p {here['4222']}",
        "encke serve": f"{ENCKE} serve",
    }
    with contextlib.ExitStack() as running:
        for line in lines:
            command = line.removesuffix(" &")
            for old, new in (*replaced.items(), *((f":{old}", f":{here[old]}") for old in usual)):
                command = command.replace(old, new)
            if " serve " in command and "--listen" not in command:
                command += f" --listen 127.0.0.1:{here['8000']} --control 127.0.0.1:{here['8001']}"
            process = subprocess.Popen(["bash", "-c", f"exec {command}"], stderr=subprocess.DEVNULL)
            running.callback(process.wait, 20)
            running.callback(process.terminate)
        first, second = (f"http://127.0.0.1:{here[port]}" for port in ("8000", "8010"))
        for port in ("8001", "8011"):
            until(lambda port=port: is_healthy(here[port]), "a node is ready")  # type: ignore[misc]
        shown = tmp_path / "shown"
        stream = subprocess.Popen(["bash", "-c", f"exec curl -sN {first}/test/123 > {shown}"])
        running.callback(stream.wait, 20)
        running.callback(stream.terminate)

        def sent() -> bool:
            said = subprocess.check_output([ENCKE, "send", "123", "Hello", "--to", second])
            return said == b"delivered to 1 connection\n"

        until(sent, "it arrives at the other node")
        nats = f"nats://127.0.0.1:{here['4222']}"
        subprocess.check_call([ENCKE, "send", "123", "end", "--nats", nats])
        until(lambda: b"'end'" in shown.read_bytes(), "the last message is shown")
        assert b"Recvd msg #1: 'Hello'\n" in shown.read_bytes()
        listed = subprocess.check_output([ENCKE, "nodes", "--nats", nats], text=True)
        assert len(listed.splitlines()) == 4  # the head, two nodes, the sum


def is_healthy(port: int) -> bool:
    """Whether the node with this control port takes streams."""
    health = ["curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{port}/health"]
    return subprocess.run(health).returncode == 0


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
