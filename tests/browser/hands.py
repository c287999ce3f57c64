"""How people do what they do: with a mouse, a finger, or the keyboard alone; all find things by the names they read or hear."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from tests.browser.drivers import Chromium, Driver
from tests.waiting import eventually

FIND = (Path(__file__).parent / "find.js").read_text(encoding="utf-8")
# No run is under way, so nothing that has just been found is about to be drawn anew.
_STILL = """() => document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "notRunning" """
_FOCUS = """() => {
  const deep = (root) => (root.activeElement?.shadowRoot ? deep(root.activeElement.shadowRoot) : root.activeElement);
  const node = deep(document);
  return !node || node === document.body ? "" : node.tagName + " " + (node.ariaLabel || node.innerText || node.className || "");
}"""
# More stops than any page has.
_STOPS = 250


class Hand(ABC):
    """Somebody at a window.

    Args:
        driver: of the window.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def find(self, role: str, name: str) -> dict[str, Any] | None:
        """Where that is, if it is on the screen: x, y of its middle, width, height, free, focused."""
        found: dict[str, Any] | None = self.driver.run(FIND, role, name)
        return found

    def reach(self, role: str, name: str) -> dict[str, Any]:
        """Where that is once it is there, stands still and has nothing over it."""
        last: dict[str, Any] | None = None

        def there() -> dict[str, Any] | None:
            nonlocal last
            before, last = last, self.find(role, name)
            return last if last is not None and last["free"] and last == before else None

        return eventually(there, lambda: f"no {role} {name!r} to be reached: {last}; {self.seen()}", 0.05)

    def seen(self) -> Path:
        """A picture of the window, for people who look at what failed."""
        path = self.driver.folder / "seen.png"
        path.write_bytes(self.driver.picture())
        return path

    def press(self, role: str, name: str) -> None:
        """Press a button or follow a link."""
        eventually(lambda: self.driver.run(_STILL), "a run does not end", 0.05)
        self.touch(role, name)

    @abstractmethod
    def touch(self, role: str, name: str) -> None:
        """Press what is there."""

    def fill(self, name: str, text: str) -> None:
        """Write into the field of that name."""
        self.press("field", name)
        self.driver.write(text)

    def go(self, page: str) -> None:
        """Follow a link of the navigation, which is behind a button on a phone."""

        def ways() -> str:
            if self.find("link", page):
                return "link"
            return "button" if self.find("css", "[data-testid=stExpandSidebarButton]") else ""

        if eventually(ways, f"no way to {page}", 0.05) == "button":
            self.press("css", "[data-testid=stExpandSidebarButton]")
        self.press("link", page)

    def sees(self, text: str) -> None:
        """Wait until the page says that."""
        says = "text => document.body.innerText.includes(text)"
        eventually(lambda: self.driver.run(says, text), f"the page does not say {text!r}", 0.05)


class Mouse(Hand):
    """A mouse, and keys for writing."""

    def touch(self, role: str, name: str) -> None:
        at = self.reach(role, name)
        self.driver.click(at["x"], at["y"])


class Finger(Hand):
    """One finger, or two, on a phone.

    Args:
        driver: Chromium's, the one through which fingers reach a page here.
    """

    def __init__(self, driver: Chromium) -> None:
        super().__init__(driver)
        self.fingers = driver

    def tap(self, x: float, y: float) -> None:
        """A finger down and up."""
        self.fingers.touch([(x, y)])

    def touch(self, role: str, name: str) -> None:
        at = self.reach(role, name)
        # WCAG 2.2, 2.5.8: less than that is missed by a finger.
        assert min(at["width"], at["height"]) >= 24, f"{name} is too small for a finger: {at}"
        self.tap(at["x"], at["y"])

    def spread(self, x: float, y: float, by: float) -> None:
        """Two fingers that move apart around a place."""
        self.fingers.touch(*([(x + side * (20 + step * by / 8), y) for step in range(9)] for side in (-1, 1)))


class Keyboard(Hand):
    """The keyboard alone: Tab until something has the focus, Enter to press it; what was pressed never leaves it nowhere."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self._pressed = ""

    def focus(self) -> str:
        """What has the focus; nothing where it is at the head of the page."""
        return str(self.driver.run(_FOCUS))

    def kept(self) -> None:
        """Something has the focus, also after what was pressed last, which may have gone away."""
        if self._pressed:
            eventually(self.focus, f"nothing has the focus after {self._pressed!r}", 0.05)

    def touch(self, role: str, name: str) -> None:
        eventually(lambda: self.find(role, name), f"no {role} {name!r}", 0.05)
        self.kept()
        passed = []
        for _ in range(_STOPS):
            at = self.find(role, name)
            if at is not None and at["focused"]:
                break
            self.driver.key("Tab")
            passed.append(self.focus())
        else:
            raise AssertionError(f"Tab never comes to {name!r}: {passed}")
        if role == "field":
            return
        self.driver.key("Enter")
        self._pressed = name
