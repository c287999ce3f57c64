"""Make docs/img: every picture of the documentation, by the tests' browser from the real app on the demo region.

Usage: .venv/bin/python tools/docs_pictures.py [NAME ...]      needs Chromium; takes some minutes. `make docs-pictures` runs it.

Pictures are reduced to 200 colours, which a screen of a map hardly shows and a repository is glad of.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser.studio import Studio  # noqa: E402
from tests.servers import TOKEN, AppServer  # noqa: E402

FOLDER = ROOT / "docs" / "img"
VIEW = {"width": 1440, "height": 900}
# A server that has just started loads its libraries first, and the demo region is computed.
PATIENCE_MS = 400_000


class Tour:
    """A visit to the app, page after page, with a picture of each."""

    def __init__(self, studio: Studio, home: Path, wanted: set[str]) -> None:
        self.studio, self.page, self.home, self.wanted = studio, studio.page, home, wanted
        self.project = ""
        self.saved: set[str] = set()

    def picture(self, name: str) -> None:
        """Save what the screen shows, if it is wanted."""
        from PIL import Image

        if self.wanted and name not in self.wanted:
            return
        self.saved.add(name)
        self.page.mouse.move(5, 5)
        self.page.wait_for_timeout(1500)
        shot = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        shot.quantize(200, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            FOLDER / f"{name}.png", optimize=True
        )
        print(f"{name}.png: {(FOLDER / f'{name}.png').stat().st_size / 1000:.0f} kB", flush=True)

    def settled(self) -> None:
        """Wait until no run is under way."""
        self.page.wait_for_timeout(1500)
        self.page.wait_for_function(
            "() => !document.querySelector('[data-testid=stStatusWidget], [data-testid=stSkeleton]')",
            timeout=PATIENCE_MS,
        )
        self.page.wait_for_timeout(1000)

    def open(self, path: str) -> None:
        """A page of the demo project."""
        self.studio.open(f"{path}?project={self.project}")

    def region(self) -> None:
        """The demo region by its one button."""
        self.studio.open()
        self.studio.button("Open the demo region").click()
        self.studio.button("Start labelling").wait_for(timeout=PATIENCE_MS)
        self.project = max((self.home / "projects").iterdir(), key=lambda folder: folder.stat().st_mtime).name
        self.settled()
        self.picture("region")

    def label(self) -> None:
        """Eight classes of the true map, a few clicks each."""
        import rasterio

        from tessera_core.labels.files import class_tags
        from tests.browser.test_journey import Place

        self.studio.button("Start labelling").click()
        self.studio.wait_for_map()
        truth, grid = self._truth()
        with rasterio.open(truth) as file:
            kinds = file.read(1)
        # Nobody clicks at the very edge.
        kinds[[0, -1]] = kinds[:, [0, -1]] = 0
        place = Place(grid, kinds)
        names = class_tags(truth)
        operations = 0
        for pixels in place.examples(8, 4):
            self.studio.add_class(names[f"class_{place.truth[pixels[0]]}"])
            operations += 1
            for row, col in pixels:
                self.studio.click_pixel(grid, row, col)
                operations += 1
                self.studio.settle(operations)
        self.settled()
        self.page.get_by_text("right at places").first.wait_for(timeout=PATIENCE_MS)
        self.picture("label")

    def _truth(self) -> tuple[Path, Any]:
        import rasterio

        from tessera_core.grid import Grid

        truth = max((self.home / "cache" / "demo").glob("*/truth/*.tif"))
        with rasterio.open(truth) as file:
            return truth, Grid(file.crs.to_string(), file.transform, file.shape)

    def explore(self) -> None:
        """Picture and scatter, a pixel chosen."""
        self.open("/explore")
        scatter = self.page.get_by_role("radio", name="Scatter").or_(self.page.get_by_role("button", name="Scatter"))
        scatter.first.click(timeout=PATIENCE_MS)
        self.page.locator(".sc-box").wait_for(timeout=PATIENCE_MS)
        self.page.wait_for_timeout(8_000)
        self.settled()
        self.picture("explore")

    def continuous(self) -> None:
        """Example plots of a number, and their map."""
        self.open("/continuous")
        self.page.get_by_role("button", name="Try with example plots").first.click(timeout=PATIENCE_MS)
        self.page.get_by_text("Typically off by").first.wait_for(timeout=PATIENCE_MS)
        self.settled()
        self.picture("continuous")

    def validate(self) -> None:
        """A sample drawn by chance, the first places looked at."""
        self.open("/validate")
        self.studio.button("Choose the places by chance").click(timeout=PATIENCE_MS)
        self.page.get_by_role("button", name="Cannot tell").wait_for()
        for count, key in enumerate("121", start=1):
            self.page.keyboard.press(key)
            self.page.get_by_text(f"{count} of ").first.wait_for()
        self.settled()
        self.picture("validate")

    def compare(self) -> None:
        """Change between the two years."""
        self.open("/compare")
        self.page.get_by_text("Whole scene").wait_for(timeout=PATIENCE_MS)
        self.settled()
        self.picture("compare")

    def export(self) -> None:
        """Files, and how much of each class."""
        self.open("/export")
        self.settled()
        self.picture("export")

    def data(self) -> None:
        """What is kept on this computer."""
        self.open("/data")
        self.page.get_by_text("Loaded embeddings").wait_for()
        self.settled()
        self.picture("data")

    def chapters(self) -> list[Callable[[], None]]:
        """In the order of the work."""
        return [
            self.region,
            self.data,
            self.label,
            self.explore,
            self.continuous,
            self.validate,
            self.compare,
            self.export,
        ]


def main(wanted: set[str]) -> int:
    """Walk through the app; the exit code."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("No Chromium on this machine: the pictures stay as they are.")
        return 0
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder, "home")
        home.mkdir()
        # The region that people get, with both its years.
        make = "from tessera_core.project.library import make_demo; make_demo(lambda *_: None, lambda: False)"
        subprocess.run([sys.executable, "-c", make], env={**os.environ, "TESSERA_HOME": str(home)}, check=True)
        server = AppServer(ROOT, home, {"TESSERA_DEMO_SIZE": None})
        server.start()
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            context = browser.new_context(viewport=VIEW)
            context.request.get(f"{server.url}/?token={TOKEN}")
            studio = Studio(context.new_page(), server.url)
            tour = Tour(studio, home, wanted)
            for chapter in tour.chapters():
                chapter()
                if wanted and wanted <= tour.saved:
                    break
            browser.close()
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(set(sys.argv[1:])))
