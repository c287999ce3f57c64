"""A home of its own for each test of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_tries: None) -> Path:
    """An empty TESSERA_HOME."""
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TESSERA_CACHE_GB", raising=False)
    return tmp_path / "home"
