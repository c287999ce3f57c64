"""The same task as ``tessera bench click`` through streamlit-folium with scikit-learn, in the same browser and run.

A click adds a label; logistic regression is fitted anew, every pixel predicted, the picture drawn again. The time runs from
the browser's own time stamp of the pointer event to the second animation frame after the new picture was decoded.

folium loads Leaflet and other scripts from the internet; here the browser gets Leaflet from the wheel XStatic-Leaflet, and
nothing in place of the others (jQuery, Bootstrap, icons), which a map with a picture never calls.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.errors import TesseraError

NEEDED = ("folium", "streamlit_folium")
MISSING = "Not measured: streamlit-folium is not installed here; install the extra 'bench' and run it again."
PATIENCE_MS = 90_000
# Milliseconds after the last quick click until every answer has come.
SETTLED_MS = 5_000

_WATCH = """() => {
  window.benchTimes = [];
  let pressed = null;
  window.addEventListener("pointerdown", (event) => (pressed ??= event.timeStamp), true);
  const drawn = async (image) => {
    await image.decode();
    requestAnimationFrame(() => requestAnimationFrame(() => {
      if (pressed === null) return;
      window.benchTimes.push(performance.now() - pressed);
      pressed = null;
    }));
  };
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes)
      for (const node of addedNodes) if (node.matches?.("img.leaflet-image-layer")) drawn(node);
  }).observe(document.body, { childList: true, subtree: true });
}"""


def installed() -> bool:
    """Whether the peer can be measured here."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def command(raster: Path, labels: list[tuple[int, int, int]], home: Path) -> list[str]:
    """How to start the peer's server, but for its port.

    Args:
        raster: folder of the scene.
        labels: ``(row, col, class)`` that are there before the first click; classes from 1.
        home: a folder to write to.
    """
    from tessera_core.labels.colors import distinct_colors

    palette = [0, 0, 0]
    for color in distinct_colors(19):
        palette += [int(color[n : n + 2], 16) for n in (1, 3, 5)]
    told = home / "folium.json"
    told.write_text(json.dumps({"labels": labels, "palette": palette}), encoding="utf-8")
    app = Path(__file__).parents[2] / "benchmarks" / "folium_peer_app.py"
    # As people start it; the app's own settings of Streamlit do not apply.
    options = ["--server.headless", "true", "--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"]
    return [sys.executable, "-m", "streamlit", "run", str(app), *options, "--", str(raster), str(told)]


@contextmanager
def open_page(browser: Any, url: str) -> Iterator[tuple[Any, Any]]:
    """The peer's page and its map's frame, with the picture on the screen.

    Raises:
        TesseraError: the map does not appear.
    """
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    try:
        page.route(lambda address: not address.startswith((url, "data:", "blob:")), _serve)
        page.goto(url)
        frame = page.frame_locator('iframe[title="streamlit_folium.st_folium"]')
        try:
            frame.locator("img.leaflet-image-layer").wait_for(timeout=PATIENCE_MS)
        except Exception as error:
            raise TesseraError("The map of streamlit-folium did not appear, so it was not measured.") from error
        page.wait_for_timeout(5_000)
        inside = next(f for f in page.frames if "streamlit_folium" in f.url)
        inside.evaluate(_WATCH)
        yield page, inside
    finally:
        page.close()


def click_through(page: Any, frame: Any, rng: np.random.Generator, clicks: int, gap_ms: int) -> list[float]:
    """Click ``clicks`` places and wait for each picture. Milliseconds."""
    times: list[float] = []
    for _ in range(clicks):
        before = frame.evaluate("() => window.benchTimes.length")
        page.mouse.click(*_place(page, rng))
        frame.wait_for_function("(n) => window.benchTimes.length > n", arg=before, timeout=PATIENCE_MS)
        times.append(frame.evaluate("() => window.benchTimes.at(-1)"))
        page.wait_for_timeout(gap_ms)
    return times


def kept_of_quick_clicks(page: Any, rng: np.random.Generator, clicks: int, gap_ms: int) -> int:
    """How many of ``clicks`` clicks in quick succession became labels."""
    before = _counted(page)
    for _ in range(clicks):
        page.mouse.click(*_place(page, rng))
        page.wait_for_timeout(gap_ms)
    page.wait_for_timeout(SETTLED_MS)
    return _counted(page) - before


def _counted(page: Any) -> int:
    return int(page.get_by_text(" clicks · ").inner_text().split()[0])


def _place(page: Any, rng: np.random.Generator) -> tuple[float, float]:
    box = page.locator('iframe[title="streamlit_folium.st_folium"]').bounding_box()
    # The scene is a square in the middle.
    side = min(box["width"], box["height"])
    x = box["x"] + box["width"] / 2 + rng.uniform(-0.3, 0.3) * side
    return x, box["y"] + box["height"] / 2 + rng.uniform(-0.3, 0.3) * side


def _serve(route: Any) -> None:
    """Leaflet's files from the wheel; nothing for the others."""
    import xstatic.pkg.leaflet as leaflet

    name = route.request.url.split("?")[0].rpartition("/")[2]
    kind = "text/css" if name.endswith(".css") else "text/javascript"
    body = (Path(leaflet.BASE_DIR) / name).read_bytes() if name in ("leaflet.js", "leaflet.css") else b""
    route.fulfill(status=200, content_type=kind, body=body, headers={"Access-Control-Allow-Origin": "*"})
