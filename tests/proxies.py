"""Real web servers and load balancers, with the configurations that the docs show."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.servers.nginx import PATH, HAProxy, Nginx

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


def proxy(kind: type[Nginx] | type[HAProxy], configuration: str, port: int) -> Nginx | HAProxy:
    """nginx or HAProxy, which listens on `port`; skips the test where there's none."""
    program = kind.__name__.lower()
    if shutil.which(program, path=PATH) is None:
        pytest.skip(f"needs {program}")
    return kind(configuration, port)
