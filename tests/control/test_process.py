"""The control process as a process: its start, its ends, its memory."""

import socket
import subprocess
import sys
import time
from pathlib import Path

from system.node import Node, memory

from bench.servers.processes import PATIENCE
from encke.scoreboard import CONTROL, Field, State
from encke.settings import Settings

from .alone import Alone


def test_its_entrance_is_light() -> None:
    """Importing what the supervisor imports brings none of the heavy libraries along."""
    program = """
import sys
import encke.control.process
heavy = {"asyncio", "ssl", "logging", "starlette", "uvicorn", "prometheus_client"}
sys.exit(", ".join(heavy & set(sys.modules)) or 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_it_does_without_openssl(control: Alone) -> None:
    """It speaks no TLS, and doesn't carry a library for it."""
    for path in ("/state", "/metrics", "/docs"):
        assert control.get(path).status_code == 200
    maps = Path(f"/proc/{control.pid}/maps").read_text()
    if "libssl" not in Path("/proc/self/maps").read_text():  # else it was there before the fork
        assert "libssl" not in maps


def test_it_brings_nothing_that_it_never_uses() -> None:
    """All that it serves with, in a cluster and with friends, needs no other loop, no TLS, no
    NATS client, and none of what HTTP libraries bring along."""
    program = """
import sys
import encke.control.server, encke.control.cluster, encke.control.friends
import encke.control.metrics, encke.control.pages
unused = {
    "asyncio", "concurrent.futures", "email", "http.client", "logging", "multiprocessing", "nats",
    "pickle", "prometheus_client", "socketserver", "ssl", "starlette", "urllib.parse", "uvicorn",
}
print(*sorted(unused & set(sys.modules)))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_its_row_says_ready_once_it_answers(control: Alone) -> None:
    """The row has its process id, its start and READY."""
    assert control.get("/health").status_code == 200
    row = control.scoreboard.row(CONTROL)
    assert row[Field.PID] == control.pid
    assert row[Field.STATE] == State.READY
    assert abs(row[Field.STARTED] - time.time()) < PATIENCE


def test_sigterm_ends_it_cleanly(control: Alone) -> None:
    """SIGTERM: exit code 0, although a client keeps its connection open."""
    control.get("/health")
    control.terminate()
    assert control.wait() == 0


def test_sigterm_at_the_start_ends_it() -> None:
    """SIGTERM before it serves isn't lost."""
    with Alone(Settings()) as control:
        control.terminate()
        control.wait()


def test_it_ends_with_its_supervisor(control: Alone) -> None:
    """The end of the lifeline ends it: no process outlives a killed supervisor."""
    control.get("/health")
    control.abandon()
    assert control.wait() == 0


def test_a_client_that_dawdles_cannot_keep_it(control: Alone) -> None:
    """Half a request doesn't hold up the end."""
    control.get("/health")
    with socket.create_connection(("127.0.0.1", control.port), PATIENCE) as dawdler:
        dawdler.sendall(b"GET /health HTTP/1.1\r\n")
        control.get("/health")
        control.terminate()
        assert control.wait() == 0


def test_scraping_does_not_make_it_grow(server: Node) -> None:
    """Hundreds of scrapes take no memory: each is done with once it's answered."""
    pid = server.pid_of("control")
    scrape(server, 100)
    before = memory(pid)
    scrape(server, 300)
    assert memory(pid) - before < 256 * 1024


def scrape(server: Node, times: int) -> None:
    for _ in range(times):
        assert server.get("/metrics")[0] == 200
        assert server.get("/state")[0] == 200
