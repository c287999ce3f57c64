"""``tessera bench memory``: how much memory the running app takes while people explore and compare a large region.

A server of its own, as people start it, with a synthetic region of two years and then of five; Chromium visits every part of the
pages Explore and Compare, once and again as a second person, then four tabs at once, then leaves. The server's memory is read
four times a second: ``uss`` is all that belongs to it alone (psutil), mapped embeddings among it, which the system takes back as it
likes; ``private`` is the part that it cannot take back, what programs call their own.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.bench.click import TOKEN, _browser, _server, synthetic_raster
from tessera_core.bench.hot_path import machine
from tessera_core.errors import TesseraError

SIZE, QUICK_SIZE = 1500, 200
YEARS = (2, 5)
LAST = 2024
VISITORS = 4
LABELS = 60
PERIOD_S = 0.25
REST_S = 5.0
PATIENCE_MS = 600_000
MB = 1 << 20


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure a region of 1500 x 1500 pixels, or with ``--quick`` a small one."""
    return measure(QUICK_SIZE if getattr(args, "quick", False) else SIZE)


def measure(
    size: int = SIZE, years: Sequence[int] = YEARS, seed: int = 0, chromium: str | None = None
) -> dict[str, Any]:
    """Memory of a server (MB) before, during and after each part of both pages, for regions of so many years.

    Args:
        size: pixels along each side.
        years: how many years each region has, one server for each.

    Raises:
        TesseraError: psutil, Playwright or Chromium is missing, or the app does not start.
    """
    result: dict[str, Any] = {"bench": "memory", "machine": machine(), "unit": "MB", "pixels": size * size, "years": {}}
    for count in years:
        with tempfile.TemporaryDirectory(prefix="tessera-bench-") as home:
            dim = make_region(Path(home), size, count, seed)
            with _server(Path(home)) as (url, _), _browser(chromium) as browser, _watched() as memory:
                found = _visit(browser, url, memory)
        found["embeddings_int8"] = round(count * size * size * (dim + 4) / MB)
        found["one_year_in_float32"] = round(size * size * dim * 4 / MB)
        result["years"][str(count)] = found
    return result


