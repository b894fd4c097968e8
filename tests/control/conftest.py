"""A control process for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from encke.settings import Settings

from .alone import Alone


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Alone]:
    """A control process without an API key, of a node that is ready."""
    with Alone(Settings(data=str(tmp_path))) as control:
        yield control
