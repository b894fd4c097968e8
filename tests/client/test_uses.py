"""One `connect()` in the ways in which programs use it; `python -m bench client` does more."""

from collections.abc import Iterator

import pytest
from system.node import Node

from bench.client_uses import USES


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a running server."""
    with Node("--gateways", "1") as served:
        yield served.url


@pytest.mark.parametrize("use", USES)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_nothing_fails(server: str, use: str) -> None:
    """Nothing fails."""
    assert USES[use](server, 200) == []
