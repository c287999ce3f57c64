"""``tessera bench click``: how long after a click on the label map its new class map is on the screen, in a real browser.

The app runs as people start it, with a project of a seeded synthetic scene; headless Chromium clicks. The time of a click
runs from the browser's own time stamp of the pointer event to the second animation frame after the new class map was
drawn, which is after the frame that shows it: event, web socket, label log on disk, fit, prediction of every pixel,
picture, transport, decoding and painting are all in it.

Each click is taken apart where it passes the web socket, so that one sees whether the browser or the server takes the time.

Clicks in quick succession are measured, and clicks with pauses as people make them: then the score, the next places and the
doubts are being worked out beside the map when the next click comes.

Beside it, in the same run: the same task on the same scene and labels through streamlit-folium with scikit-learn.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from tessera_core.bench import folium_peer
from tessera_core.bench.hot_path import machine
from tessera_core.errors import InputError, TesseraError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster

SIZES = (512, 1000)
# Larger scenes are one of this size again and again.
REPEATED = 1000
CLICKS = 30
QUICK_CLICKS, QUICK_GAP_MS = 20, 120
CLASSES = 6
SEED_LABELS = 60
WARM_UP = 5
# Milliseconds between a click and the next: at once; a pause in which nothing is asked yet; and one after which the work beside
# the map has begun. The second tells what the pause costs by itself: processors and caches that went to sleep.
AT_ONCE_MS, SHORT_PAUSE_MS, PAUSE_MS = 150, 550, 1100
# Of a click: the event until its message leaves the browser, until the first message of the answer is there, until the last, and
# until the map is on the screen.
PARTS = ("until_sent", "until_answered", "answer", "until_painted")

# Opens the app that a measurement starts.
TOKEN = secrets.token_urlsafe(24)

# Whether a place of the screen is bare map, not a tool, a card or the mark of a suggested place.
_BARE = "([x, y]) => !window.benchMap.getRootNode().elementFromPoint(x, y)?.closest('.tl-control')"
# When messages leave the browser and come in, for the parts of a click.
_LISTEN = """
  window.benchSent = [];
  window.benchCame = [];
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (...given) {
    window.benchSent.push(performance.now());
    if (!this.benchHeard) {
      this.benchHeard = true;
      this.addEventListener("message", () => window.benchCame.push(performance.now()));
    }
    return send.apply(this, given);
  };
"""
_FIND = """() => {
  const find = (root) => {
    for (const node of root.querySelectorAll("*")) {
      const map = node.shadowRoot?.querySelector('.tl-root[data-kind="map"]');
      if (map) return map;
    }
    return root.querySelector('.tl-root[data-kind="map"]');
  };
  const map = (window.benchMap = find(document));
  window.benchTimes = {};
  const pressed = [];
  window.addEventListener("pointerdown", (event) => pressed.push(event.timeStamp), true);
  let acked = Number(map.dataset.shownAck ?? 0);
  map.addEventListener("tl-shown", ({ detail }) => {
    for (; acked < detail.ack; acked++) {
      const from = pressed.shift();
      const sent = window.benchSent.find((at) => at >= from) ?? from;
      const came = window.benchCame.filter((at) => at > sent && at <= detail.at);
      const [first, last] = came.length ? [came[0], came[came.length - 1]] : [detail.at, detail.at];
      window.benchTimes[acked + 1] = [detail.at - from, sent - from, first - sent, last - first, detail.at - last];
    }
  });
}"""


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure both sizes, or those of ``--size``; with ``--quick`` the smaller one, and ten clicks.

    Raises:
        InputError: a size is no number of pixels.
    """
    quick = bool(getattr(args, "quick", False))
    told = getattr(args, "size", None)
    sizes = _sizes(told) if told else SIZES[:1] if quick else SIZES
    # The other way of doing it holds a scene as float32.
    return measure(sizes, 10 if quick else CLICKS, peer=not told)


def _sizes(told: str) -> tuple[int, ...]:
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in told.split(",")]
    if not all(64 <= size <= 20_000 for size in sizes):
        raise InputError(f"--size takes pixels a side, 64 to 20000, separated by commas; {told!r} is not that.")
    return tuple(sizes)