def make_region(home: Path, size: int, years: int, seed: int) -> int:
    """Write a project ``bench`` of so many years with labels: every year has its own noise and some changed patches.

    Returns:
        Numbers a pixel.
    """
    from tessera_core.labels.colors import next_color
    from tessera_core.labels.model import Label, LabelClass
    from tessera_core.project.project import Project

    raster, truth = synthetic_raster(size, seed)
    rng = np.random.default_rng(seed)
    project = Project.create(home / "projects" / "bench", "Bench")
    codes = np.array(raster.codes)
    vectors = codes.reshape(-1, raster.dim)[:: max(1, size * size // 5000)]
    for year in range(LAST - years + 1, LAST + 1):
        for start in range(0, size, 50):
            part = codes[start : start + 50]
            part[:] = np.clip(part + rng.integers(-5, 6, part.shape, dtype=np.int8).astype(np.int16), -127, 127)
        side = max(4, size // 50)
        for row, col in rng.integers(0, size - side, (60, 2)):
            codes[row : row + side, col : col + side] = vectors[rng.integers(len(vectors))]
        made = replace(raster, codes=codes.copy(), provenance=replace(raster.provenance, year=year))
        project.attach_embeddings(year, made.save(home / "rasters" / str(year)), made.provenance, made.grid)
    classes: list[LabelClass] = []
    for number in range(1, int(truth.max()) + 1):
        classes.append(LabelClass(number, f"Class {number}", next_color(classes, number)))
    rows, cols = rng.integers(0, size, (2, LABELS))
    x, y = raster.grid.pixel_to_xy(rows + 0.5, cols + 0.5)
    places = zip(rows.tolist(), cols.tolist(), x.tolist(), y.tolist(), strict=True)
    project.log.import_labels(
        classes, [Label(f"seed-{n}", int(truth[r, c]), "point", ((px, py),)) for n, (r, c, px, py) in enumerate(places)]
    )
    return raster.dim


# ------------------------------------------------------------------ what the server holds


class Memory:
    """The server's memory, read by a thread of its own."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._peak = {"uss": 0, "private": 0}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self) -> dict[str, int]:
        """Bytes at this moment."""
        full = self._process.memory_full_info()
        # What is resident and shared with files is mapped: the system drops it when it needs the room.
        private = full.rss - getattr(full, "shared", full.rss - full.uss)
        found = {"uss": int(full.uss), "private": int(private)}
        with self._lock:
            for name, value in found.items():
                self._peak[name] = max(self._peak[name], value)
        return found

    def peak(self) -> dict[str, int]:
        """The most since the last call, in bytes."""
        self.now()
        with self._lock:
            found, self._peak = self._peak, {"uss": 0, "private": 0}
        return found

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(PERIOD_S):
            self.now()


@contextmanager
def _watched() -> Iterator[Memory]:
    """The memory of the server that this process has just started."""
    try:
        import psutil
    except ImportError as error:
        raise TesseraError(
            "The measurement of memory needs psutil: install the extra 'bench' and try again."
        ) from error
    servers = [child for child in psutil.Process().children() if "tessera_core" in child.cmdline()]
    if not servers:
        raise TesseraError("The app that was started cannot be found among the processes; try again.")
    memory = Memory(servers[-1])
    try:
        yield memory
    finally:
        memory.stop()


# ------------------------------------------------------------------ the visit


def _visit(browser: Any, url: str, memory: Memory) -> dict[str, Any]:
    page = _page(browser, url)
    page.goto(f"{url}/region")
    page.get_by_test_id("stMainBlockContainer").wait_for()
    # Until the server's background warm-up (heavy imports, frozen garbage collection) is over.
    page.wait_for_timeout(8_000)
    memory.peak()
    idle = memory.now()
    stages: list[dict[str, Any]] = []
    most = dict(idle)

    def stage(name: str, work: Callable[[], object]) -> None:
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        time.sleep(1)
        peak, end = memory.peak(), memory.now()
        for key, value in peak.items():
            most[key] = max(most[key], value)
        stages.append({"part": name, "seconds": round(seconds, 1), "peak": _mb(peak), "end": _mb(end)})

    for name, work in _tour(page, url, 0.5):
        stage(name, work)
    page.context.close()
    page = _page(browser, url)
    second = _tour(page, url, 0.37)
    stage("all of it again, as another person", lambda: [work() for _, work in second])
    page.context.close()
    tabs = [_page(browser, url) for _ in range(VISITORS)]
    stage(f"{VISITORS} tabs at once", lambda: [work() for tab in tabs for _, work in _tour(tab, url, 0.45)[:2]])
    for tab in tabs:
        tab.context.close()
    page = _page(browser, url)
    page.goto(f"{url}/region")
    page.get_by_test_id("stMainBlockContainer").wait_for()
    time.sleep(REST_S)
    after = memory.now()
    page.context.close()
    return {"idle": _mb(idle), "peak": _mb(most), "after": _mb(after), "parts": stages}


def _page(browser: Any, url: str) -> Any:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.request.get(f"{url}/?token={TOKEN}")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    return page


def _mb(found: dict[str, int]) -> dict[str, int]:
    return {name: round(value / MB) for name, value in found.items()}


def _tour(page: Any, url: str, at: float) -> list[tuple[str, Callable[[], object]]]:
    """The parts of both pages in the order people take; ``at`` is where they click, as a share of the map."""

    def choose(name: str) -> None:
        page.get_by_role("radio", name=name, exact=True).or_(
            page.get_by_role("button", name=name, exact=True)
        ).first.click()

    def drawn(layer: str) -> None:
        page.wait_for_selector(f".tl-root[data-kind=map][data-layer{layer}]")

    def click() -> None:
        box = page.locator(".tv-map").first.bounding_box()
        page.mouse.click(box["x"] + at * box["width"], box["y"] + at * box["height"])

    def picture() -> None:
        page.goto(f"{url}/explore?project=bench")
        drawn(f"pca{LAST}")

    def scatter() -> None:
        choose("Scatter")
        page.wait_for_selector("[data-kind=scatter][data-drawn]")

    def umap() -> None:
        choose("UMAP")
        offer = page.get_by_role("button", name="Lay out 20,000 pixels")
        ready = page.get_by_text("UMAP 1 · UMAP 2")
        offer.or_(ready).first.wait_for()
        if offer.count():
            offer.click()
        ready.wait_for()

    def coloured() -> None:
        page.get_by_label("Layers and comparison").click()
        page.locator("[data-layer=umap] input").first.check()
        drawn("umap")
        page.get_by_label("Close the layers").click()

    def similar() -> None:
        choose("Alike")
        page.get_by_text("Click a place on the map").wait_for()
        click()
        drawn("similarity")

    def groups() -> None:
        choose("Groups")
        drawn("groups")

    def pixel() -> None:
        choose("Pixel")
        page.get_by_text("Click a place on the map").wait_for()
        click()
        page.get_by_text("Most alike elsewhere").wait_for()

    def change() -> None:
        page.goto(f"{url}/compare?project=bench")
        years = page.get_by_test_id("stButtonGroup").filter(has_text=str(LAST - 2))
        page.get_by_text("Compared once").wait_for()
        # Where there are more than two years, all of them.
        for year in range(LAST - 4, LAST - 1):
            one = years.get_by_role("button", name=str(year), exact=True)
            if one.count():
                one.first.click()
                page.wait_for_timeout(1500)
        page.get_by_text("Compared once").wait_for()

    def classes() -> None:
        page.get_by_text("Class to class", exact=True).click()
        page.get_by_text("What became what").first.wait_for()
        page.get_by_text("Timelapse", exact=True).first.click()
        page.get_by_text("Download the timelapse").wait_for()

    def labels() -> None:
        page.get_by_text("Labels in other years", exact=True).click()
        page.get_by_text("Drift: how far").wait_for()

    return [
        ("Explore: picture, colours shared by the years", picture),
        ("Explore: scatter", scatter),
        ("Explore: UMAP of 20,000 pixels", umap),
        ("Explore: the region in UMAP colours", coloured),
        ("Explore: alike, all years", similar),
        ("Explore: groups, all years", groups),
        ("Explore: a pixel's story", pixel),
        ("Compare: change", change),
        ("Compare: class to class, timelapse", classes),
        ("Compare: labels in other years", labels),
    ]
