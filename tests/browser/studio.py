"""What a person does in the app, for tests to read like a script; it looks only at what is on the screen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.render.display import DisplayGrid

PATIENCE_MS = 60_000


class Studio:
    """A browser page with the app in it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

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

    # ---------------------------------------------------------------- labelling

    @property
    def map(self) -> Any:
        """The label map's root element."""
        return self.page.locator(".tl-root[data-kind=map]")

    def wait_for_map(self) -> None:
        """Wait until the embedding picture is drawn."""
        self.page.locator(".leaflet-pca-pane canvas").wait_for()
        self.page.wait_for_timeout(500)

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
        from PIL import Image

        # The pointer's own dot and tooltips must not be in the picture.
        self.page.mouse.move(5, 5)
        self.page.wait_for_timeout(300)
        x, y = self.on_screen(grid, rows, cols)
        screen = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        return screen[np.floor(y).astype(int), np.floor(x).astype(int)]

    def download(self, button: str, folder: Path) -> Path:
        """Press the download button of a file on the page Export."""
        with self.page.expect_download() as waiting:
            self.button(button).click()
        path = folder / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path
