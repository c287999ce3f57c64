"""A real server on a free port with its own TESSERA_HOME, and Chromium pages to look at it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.studio import Studio

START_SECONDS = 60
VIEW = {"width": 1440, "height": 900}
# Pixels along each side of the demo region in these tests: enough to see and label three classes.
DEMO_SIZE = 96


class AppServer:
    """``tessera app`` as people start it, stoppable and startable again on the same port."""

    launcher = ("-m", "tessera_core")

    def __init__(self, root: Path, home: Path) -> None:
        self.root, self.home = root, home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        environment = os.environ | {
            "TESSERA_HOME": str(self.home),
            "TESSERA_DEMO_SIZE": str(DEMO_SIZE),
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, *self.launcher, "app", "--headless", "--port", str(self.port)]
        self.log = open(self.home.parent / "server.log", "ab")  # noqa: SIM115  (lives as long as the server)
        self.process = subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=self.log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.read() == b"ok":
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        pytest.fail(f"the app did not start: {self.output()[-2000:]}")

    def stop(self) -> None:
        """Stop it as a closed laptop would: without asking."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
            self.process.wait(20)
            self.process = None
            self.log.close()

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    def output(self) -> str:
        """What the server printed."""
        return (self.home.parent / "server.log").read_text(encoding="utf-8", errors="replace")


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

    context.route("**/*", only_the_app)
    studio = Studio(context.new_page(), server.url)
    yield studio
    context.close()
    assert blocked == [], "the app asked for something from the network"
    assert studio.errors == []
