"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the golden vectors and real data that lie beside a development checkout."""
    if not (SHARED / "golden").is_dir():
        pytest.skip("the folder ../shared (golden vectors and real data) is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT
