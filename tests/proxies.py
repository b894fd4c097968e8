"""Real web servers and load balancers, with the configurations that the docs show."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from system.node import until

from bench.peers import accepts

DOCS = Path(__file__).parent.parent / "docs"
PATH = os.environ["PATH"] + ":/usr/sbin"

_NGINX = """
daemon off;
worker_processes 1;
{user}
pid {directory}/pid;
error_log stderr error;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    types {{ text/html html; }}
    {sites}
}}
"""


def shown(page: str, language: str, changes: Mapping[str, str]) -> str:
    """The configuration that docs/`page` shows, with `changes` of what is different here: each
    must occur in it."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    assert isinstance(block, str)
    for there, here in changes.items():
        assert there in block, f"docs/{page} has no {there}"
        block = block.replace(there, here)
    return block


@contextmanager
def nginx(directory: Path, sites: str, port: int) -> Iterator[None]:
    """nginx with these upstreams and servers, one of which listens on `port`."""
    file = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # pytest's directories are private
    file.write_text(_NGINX.format(directory=directory, user=user, sites=sites))
    with _running(["nginx", "-p", f"{directory}", "-c", f"{file}", "-e", "stderr"], port):
        yield


@contextmanager
def haproxy(directory: Path, configuration: str, port: int) -> Iterator[None]:
    """HAProxy, one of whose frontends listens on `port`."""
    file = directory / "haproxy.cfg"
    file.write_text(configuration)
    with _running(["haproxy", "-db", "-f", f"{file}"], port):
        yield


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[None]:
    program = shutil.which(command[0], path=PATH)
    if program is None:
        pytest.skip(f"needs {command[0]}")
    with subprocess.Popen([program, *command[1:]]) as process:
        try:
            until(lambda: accepts(port) or process.poll() is not None, f"{command[0]} listens")
            yield
        finally:
            process.terminate()
