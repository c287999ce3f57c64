"""``tessera bench brush``: linked brushing on the page Explore in a real browser, milliseconds from the pointer's release.

A lasso around points of the scatter until the map shows their pixels, and a box on the map until the scatter shows its points:
up to the second frame after drawing, when the first is on the screen. Beside them, how long until the server's own sentence
about the selection stands on the page, which is what a chart that asks the server for every highlight would take at least.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.bench.click import TOKEN, _browser, _make_project, _server
from tessera_core.bench.hot_path import machine

SIZE, QUICK_SIZE = 512, 160
REPEATS, QUICK_REPEATS = 15, 5
WARM_UP = 3
PATIENCE_MS = 120_000

_WATCH = """() => {
  const find = (kind) => {
    for (const host of document.querySelectorAll("*")) {
      const root = (host.shadowRoot ?? host).querySelector?.(`.tl-root[data-kind=${kind}]`);
      if (root) return root;
    }
  };
  const [map, cloud] = [find("map"), find("scatter")];
  const note = (name) => (window.brush[name] ??= performance.now() - window.brush.start);
  const after = (name) => () => requestAnimationFrame(() => requestAnimationFrame(() => note(name)));
  window.brush = {};
  addEventListener("pointerup", (event) => (window.brush = { start: event.timeStamp }), true);
  map.addEventListener("tv-highlight", (event) => event.detail.what === "selected" && after("map")());
  cloud.addEventListener("sc-drawn", after("scatter"));
  const told = () => {
    const count = Number(cloud.dataset.selected);
    const text = `${count.toLocaleString("en")} of`;
    if (window.brush.start && count && document.body.innerText.includes(text)) note("server");
    requestAnimationFrame(told);
  };
  told();
}"""


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure with 20,000 points, or fewer and fewer times with ``--quick``."""
    quick = bool(getattr(args, "quick", False))
    return measure(QUICK_SIZE if quick else SIZE, QUICK_REPEATS if quick else REPEATS, getattr(args, "chromium", None))


def measure(size: int = SIZE, repeats: int = REPEATS, chromium: str | None = None, seed: int = 0) -> dict[str, Any]:
    """Milliseconds of both directions.

    Args:
        size: pixels along each side of the scene; 20,000 of them are in the scatter where it has so many.

    Raises:
        TesseraError: Playwright or Chromium is missing, or the app does not start.
    """
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as home:
        _make_project(Path(home), size, seed)
        with _server(Path(home)) as (url, _), _browser(chromium) as browser:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"{url}/explore?project=bench-{size}&token={TOKEN}")
            page.get_by_role("radio", name="Scatter").or_(page.get_by_role("button", name="Scatter")).first.click()
            page.wait_for_selector("[data-kind=scatter][data-drawn]")
            # Until the server's background warm-up (heavy imports, frozen garbage collection) is over.
            page.wait_for_timeout(8_000)
            page.evaluate(_WATCH)
            points = int(page.locator("[data-kind=scatter]").first.get_attribute("data-points"))
            lasso = _brush(page, ".sc-box", "map", repeats, seed)
            page.locator(".tv-map [data-tool=box]").click()
            box = _brush(page, ".tv-map", "scatter", repeats, seed)
    return {
        "bench": "brush",
        "machine": machine(),
        "unit": "milliseconds from releasing the pointer",
        "points": points,
        "lasso_to_map": lasso,
        "map_to_scatter": box,
    }


def _brush(page: Any, where: str, answer: str, repeats: int, seed: int) -> dict[str, Any]:
    """Draw ``repeats`` shapes on one view and wait for the other."""
    box = page.locator(where).bounding_box()
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"shown": [], "server": []}
    selected = []
    for number in range(WARM_UP + repeats):
        x, y = rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.5)
        side = rng.uniform(0.12, 0.3)
        corners = [(x, y), (x + side, y), (x + side, y + side)] + ([(x, y + side)] if where == ".sc-box" else [])
        at = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in corners]
        if where != ".sc-box":
            at = [at[0], at[2]]
        page.mouse.move(*at[0])
        page.mouse.down()
        for place in at[1:]:
            page.mouse.move(*place, steps=6)
        page.mouse.up()
        page.wait_for_function(f"() => window.brush.{answer} !== undefined && window.brush.server !== undefined")
        if number >= WARM_UP:
            times = page.evaluate("() => window.brush")
            found["shown"].append(times[answer])
            found["server"].append(times["server"])
            selected.append(int(page.locator("[data-kind=scatter]").first.get_attribute("data-selected")))
        time.sleep(0.3)
    return {
        "repeats": repeats,
        "selected_median": round(statistics.median(selected)),
        "median_ms": round(statistics.median(found["shown"]), 1),
        "p90_ms": round(float(np.percentile(found["shown"], 90)), 1),
        "max_ms": round(max(found["shown"]), 1),
        "server_median_ms": round(statistics.median(found["server"]), 1),
    }
