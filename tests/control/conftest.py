"""A control process for each test."""

from collections.abc import Iterator

import pytest

from encke.settings import Settings

from .alone import Alone, alone


@pytest.fixture
def control() -> Iterator[Alone]:
    """A control process without an API key, of a node that is ready."""
    with alone(Settings()) as control:
        yield control
