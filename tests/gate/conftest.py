"""Fixtures of the gate's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gate.outside import Outside, outside


@pytest.fixture
def reach(tmp_path: Path) -> Iterator[Outside]:
    """What must not be reached."""
    with outside(tmp_path / "outside") as reach:
        yield reach