def synthetic_raster(size: int, seed: int = 0, dim: int = 128) -> tuple[EmbeddingRaster, np.ndarray]:
    """A smooth scene of :data:`CLASSES` kinds of ground: the raster and its classes, uint8 (size, size) from 1."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    field = np.stack([gaussian_filter(rng.normal(size=(size, size)), 14) for _ in range(CLASSES)], -1)
    share = np.exp(4 * field / field.std())
    share = (share / share.sum(-1, keepdims=True)).astype(np.float32)
    spectra = rng.normal(size=(CLASSES, dim)).astype(np.float32) * 40
    codes = np.empty((size, size, dim), np.int8)
    for start in range(0, size, 64):
        rows = slice(start, start + 64)
        noise = rng.normal(0, 4, (*share[rows].shape[:2], dim)).astype(np.float32)
        codes[rows] = np.clip(share[rows] @ spectra + noise, -127, 127)
    grid = Grid("EPSG:32631", Affine(10, 0, 700_000, 0, -10, 5_800_000), (size, size))
    provenance = Provenance(model="synthetic", dim=dim, year=2024, source="bench")
    raster = EmbeddingRaster(codes, np.full((size, size), 0.01, np.float32), grid, provenance)
    return raster, share.argmax(-1).astype(np.uint8) + 1


def large_raster(folder: Path, size: int, seed: int = 0) -> tuple[EmbeddingRaster, np.ndarray]:
    """:func:`synthetic_raster` repeated to any size, its codes in a file of ``folder``."""
    if size <= REPEATED:
        return synthetic_raster(size, seed)
    one, truth = synthetic_raster(REPEATED, seed)
    codes = np.lib.format.open_memmap(folder / f"codes-{size}.npy", "w+", np.int8, (size, size, one.dim))
    for row in range(0, size, REPEATED):
        for col in range(0, size, REPEATED):
            height, width = min(REPEATED, size - row), min(REPEATED, size - col)
            codes[row : row + height, col : col + width] = one.codes[:height, :width]
    grid = Grid(one.grid.crs, one.grid.transform, (size, size))
    times = -(-size // REPEATED)
    raster = EmbeddingRaster(codes, np.full((size, size), 0.01, np.float32), grid, one.provenance)
    return raster, np.tile(truth, (times, times))[:size, :size]


def measure(
    sizes: tuple[int, ...] = SIZES,
    clicks: int = CLICKS,
    seed: int = 0,
    chromium: str | None = None,
    peer: bool = True,
) -> dict[str, Any]:
    """Milliseconds from click to pixels for each scene size, and how many of 20 quick clicks were kept.

    Beside it the server's memory when all is done: what it cannot give back, and with what it maps from files.

    Where streamlit-folium is installed it is measured beside ours: its median is ``streamlit_folium_ms`` and
    ``ratio_streamlit_folium`` says how many times longer it takes.

    Raises:
        TesseraError: Playwright or Chromium is missing, or the app does not start.
    """
    results: dict[str, Any] = {"bench": "click", "machine": machine(), "unit": "milliseconds", "sizes": {}}
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as home:
        truths = {size: _make_project(Path(home), size, seed) for size in sizes}
        with _server(Path(home)) as (url, pid), _browser(chromium) as browser:
            for size in sizes:
                found = _measure_one(
                    browser, f"{url}/label?project=bench-{size}&token={TOKEN}", truths[size], clicks, seed
                )
                found |= server_memory(pid)
                found |= {"load": round(os.getloadavg()[0], 1)} if hasattr(os, "getloadavg") else {}
                found |= {} if not peer else _measure_peer(browser, Path(home), size, truths[size], clicks, seed)
                if "streamlit_folium_ms" in found:
                    found["ratio_streamlit_folium"] = round(found["streamlit_folium_ms"] / found["median_ms"], 2)
                results["sizes"][str(size)] = found
    return results


def server_memory(pid: int) -> dict[str, int]:
    """Megabytes of a process, where the system tells: anonymous, mapped from files, and the most of both so far."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text("ascii").splitlines() if status.exists() else []
    kilobytes = {
        name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if "kB" in value
    }
    wanted = {"server_anonymous_mb": "RssAnon", "server_mapped_mb": "RssFile", "server_most_mb": "VmHWM"}
    return {key: kilobytes[name] // 1024 for key, name in wanted.items() if name in kilobytes}


def _make_project(home: Path, size: int, seed: int) -> np.ndarray:
    from tessera_core.labels.colors import next_color
    from tessera_core.labels.model import Label, LabelClass
    from tessera_core.project.project import Project

    raster, truth = large_raster(home, size, seed)
    folder = raster.save(home / "rasters" / str(size))
    (home / f"codes-{size}.npy").unlink(missing_ok=True)
    project = Project.create(home / "projects" / f"bench-{size}", f"Bench {size}")
    project.attach_embeddings(2024, folder, raster.provenance, raster.grid)
    classes: list[LabelClass] = []
    for number in range(1, CLASSES + 1):
        classes.append(LabelClass(number, f"Class {number}", next_color(classes, number)))
    rows, cols = _seed_places(size, seed)
    x, y = raster.grid.pixel_to_xy(rows + 0.5, cols + 0.5)
    labels = [
        Label(f"seed-{n}", int(truth[rows[n], cols[n]]), "point", ((float(x[n]), float(y[n])),))
        for n in range(SEED_LABELS)
    ]
    project.log.import_labels(classes, labels)
    return truth


def _seed_places(size: int, seed: int) -> np.ndarray:
    """Rows and columns of the labels that are there before the first click, (2, SEED_LABELS)."""
    return np.random.default_rng(seed).integers(0, size, (2, SEED_LABELS))


@contextmanager
def _server(home: Path, peer: list[str] | None = None) -> Iterator[tuple[str, int]]:
    """The app on a free port, or the Streamlit script that ``peer`` starts; its address and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://localhost:{port}"
    command = [sys.executable, "-m", "tessera_core", "app", "--headless", "--port", str(port)]
    environment = os.environ | {"TESSERA_HOME": str(home), "TESSERA_TOKEN": TOKEN}
    if peer is not None:
        command, environment = peer, environment | {"STREAMLIT_SERVER_PORT": str(port)}
    logged = home / ("server.log" if peer is None else "peer.log")
    with open(logged, "wb") as log:
        # A peer runs where the settings of our app are not found.
        where = None if peer is None else home
        process = subprocess.Popen(command, cwd=where, env=environment, stdout=log, stderr=log)
        try:
            for _ in range(300):
                try:
                    with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                        if answer.read() == b"ok":
                            break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.2)
            else:
                raise TesseraError(f"The app did not start: {logged.read_text(encoding='utf-8')[-500:]}")
            yield url, process.pid
        finally:
            process.kill()
            process.wait()


@contextmanager
def _browser(chromium: str | None) -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise TesseraError(
            "The browser measurement needs Playwright: install the extra 'test' and try again."
        ) from error
    path = chromium or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise TesseraError("The browser measurement needs Chromium on the search path; install it and try again.")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def _measure_one(browser: Any, url: str, truth: np.ndarray, clicks: int, seed: int) -> dict[str, Any]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(_LISTEN)
    try:
        page.goto(url, timeout=120_000)
        page.wait_for_selector(".tl-root[data-shown] canvas.leaflet-image-layer", timeout=300_000)
        # Until the server's background warm-up (heavy imports, frozen garbage collection) is over.
        page.wait_for_timeout(8_000)
        page.evaluate(_FIND)
        box = page.locator(".tl-map").bounding_box()
        rng = np.random.default_rng(seed + 1)
        _click_through(page, box, rng, 0, [AT_ONCE_MS] * WARM_UP)
        times = _click_through(page, box, rng, WARM_UP, [AT_ONCE_MS] * clicks)
        # In turns, so that whatever else the machine does meets both.
        pauses = [SHORT_PAUSE_MS, PAUSE_MS] * clicks + [AT_ONCE_MS]
        rested = _click_through(page, box, rng, WARM_UP + clicks, pauses)
        before = WARM_UP + 3 * clicks + 1
        started = time.monotonic()
        for _ in range(QUICK_CLICKS):
            page.mouse.click(*_bare_place(page, box, rng))
            page.wait_for_timeout(QUICK_GAP_MS)
        page.wait_for_function(
            f"() => Number(window.benchMap.dataset.shownAck) >= {before + QUICK_CLICKS}", timeout=60_000
        )
        settled = time.monotonic() - started
        counts = page.locator(".tl-count").all_inner_texts()
        kept = sum(int(text) for text in counts) - SEED_LABELS - before
    finally:
        page.close()
    return {
        "pixels": int(truth.size),
        "clicks": clicks,
        **_parted(times),
        "with_short_pauses": _parted(rested[1::2]),
        "with_pauses": _parted(rested[2::2]),
        "quick_clicks": QUICK_CLICKS,
        "quick_clicks_kept": kept,
        "quick_clicks_settled_s": round(settled, 2),
    }


def _measure_peer(browser: Any, home: Path, size: int, truth: np.ndarray, clicks: int, seed: int) -> dict[str, Any]:
    """The same clicks through streamlit-folium, or why there are none."""
    if not folium_peer.installed():
        return {"streamlit_folium": folium_peer.MISSING}
    rows, cols = _seed_places(size, seed)
    labels = [(int(r), int(c), int(truth[r, c])) for r, c in zip(rows, cols, strict=True)]
    rng = np.random.default_rng(seed + 1)
    start = folium_peer.command(home / "rasters" / str(size), labels, home)
    try:
        with _server(home, start) as (url, _), folium_peer.open_page(browser, url) as (page, frame):
            folium_peer.click_through(page, frame, rng, WARM_UP, AT_ONCE_MS)
            times = folium_peer.click_through(page, frame, rng, clicks, AT_ONCE_MS)
            kept = folium_peer.kept_of_quick_clicks(page, rng, QUICK_CLICKS, QUICK_GAP_MS)
    except TesseraError as error:
        return {"streamlit_folium": str(error)}
    summary = _summary(times)
    return {
        "streamlit_folium_ms": summary["median_ms"],
        "streamlit_folium": summary | {"quick_clicks_kept": kept, "head": "LogisticRegression", "clicks": clicks},
    }


def _click_through(
    page: Any, box: Any, rng: np.random.Generator, done: int, pauses: Sequence[int]
) -> list[list[float]]:
    """Click places and wait for each map, then for a pause of so many milliseconds; ``done`` clicks came before.

    Of each the milliseconds from the event to the map on the screen, and their :data:`PARTS`.
    """
    times = []
    for number, pause in enumerate(pauses, done + 1):
        page.keyboard.press(str(1 + number % CLASSES))
        page.mouse.click(*_bare_place(page, box, rng))
        page.wait_for_function(f"() => window.benchTimes[{number}] !== undefined", timeout=60_000)
        times.append(page.evaluate(f"() => window.benchTimes[{number}]"))
        page.wait_for_timeout(pause)
    return times


def _bare_place(page: Any, box: Any, rng: np.random.Generator) -> tuple[float, float]:
    """A random place in the middle of the map, clear of everything that lies on it."""
    while True:
        x = box["x"] + rng.uniform(0.32, 0.68) * box["width"]
        y = box["y"] + rng.uniform(0.15, 0.85) * box["height"]
        if page.evaluate(_BARE, [x, y]):
            return x, y


def _parted(clicks: list[list[float]]) -> dict[str, Any]:
    """Summary of clicks, and the median of each part."""
    parts = {name: round(statistics.median(click[n] for click in clicks), 1) for n, name in enumerate(PARTS, 1)}
    return _summary([click[0] for click in clicks]) | {"parts_ms": parts}


def _summary(times: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(statistics.median(times), 1),
        "p90_ms": round(float(np.percentile(times, 90)), 1),
        "min_ms": round(min(times), 1),
        "max_ms": round(max(times), 1),
    }
