"""A stock Firefox by WebDriver BiDi, the protocol that it speaks itself: no driver beside it, and no patched browser.

Spec: https://www.w3.org/TR/webdriver-bidi/
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.browser.drivers import called, keys, pointer, whole
from tests.waiting import PATIENCE_S, eventually

_LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


class Firefox:
    """A window of Firefox; a :class:`tests.browser.drivers.Driver`.

    Args:
        socket: to its remote agent.
        folder: for downloads.
    """

    def __init__(self, socket: ClientConnection, folder: Path) -> None:
        self._socket, self.folder = socket, folder
        self._asked = 0
        self.errors: list[str] = []
        self._ask("session.new", capabilities={})
        self._ask("session.subscribe", events=["log.entryAdded"])
        self._window = self._ask("browsingContext.getTree")["contexts"][0]["context"]
        self._ask("browsingContext.setViewport", context=self._window, viewport={"width": 1440, "height": 900})

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if answer.get("id") == self._asked:
                break
            entry = answer.get("params", {})
            # What a script did not catch; what it merely prints is its own matter.
            if answer.get("method") == "log.entryAdded" and entry.get("type") == "javascript":
                self.errors.append(f"{entry.get('level')}: {entry.get('text')}")
        assert answer["type"] == "success", f"{method}: {answer.get('message')}"
        return dict(answer["result"])

    def open(self, url: str) -> None:
        self._ask("browsingContext.navigate", context=self._window, url=url, wait="complete")

    def run(self, function: str, *arguments: object) -> Any:
        answer = self._ask(
            "script.evaluate",
            expression=called(function, arguments),
            target={"context": self._window},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def click(self, x: float, y: float) -> None:
        self._ask("input.performActions", context=self._window, actions=pointer(x, y))

    def key(self, name: str) -> None:
        self._ask("input.performActions", context=self._window, actions=keys([name]))

    def write(self, text: str) -> None:
        self._ask("input.performActions", context=self._window, actions=keys(list(text)))

    def picture(self) -> bytes:
        return base64.b64decode(self._ask("browsingContext.captureScreenshot", context=self._window)["data"])

    def downloaded(self) -> list[Path]:
        return whole(self.folder)


@contextmanager
def firefox(folder: Path) -> Iterator[Firefox]:
    """A Firefox with a profile and a folder of downloads below ``folder``; a skip where there is none."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        pytest.skip("no Firefox on this machine (make browsers)")
    profile, downloads, log = folder / "profile", folder / "downloads", folder / "firefox.log"
    profile.mkdir()
    downloads.mkdir()
    settings = {
        "browser.download.folderList": 2,
        "browser.download.dir": str(downloads),
        "browser.download.always_ask_before_handling_new_types": False,
        "browser.download.alwaysOpenPanel": False,
    }
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in settings.items()]
    (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
    options = ["--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen([path, *options, "about:blank"], stdout=output, stderr=output)
        try:
            told = eventually(lambda: _LISTENING.search(log.read_bytes()), lambda: log.read_text(errors="replace"), 0.1)
            with connect(f"{told[1].decode()}/session", max_size=None, open_timeout=PATIENCE_S) as socket:
                yield Firefox(socket, downloads)
        finally:
            process.kill()
            process.wait(PATIENCE_S)
