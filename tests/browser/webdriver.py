"""WebKit by its WebDriver: GTK's small browser, the nearest to Safari that runs on Linux without a patched build.

Spec: https://www.w3.org/TR/webdriver2/
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.drivers import called, keys, pointer, whole
from tests.servers import free_port
from tests.waiting import PATIENCE_S, eventually

_BROWSERS = ("/usr/lib/*/webkit2gtk-4.1/MiniBrowser", "/usr/lib/*/webkit2gtk-4.0/MiniBrowser")


class WebKit:
    """A window of WebKit; a :class:`tests.browser.drivers.Driver`.

    Args:
        address: of the driver.
        binary: of the browser.
        folder: for downloads.
    """

    def __init__(self, address: str, binary: Path, folder: Path) -> None:
        self.folder, self._address = folder, f"{address}/session"
        self.errors: list[str] = []
        options = {"binary": str(binary), "args": ["--automation"]}
        wanted = {"browserName": "MiniBrowser", "webkitgtk:browserOptions": options}
        answer = self._ask("POST", "", capabilities={"alwaysMatch": wanted})
        self._address += f"/{answer['sessionId']}"
        self._ask("POST", "/window/rect", width=1440, height=980)

    def _ask(self, method: str, path: str, **parameters: object) -> Any:
        request = urllib.request.Request(
            self._address + path,
            method=method,
            data=json.dumps(parameters).encode() if method == "POST" else None,
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{method} {path}: {error.read().decode('utf-8', 'replace')}")

    def open(self, url: str) -> None:
        self._ask("POST", "/url", url=url)

    def run(self, function: str, *arguments: object) -> Any:
        return json.loads(self._ask("POST", "/execute/sync", script=f"return {called(function, arguments)}", args=[]))

    def click(self, x: float, y: float) -> None:
        self._ask("POST", "/actions", actions=pointer(x, y))

    def key(self, name: str) -> None:
        self._ask("POST", "/actions", actions=keys([name]))

    def write(self, text: str) -> None:
        self._ask("POST", "/actions", actions=keys(list(text)))

    def picture(self) -> bytes:
        return base64.b64decode(self._ask("GET", "/screenshot"))

    def downloaded(self) -> list[Path]:
        return whole(self.folder)

    def close(self) -> None:
        """End the session."""
        self._ask("DELETE", "")


@contextmanager
def webkit(folder: Path) -> Iterator[WebKit]:
    """A WebKit with a home and a folder of downloads below ``folder``; a skip that says what is missing for one."""
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    found = [path for pattern in _BROWSERS for path in Path("/").glob(pattern[1:])]
    missing = [
        name for name, there in (("WebKitWebDriver", driver), ("Xvfb", screen), ("MiniBrowser", found)) if not there
    ]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} on this machine (make browsers)")
    assert driver is not None
    assert screen is not None
    home = folder / "home"
    downloads = home / "Downloads"
    downloads.mkdir(parents=True)
    (home / ".config").mkdir()
    (home / ".config" / "user-dirs.dirs").write_text('XDG_DOWNLOAD_DIR="$HOME/Downloads"\n', encoding="utf-8")
    display = folder / "display"
    port = free_port()
    with (folder / "webkit.log").open("wb") as output, display.open("wb") as number:
        # The screen says itself which number it took.
        options = ["-displayfd", "1", "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
        shown = subprocess.Popen([screen, *options], stdout=number, stderr=output)
        try:
            eventually(lambda: display.read_text().strip(), "no virtual screen")
            environment = {
                **os.environ,
                "DISPLAY": f":{display.read_text().strip()}",
                "HOME": str(home),
                "XDG_CONFIG_HOME": str(home / ".config"),
                "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
                "LIBGL_ALWAYS_SOFTWARE": "1",
            }
            process = subprocess.Popen(
                [driver, f"--port={port}"], env=environment, stdout=output, stderr=output, start_new_session=True
            )
            try:
                address = f"http://127.0.0.1:{port}"
                eventually(lambda: _answers(address), "the driver does not answer", 0.1)
                window = WebKit(address, found[0], downloads)
                yield window
                window.close()
            finally:
                process.kill()
                process.wait(PATIENCE_S)
        finally:
            shown.kill()
            shown.wait(PATIENCE_S)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/status", timeout=10):
            return True
    except OSError:
        return False
