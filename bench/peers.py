"""The servers that are measured: Encke and nchan, each started for one measurement.

nchan is set up as its users would for the same job, and in its favour: no access
log, nothing stored (a message goes to who is there), one worker, since one core is
what everyone gets.

May import: processes, load.usage.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import msgspec

from encke.tools.load.usage import cpu_seconds, process_tree, pss

from .processes import BenchError, running

START_TIMEOUT = 30.0
"""Seconds that a server may take until it answers."""

NCHAN_FILES = 19_990
"""Open files of nginx's one worker: 20,000 is a common hard limit."""

NCHAN_STREAMS = 18_500
"""Streams that it holds at most: once less than a sixteenth of its connections is free, it closes
those that wait for a request, the senders' too (ngx_drain_connections)."""

GATEWAY_STREAMS = 19_000
"""Streams that a gateway surely holds."""

_NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

_NCHAN = """\
load_module {module};
{user}
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid {directory}/pid;
error_log stderr error;
events {{ worker_connections {files}; multi_accept on; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/send/(.+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_store_messages off;
        }}
        location ~ ^/test/(.+)$ {{
            nchan_subscriber http-chunked;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/events/(.+)$ {{
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location = /status {{
            nchan_stub_status;
        }}
    }}
}}
"""


class Server:
    """A running server: where it listens, what its processes cost."""

    def __init__(self, name: str, pid: int, port: int) -> None:
        self.name = name
        self.pid = pid
        self.port = port

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """CPU time of all its processes."""
        return cpu_seconds(process_tree(self.pid))

    def memory(self) -> dict[int, int]:
        """PSS of each of its processes, bytes, by pid."""
        return {pid: pss(pid) for pid in process_tree(self.pid)}

    def settled_memory(self) -> dict[int, int]:
        """PSS once it has stopped changing (two readings within 0.5 %), or after 5 s."""
        before = self.memory()
        for _ in range(20):
            time.sleep(0.25)
            now = self.memory()
            if abs(sum(now.values()) - sum(before.values())) * 200 < sum(now.values()):
                return now
            before = now
        return before


class Kind(msgspec.Struct, frozen=True):
    """A server that can be started."""

    name: str
    gateways: int = 0
    """Encke's --gateways; 0: it's nchan."""

    @contextmanager
    def start(self, core: int, streams: int) -> Iterator[Server]:
        """Run it on `core`, able to hold `streams`."""
        starting = encke(core, self.gateways, streams) if self.gateways else nchan(core)
        with starting as server:
            server.name = self.name
            yield server

    def missing(self, streams: int) -> str | None:
        """Why it can't be measured here with `streams`, if it can't."""
        if self.gateways:
            return None
        if reason := nchan_missing():
            return reason
        return f"one worker holds {NCHAN_STREAMS:,} streams" if streams > NCHAN_STREAMS else None


ENCKE_ONE = Kind("Encke, 1 gateway", 1)
ENCKE_TWO = Kind("Encke, 2 gateways", 2)
"""Router and gateways in processes of their own: the shape that a 2-core machine gets."""
NCHAN = Kind("nchan")


@contextmanager
def encke(
    core: int | None, gateways: int, streams: int = 0, **settings: float | str
) -> Iterator[Server]:
    """``encke serve`` on free ports; `settings` are passed as ENCKE_* variables. On `core`, None:
    where we are."""
    port, control = free_ports(2)
    # the caller's own ENCKE_* settings (an API key, say) are no part of the measurement
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ENCKE_")}
    environment |= {f"ENCKE_{name.upper()}": str(value) for name, value in settings.items()}
    command = [
        sys.executable, "-m", "encke", "serve",
        "--listen", f"127.0.0.1:{port}", "--control", f"127.0.0.1:{control}",
        "--gateways", str(gateways),
    ]  # fmt: skip
    if streams > gateways * GATEWAY_STREAMS:
        command += ["--max-connections", str(streams + 1000)]
    with (
        tempfile.TemporaryFile() as log,
        running(command, core, environment=environment, log=log.fileno()) as process,
    ):
        health = f"http://127.0.0.1:{control}/health"
        wait_until(lambda: _answers_200(health), process, "encke serve", log)
        yield Server("Encke", process.pid, port)


def nchan_missing() -> str | None:
    """Why nchan can't be measured here, if it can't."""
    if shutil.which("nginx") and _NCHAN_MODULE.exists():
        return None
    return "it is not installed; apt install nginx libnginx-mod-nchan"


@contextmanager
def nchan(core: int | None) -> Iterator[Server]:
    """nginx with nchan on a free port; on `core`, None: where we are."""
    (port,) = free_ports(1)
    with (
        tempfile.TemporaryDirectory(prefix="encke-bench-nchan-") as directory,
        tempfile.TemporaryFile() as log,
    ):
        configuration = Path(directory) / "nginx.conf"
        configuration.write_text(
            _NCHAN.format(
                module=_NCHAN_MODULE,
                user="user root;" if os.geteuid() == 0 else "",
                files=NCHAN_FILES,
                directory=directory,
                port=port,
            )
        )
        command = ["nginx", "-p", directory, "-c", str(configuration), "-e", "stderr"]
        with running(command, core, log=log.fileno()) as process:
            wait_until(lambda: accepts(port), process, "nginx", log)
            yield Server("nchan", process.pid, port)


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: IO[bytes]
) -> None:
    """Wait until the server is `ready`. Raises BenchError, with the end of its log."""
    deadline = time.monotonic() + START_TIMEOUT
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            said = log.read()[-2000:].decode(errors="replace")
            raise BenchError(f"{name} did not start (exit code {process.poll()}):\n{said}")
        time.sleep(0.05)


def _answers_200(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True
