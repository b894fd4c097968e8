"""What tests of several rooms share. A running server is a `system.node.Node`."""

from collections.abc import Iterator

import pytest
from postgres import MISSING, Postgres
from system.node import Node


@pytest.fixture
def server() -> Iterator[Node]:
    """A server of this test alone, with default settings; fails if it leaves a process behind."""
    with Node() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests that leave it running."""
    if MISSING:
        pytest.skip(MISSING)
    with Postgres() as server:
        yield server
