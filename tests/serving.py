"""A real server for tests: ``encke serve`` as a process of its own, on free ports."""

import contextlib
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Served(NamedTuple):
    """A running server: its public address as a URL, and its process."""

    url: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def serving(
    *flags: str, listen: str = "127.0.0.1:0", environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Run ``encke serve`` with `flags` until the block is left."""
    command = [sys.executable, "-m", "encke", "serve", "--gateways", "1", "--listen", listen]
    process = subprocess.Popen(
        [*command, "--control", "127.0.0.1:0", *flags],
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    try:
        log = b""
        while not (ready := re.search(rb"event=ready listen=(\S+)", log)):
            log += _read(process)
        yield Served(f"http://{ready[1].decode()}", process)
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _read(process: subprocess.Popen[bytes]) -> bytes:
    """What the server says next on stderr; fails if it says nothing for 20 s, or has ended."""
    assert process.stderr is not None
    readable, _, _ = select.select([process.stderr], [], [], 20)
    said = os.read(process.stderr.fileno(), 4096) if readable else b""
    assert said, "the server doesn't start"
    return said
