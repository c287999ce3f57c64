"""What a person does in the app, for tests to read like a script; it looks only at what is on the screen."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.render.display import DisplayGrid
from tests.waiting import PATIENCE_S, eventually

PATIENCE_MS = 1000 * PATIENCE_S
# Of a window in which nothing else is asked for.
VIEW = {"width": 1440, "height": 900}


def until[T](page: Any, ready: Callable[[], T], what: str | Callable[[], object] = "") -> T:
    """Wait, while the browser goes on, until ``ready()`` counts as true, and return that."""
    return eventually(ready, what, 0.05, lambda seconds: page.wait_for_timeout(1000 * seconds))


def still(page: Any, where: Any = None) -> NDArray[np.uint8]:
    """The colours (H, W, 3) of the page, or of an element, once they no longer change: what moved or was drawn has ended."""
    from PIL import Image

    last = b""

    def same() -> bool:
        nonlocal last
        before, last = last, (where or page).screenshot()
        return bool(before == last)

    until(page, same, "the picture never stands still")
    return np.asarray(Image.open(io.BytesIO(last)).convert("RGB"))


def clicked(what: Any) -> bool:
    """Click what may go away at any moment, as all does when the page's next run draws it anew; False where it did."""
    from playwright.sync_api import TimeoutError

    try:
        what.click(timeout=3000)
    except TimeoutError:
        return False
    return True


def told(page: Any, errors: list[str]) -> str:
    """The address, what can be read, and what went wrong: for the report of a test that failed."""
    try:
        text = page.locator("body").inner_text(timeout=10_000)[:3000]
    except Exception as error:  # noqa: BLE001  (a page that is gone has its reason)
        text = f"({error})"
    return "\n".join([page.url, text, *errors])


class Studio:
    """A browser page with the app in it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))

    def close(self) -> None:
        """Close the page and make sure that nothing went wrong in it and nothing was asked from elsewhere."""
        self.page.close()
        away = [url for url in self.asked if not url.startswith((self.url, "data:", "blob:"))]
        assert away == [], "the app asked for something from the network"
        assert self.errors == []

    def told(self) -> str:
        """For the report of a test that failed."""
        return told(self.page, self.errors)

    # ------------------------------------------------------------- moving about

    def open(self, path: str = "/") -> None:
        """Go to an address of the app."""
        self.page.goto(self.url + path)
        self.page.get_by_test_id("stMainBlockContainer").wait_for()

    def go(self, name: str) -> None:
        """Follow a link of the top navigation."""
        self.page.get_by_test_id("stTopNavLink").filter(has_text=name).click()

    def button(self, name: str) -> Any:
        """A button by its exact name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def sees(self, text: str) -> None:
        """Wait until a text is on the page."""
        self.page.get_by_text(text).first.wait_for()

    def until[T](self, ready: Callable[[], T], what: str | Callable[[], object] = "") -> T:
        """:func:`until` on this page."""
        return until(self.page, ready, what)

    def still(self, where: Any = None) -> NDArray[np.uint8]:
        """:func:`still` on this page."""
        return still(self.page, where)

    def choose(self, box: str, option: str) -> None:
        """Choose an option of the select box of that name; a list that the page's next run has closed is opened again."""
        wanted = self.page.get_by_role("option", name=option, exact=True)
        # Of one that moved, what is left of the page before stands there, disabled, until the run has ended.
        combobox = self.page.get_by_role("combobox", name=box, exact=True, disabled=False)

        def listed() -> bool:
            if wanted.count() == 0 and combobox.get_attribute("aria-expanded") != "true":
                combobox.click()
            return bool(wanted.count())

        def chosen() -> bool:
            self.until(listed, f"{box} has no {option}")
            return clicked(wanted)

        self.until(chosen, f"{option} of {box} cannot be clicked")

    # ---------------------------------------------------------------- labelling

    @property
    def map(self) -> Any:
        """The label map's root element."""
        return self.page.locator(".tl-root[data-kind=map]")

    def wait_for_map(self) -> None:
        """Wait until the embedding picture is drawn and the map has found its place."""
        self.page.locator(".leaflet-pca-pane canvas").wait_for()
        self.still(self.map)

    def settle(self, operations: int) -> None:
        """Wait until everything the page sent so far, ``operations`` in all since it was loaded, is on the screen."""
        self.page.wait_for_function(
            """n => {
                for (const host of document.querySelectorAll("*")) {
                    const root = (host.shadowRoot ?? host).querySelector?.(".tl-root[data-kind=map]");
                    if (root) return Number(root.dataset.shownAck ?? 0) >= n;
                }
                return false;
            }""",
            arg=operations,
        )

    def add_class(self, name: str) -> None:
        """Type a new class; it is then the chosen one."""
        self.page.get_by_placeholder("New class").fill(name)
        self.button("Add").click()
        self.page.locator(".tl-row.tl-chosen").filter(has_text=name).wait_for()

    def choose_class(self, name: str) -> None:
        """Pick the class to label with."""
        self.page.locator(".tl-pick").filter(has_text=name).click()

    def classes(self) -> dict[str, int]:
        """Names and label counts as the panel shows them."""
        rows = self.page.locator(".tl-row")
        names = rows.locator(".tl-name").all_inner_texts()
        counts = rows.locator(".tl-count").all_inner_texts()
        return dict(zip(names, map(int, counts), strict=True))

    def click_pixel(self, grid: Grid, row: int, col: int) -> None:
        """Click the middle of a scene pixel on the map."""
        x, y = self.on_screen(grid, np.array([row]), np.array([col]))
        self.page.mouse.click(float(x[0]), float(y[0]))

    def layer(self, name: str, *, on: bool, opacity: int | None = None) -> None:
        """Switch a layer of the map and set its opacity in percent."""
        row = self.page.locator(f"[data-layer={name}]")
        row.locator("input[type=checkbox]").set_checked(on)
        if opacity is not None:
            row.locator("input[type=range]").fill(str(opacity))

    # ------------------------------------------------------------------ looking

    def on_screen(self, grid: Grid, rows: NDArray[Any], cols: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Where the middles of scene pixels are on the screen."""
        box = self.page.locator(".leaflet-pca-pane canvas").bounding_box()
        display = DisplayGrid(grid)
        west, south, east, north = display.bounds
        x, y = display.from_pixel(rows + 0.5, cols + 0.5)
        return (
            box["x"] + (x - west) / (east - west) * box["width"],
            box["y"] + (north - y) / (north - south) * box["height"],
        )

    def colours(self, grid: Grid, rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.uint8]:
        """The colours (N, 3) that the screen shows at scene pixels."""
        # The pointer's own dot and tooltips must not be in the picture.
        self.page.mouse.move(5, 5)
        screen = self.still()
        x, y = self.on_screen(grid, rows, cols)
        return screen[np.floor(y).astype(int), np.floor(x).astype(int)]

    def download(self, button: str, folder: Path) -> Path:
        """Press the download button of a file on the page Export."""
        from playwright.sync_api import TimeoutError

        # A page that is just being drawn anew swallows a press; whoever sees that nothing happens presses again.
        self.still()
        try:
            with self.page.expect_download(timeout=20_000) as waiting:
                self.button(button).click()
        except TimeoutError:
            with self.page.expect_download() as waiting:
                self.button(button).click()
        path = folder / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path
