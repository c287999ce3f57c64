"""Browsers behind one small interface, so that one journey drives all of them; what they cannot do here is a reason to skip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

# Names of keys as Playwright has them, and their code points of the WebDriver standard.
KEYS = {
    "Enter": "\ue007",
    "Tab": "\ue004",
    "Escape": "\ue00c",
    "ArrowLeft": "\ue012",
    "ArrowUp": "\ue013",
    "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
}


class Driver(Protocol):
    """A window of a browser.

    Attributes:
        folder: where it puts what is downloaded.
    """

    folder: Path

    def open(self, url: str) -> None:
        """Go to an address."""

    def run(self, function: str, *arguments: object) -> Any:
        """What a function of JavaScript returns for these arguments."""

    def click(self, x: float, y: float) -> None:
        """The mouse's left button there."""

    def key(self, name: str) -> None:
        """One key down and up."""

    def write(self, text: str) -> None:
        """Key after key."""

    def picture(self) -> bytes:
        """A PNG of the window."""

    def downloaded(self) -> list[Path]:
        """Files that are whole in the folder."""


class Chromium:
    """A window of Playwright's; also touch, which Playwright alone passes on here."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self.folder = page, folder
        self._arriving: list[Any] = []
        page.on("download", lambda file: self._arriving.append(file))
        self._touch: Any = None

    def open(self, url: str) -> None:
        self.page.goto(url)

    def run(self, function: str, *arguments: object) -> Any:
        return self.page.evaluate(f"values => ({function})(...values)", list(arguments))

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(x, y)

    def key(self, name: str) -> None:
        self.page.keyboard.press(name)

    def write(self, text: str) -> None:
        self.page.keyboard.type(text)

    def picture(self) -> bytes:
        return bytes(self.page.screenshot())

    def downloaded(self) -> list[Path]:
        # Events come while Playwright is asked for something.
        self.page.evaluate("1")
        while self._arriving:
            file = self._arriving.pop()
            file.save_as(self.folder / file.suggested_filename)
        return sorted(self.folder.iterdir())

    def touch(self, *ways: Sequence[tuple[float, float]]) -> None:
        """A finger for each way: down at its first place, through the others, up; no mouse moves."""
        self._touch = self._touch or self.page.context.new_cdp_session(self.page)
        for number, places in enumerate(zip(*ways, strict=True)):
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
            kind = "touchMove" if number else "touchStart"
            self._touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        self._touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def pointer(x: float, y: float) -> list[dict[str, Any]]:
    """A click, as sources of actions of the WebDriver standard, which both its protocols take."""
    steps = [
        {"type": "pointerMove", "x": round(x), "y": round(y)},
        {"type": "pointerDown", "button": 0},
        {"type": "pointerUp", "button": 0},
    ]
    return [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}]


def keys(values: Sequence[str]) -> list[dict[str, Any]]:
    """Keys one after the other, likewise."""
    steps = [{"type": kind, "value": KEYS.get(value, value)} for value in values for kind in ("keyDown", "keyUp")]
    return [{"type": "key", "id": "keyboard", "actions": steps}]


def called(function: str, arguments: Sequence[object]) -> str:
    """An expression that calls a function with these arguments and gives what it returns as JSON."""
    return f"JSON.stringify(({function})(...{json.dumps(list(arguments))}) ?? null)"


def whole(folder: Path) -> list[Path]:
    """Files of a folder into which a browser downloads, but those that are still coming."""
    unfinished = {".part", ".crdownload", ".wkdownload"}
    coming = [path.stem for path in folder.iterdir() if path.suffix in unfinished]
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix not in unfinished
        and path.stat().st_size
        and not any(name.startswith(path.name) for name in coming)
    )
