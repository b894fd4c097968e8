"""The article's stream, as the tools of a shell show it: lynx, as in the article, and curl."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from system.node import Node

LINE = b"Recvd msg #1: 'Hello World'\n"


def send(server: Node) -> None:
    """Send to user 123, once they are there."""
    server.until(lambda state: state.users == 1, "123 is connected")
    host, port = server.address
    answer = httpx.post(f"http://{host}:{port}/send/123", content=b"Hello World")
    assert answer.json() == {"delivered": 1}


@contextlib.contextmanager
def stream(server: Node, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The command, which is given the stream's address; killed if it's still there."""
    host, port = server.address
    with subprocess.Popen(
        [*command, f"http://{host}:{port}/test/123"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, "no_proxy": "127.0.0.1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(shutil.which("lynx") is None, reason="needs lynx")
def test_lynx_shows_the_stream(server: Node) -> None:
    """`lynx --source` prints the line; the stream that ends with the server is whole."""
    with stream(server, "lynx", "--source") as lynx:
        send(server)
        server.signal(signal.SIGTERM)
        assert lynx.communicate(timeout=20)[0] == LINE
        assert lynx.returncode == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_shows_each_message_at_once(server: Node) -> None:
    """`curl -N` prints the line while the stream goes on, and finds its end in order."""
    with stream(server, "curl", "--silent", "--show-error", "-N") as curl:
        assert curl.stdout is not None
        send(server)
        assert curl.stdout.readline() == LINE
        assert curl.poll() is None
        server.signal(signal.SIGTERM)
        assert curl.communicate(timeout=20)[0] == b""
        assert curl.returncode == 0
