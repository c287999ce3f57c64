"""A small landscape of smooth classes, and the app with a home of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

from tessera_core.project.project import Project
from tests.factories import landscape
from tests.servers import APP_SECONDS


@pytest.fixture(scope="session", autouse=True)
def installed_components() -> Iterator[None]:
    """Streamlit looks through all that is installed once, not for every app: a third of a second in each of hundreds of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TESSERA_HOME of its own, and none of the server's caches from other tests."""
    import streamlit as st

    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TESSERA_HOSTED", raising=False)
    monkeypatch.delenv("TESSERA_PROJECT", raising=False)
    st.cache_resource.clear()
    return tmp_path / "home"


@pytest.fixture
def region_folder(tmp_path: Path) -> Path:
    """A folder with the landscape of 2023 and 2024."""
    for year in (2023, 2024):
        landscape(year=year, seed=year).save(tmp_path / "my fields" / str(year))
    return tmp_path / "my fields"


@pytest.fixture
def project(home: Path, region_folder: Path) -> Project:
    """A project of that folder, without labels."""
    from tessera_core.project import library

    return library.start(library.identify(str(region_folder)), "My fields")


class _VisitedServer:
    """Stands for the class PagesManager in AppTest, which would reset a flag of it before every run."""

    def __call__(self, *args: object, **kwargs: object) -> PagesManager:
        return PagesManager(*args, **kwargs)


@pytest.fixture
def app(home: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The app as a new visitor finds it on a server that others have visited."""
    # AppTest makes every run that of a fresh server, on which Streamlit runs page files without app.py.
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", _VisitedServer())
    return AppTest.from_file(str(root / "app.py"), default_timeout=APP_SECONDS)
