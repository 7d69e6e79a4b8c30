"""What several tests of core/data need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.data.index import Index


@pytest.fixture
def index() -> Iterator[Index]:
    """An empty index in memory."""
    with Index(Path(":memory:")) as opened:
        yield opened
