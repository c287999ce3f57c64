"""A published store for the tests of this folder, written once, and a home of their own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import world_store


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store as a folder; read-only."""
    return world_store.write_world(tmp_path_factory.mktemp("world") / "world.zarr")


@pytest.fixture
def web(world: Path) -> Iterator[world_store.WebStore]:
    """A server of the store, whose address is ``web.store``."""
    with world_store.serve(world.parent) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TESSERA_HOME, and waits between tries that do not hold up the tests."""
    from tessera_core.sources.remote import fetch

    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TESSERA_CACHE_GB", raising=False)
    monkeypatch.setattr(fetch, "FIRST_WAIT_S", 0.01)
    return tmp_path / "home"
