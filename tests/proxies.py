"""Real web servers and load balancers, with the configurations that the docs show."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from bench.servers.nginx import PATH, Caddy, HAProxy, Nginx

P = TypeVar("P", Nginx, HAProxy, Caddy)

DOCS = Path(__file__).parent.parent / "docs"


def shown(page: str, language: str, changes: Mapping[str, str]) -> str:
    """The configuration that docs/`page` shows, with `changes` of what is different here: each
    must occur in it."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    assert isinstance(block, str)
    for there, here in changes.items():
        assert there in block, f"docs/{page} has no {there}"
        block = block.replace(there, here)
    return block


def proxy(kind: type[P], configuration: str, port: int) -> P:
    """nginx, HAProxy or Caddy, which listens on `port`; skips the test where there's none."""
    program = kind.__name__.lower()
    if shutil.which(program, path=PATH) is None:
        pytest.skip(f"needs {program}")
    return kind(configuration, port)


def in_front(program: str, address: str, port: int) -> Nginx | HAProxy | Caddy:
    """The proxy that docs/deployment.md shows, before the server at `address`."""
    here = {"127.0.0.1:8000": address}
    match program:
        case "nginx":
            here["listen 80;"] = f"listen 127.0.0.1:{port};"
            return proxy(Nginx, shown("deployment.md", "nginx", here), port)
        case "haproxy":
            here["bind :80"] = f"bind 127.0.0.1:{port}"
            return proxy(HAProxy, shown("deployment.md", "haproxy", here), port)
        case _:
            here["example.org {"] = f"http://127.0.0.1:{port} {{"
            return proxy(Caddy, shown("deployment.md", "caddyfile", here), port)
