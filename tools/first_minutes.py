"""The first minutes as a newcomer has them, measured: seconds and clicks from the command to the first map.

Usage: .venv/bin/python tools/first_minutes.py [--runs 3] [--screen 1440x900] [--pictures FOLDER]
Starts the app with an empty home each time, drives Chromium, prints a Markdown table of medians; needs a quiet machine to mean
anything. With --pictures what is on the screen at each step is kept, to be looked at.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.servers import TOKEN, AppServer  # noqa: E402

# What is asked for, by what is measured; None where nobody set a figure.
WANTED = {
    "from the command to the first page": None,
    "from the click to the photograph of the place": 3.0,
    "from the click to the map to label on": None,
    "from the click to the first label": 10.0,
    "from the second class's label to the first class map": None,
    "from the command to the first class map": 60.0,
    # On a server that runs already; the browser has seen the Studio before it opens a project's map by its address.
    "warm: from the address to the first page, in a new browser": 1.5,
    "warm: from a project's address to the map to label on": 2.5,
}
_PATIENCE = 180_000
_SETTLE_SECONDS = 20
# Both maps may be on the page: what is drawn says so in its own data.
_ACKNOWLEDGED = """n => [...document.querySelectorAll("*")].some((host) => {
  const root = (host.shadowRoot ?? host).querySelector?.(".tl-root[data-kind=map]");
  return root && Number(root.dataset.shownAck ?? 0) >= n;
})"""


class Minutes:
    """One newcomer: clicks are counted, seconds noted."""

    def __init__(self, page: Any, started: float, pictures: Path | None, address: str) -> None:
        self.page, self.started, self.pictures, self.address = page, started, pictures, address
        self.clicks = 0
        self.typed = 0
        self.seconds: dict[str, float] = {}
        self._shown = 0

    def click(self, what: Any, **where: Any) -> float:
        """Click; when."""
        self.clicks += 1
        what.wait_for()
        at = time.perf_counter()
        what.click(**where)
        return at

    def note(self, what: str, since: float) -> None:
        """Note the seconds since a moment."""
        self.seconds[what] = time.perf_counter() - since
        self.look(what)

    def look(self, what: str) -> None:
        """Keep what is on the screen, where that is wanted."""
        if self.pictures is not None:
            self._shown += 1
            name = re.sub(r"\W+", "-", what)
            self.page.screenshot(path=self.pictures / f"{self._shown:02d}-{name}.png")

    def name(self, name: str) -> None:
        """Type a class."""
        self.page.get_by_placeholder("New class").fill(name)
        self.page.get_by_placeholder("New class").press("Enter")
        self.typed += 1
        self.page.locator(".tl-row.tl-chosen").filter(has_text=name).wait_for()

    def run(self) -> None:
        """From the first page to the first class map."""
        page = self.page
        demo = page.get_by_role("button", name="Open the demo region")
        demo.wait_for()
        self.note("from the command to the first page", self.started)
        clicked = self.click(demo)
        start = page.get_by_role("button", name=re.compile("(Start|Go on) labelling"))
        page.locator("img[alt^='True colour']").wait_for()
        page.wait_for_function("() => document.querySelector(\"img[alt^='True colour']\")?.complete")
        self.note("from the click to the photograph of the place", clicked)
        start.wait_for()
        self.click(start)
        page.locator(".leaflet-truecolour-pane canvas").wait_for()
        ground = page.locator(".tl-map")
        ground.wait_for()
        self.note("from the click to the map to label on", clicked)
        self.name("Wood")
        box = ground.bounding_box()
        assert box is not None

        def at(x: float, y: float) -> dict[str, Any]:
            return {"position": {"x": x * box["width"], "y": y * box["height"]}}

        self.click(ground, **at(0.4, 0.4))
        page.wait_for_function(_ACKNOWLEDGED, arg=2)
        self.note("from the click to the first label", clicked)
        self.name("Field")
        second = self.click(ground, **at(0.6, 0.6))
        page.locator(".leaflet-classes-pane canvas").wait_for()
        self.note("from the second class's label to the first class map", second)
        self.seconds["from the command to the first class map"] = time.perf_counter() - self.started

    def come_back(self, url: str) -> None:
        """The first page and a project's map on the server that runs already, in a browser of somebody else's."""
        project = self.page.url
        browser = self.page.context.browser
        # Whoever labels goes away first, and the server does what it put off until nobody waits.
        self.page.goto("about:blank")
        time.sleep(_SETTLE_SECONDS)
        page = browser.new_context(viewport=self.page.viewport_size).new_page()
        page.set_default_timeout(_PATIENCE)
        since = time.perf_counter()
        page.goto(url)
        page.get_by_role("button", name="Open the demo region").wait_for()
        self.note("warm: from the address to the first page, in a new browser", since)
        since = time.perf_counter()
        page.goto(project)
        page.locator(".leaflet-truecolour-pane canvas").wait_for()
        self.note("warm: from a project's address to the map to label on", since)
        page.context.close()


@contextmanager
def newcomer(playwright: Any, screen: str, pictures: Path | None) -> Iterator[Minutes]:
    """The app, started with an empty home, and a browser that was never there."""
    width, height = (int(side) for side in screen.split("x"))
    with tempfile.TemporaryDirectory(prefix="first-minutes-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        # As large as it comes: the tests' server has a smaller demo region.
        server = AppServer(ROOT, home, {"TESSERA_DEMO_SIZE": None})
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 600)
        page = context.new_page()
        page.set_default_timeout(_PATIENCE)
        started = time.perf_counter()
        server.start()
        try:
            address = f"{server.url}/?token={TOKEN}"
            page.goto(address)
            yield Minutes(page, started, pictures, address)
        finally:
            browser.close()
            server.stop()


def main() -> int:
    """Measure and print."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--screen", default="1440x900")
    parser.add_argument("--pictures", type=Path)
    wanted = parser.parse_args()
    if wanted.pictures is not None:
        wanted.pictures.mkdir(parents=True, exist_ok=True)
    runs = []
    with sync_playwright() as playwright:
        for _ in range(wanted.runs):
            with newcomer(playwright, wanted.screen, wanted.pictures) as minutes:
                minutes.run()
                minutes.come_back(minutes.address)
                runs.append(minutes)
    print(f"| {wanted.screen}, {wanted.runs} runs from an empty home | seconds (median) | least | most | wanted |")
    print("|---|---|---|---|---|")
    for what, limit in WANTED.items():
        seconds = [run.seconds[what] for run in runs]
        least, most = min(seconds), max(seconds)
        print(
            f"| {what} | {statistics.median(seconds):.1f} | {least:.1f} | {most:.1f} | {'' if limit is None else limit} |"
        )
    print(f"\nTo the first class map: {runs[0].clicks} clicks and {runs[0].typed} names typed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
