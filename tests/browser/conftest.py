"""A real server on a free port with its own TESSERA_HOME, and Chromium pages to look at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.studio import Studio
from tests.servers import TOKEN, AppServer

VIEW = {"width": 1440, "height": 900}


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """A headless Chromium, or a skip that says what is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """A running app with an empty home of its own."""
    home = tmp_path_factory.mktemp("app") / "home"
    home.mkdir()
    server = AppServer(root, home)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def studio(chromium: Any, server: AppServer) -> Iterator[Studio]:
    """A browser window of its own, with the network off but for the app itself."""
    context = chromium.new_context(viewport=VIEW, accept_downloads=True)
    blocked: list[str] = []

    def only_the_app(route: Any) -> None:
        if route.request.url.startswith((server.url, "data:", "blob:")):
            route.continue_()
        else:
            blocked.append(route.request.url)
            route.abort()

    # As the address printed at the start would: from then on the browser is known.
    context.request.get(f"{server.url}/?token={TOKEN}")
    context.route("**/*", only_the_app)
    studio = Studio(context.new_page(), server.url)
    yield studio
    context.close()
    assert blocked == [], "the app asked for something from the network"
    assert studio.errors == []
