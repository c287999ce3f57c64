"""A real server on a free port with its own TESSERA_HOME, and Chromium pages to look at it."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.studio import VIEW, Studio
from tests.servers import TOKEN, AppServer


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where a test fails, its report says what stood on the page, and what the server was at."""
    report = yield
    if report.when == "call" and report.failed:
        for name, given in getattr(item, "funcargs", {}).items():
            if hasattr(given, "told"):
                report.sections.append((f"what the {name} tells", given.told()))
    return report


@pytest.fixture(scope="package")
def launcher() -> Iterator[tuple[Any, dict[str, Any]]]:
    """Playwright's Chromium, and the options to start the system's own with; or a skip that says what is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium, {"executable_path": path, "args": ["--no-sandbox"]}


@pytest.fixture(scope="package")
def chromium(launcher: tuple[Any, dict[str, Any]]) -> Iterator[object]:
    """A headless Chromium for windows of a test's own: phones, strangers."""
    engine, options = launcher
    browser = engine.launch(**options)
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def browser_window(launcher: tuple[Any, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A window for the pages of all tests. It keeps the app's code, compiled, which each new one would fetch and compile again."""
    engine, options = launcher
    profile = tmp_path_factory.mktemp("profile")
    context = engine.launch_persistent_context(str(profile), viewport=VIEW, accept_downloads=True, **options)
    yield context
    context.close()


@pytest.fixture(scope="package")
def running(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """The app, started once for all files of this folder: it takes longer to load its libraries than most tests take."""
    home = tmp_path_factory.mktemp("app") / "home"
    home.mkdir()
    server = AppServer(root, home)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def server(running: AppServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """The running app as a new user finds it: with a home in which there is nothing but, perhaps, the demo region."""
    running.forget_output()
    yield running
    if running.process is None:
        running.start()
    put_away(running, tmp_path_factory.mktemp("put-away"))


def put_away(running: AppServer, away: Path) -> None:
    """Leave nothing in its home but the demo region; moved, not deleted: a job that nobody waits for may still write there."""
    for folder in (running.home, running.home / "cache"):
        for path in folder.iterdir() if folder.exists() else ():
            if path not in (running.home / "secret", running.home / "cache", running.home / "cache" / "demo"):
                path.rename(away / f"{folder.name} {path.name}")


@pytest.fixture
def fresh(server: AppServer, tmp_path_factory: pytest.TempPathFactory) -> AppServer:
    """The same for tests of one file that each begin as a new user."""
    put_away(server, tmp_path_factory.mktemp("put-away"))
    return server


@pytest.fixture
def studio(browser_window: Any, server: AppServer) -> Iterator[Studio]:
    """A page of its own that may ask for nothing but the app; what is further away the guard of all tests refuses."""
    # As the address printed at the start would: from then on the browser is known.
    browser_window.request.get(f"{server.url}/?token={TOKEN}")
    studio = Studio(browser_window.new_page(), server.url)
    yield studio
    studio.close()
