"""Servers for the system tests, in both shapes: router in the gateway, router apart."""

from collections.abc import Iterator

import pytest

from .node import Address, Node


@pytest.fixture(scope="module", params=[1, 2], ids=["one-gateway", "two-gateways"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A running server with default settings; with one gateway the router lives in it."""
    with Node("--gateways", str(request.param)) as node:
        yield node


@pytest.fixture
def address(node: Node) -> Address:
    """Where that server listens."""
    return node.address
