"""A browser page on the label map of one project: its mouse, its canvases, and what they should show."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tessera_core.bench.click import synthetic_raster
from tessera_core.heads import predict_raster
from tessera_core.labels.log import LabelLog
from tessera_core.project.classify import fit_labels
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tessera_core.render.palette import rgb
from tests.browser.studio import told, until
from tests.servers import TOKEN
from tests.waiting import PATIENCE_S

SIZE = 160
PATIENCE = 1000 * PATIENCE_S
# Pixels of the map's canvases as the browser draws them: name of the pane -> [r, g, b, a] at a place of the screen.
PIXEL = """(map, [pane, x, y]) => {
  const canvas = map.querySelector(`.leaflet-${pane}-pane canvas`);
  if (!canvas) return [];
  const box = canvas.getBoundingClientRect();
  const at = [(x - box.left) / box.width * canvas.width, (y - box.top) / box.height * canvas.height].map(Math.floor);
  return [...canvas.getContext("2d").getImageData(at[0], at[1], 1, 1).data];
}"""


class MapPage:
    """A browser page on the label map of one project, in a window of its ``own`` or one that others use, too."""

    def __init__(self, context: Any, url: str, folder: Path, own: bool = False) -> None:
        self.context, self.own = context, own
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.url, self.folder = f"{url}/label?project={folder.name}&token={TOKEN}", folder
        self.open()

    def open(self) -> None:
        self.page.goto(self.url)
        self.ready()

    def ready(self) -> None:
        self.root = self.page.locator('.tl-root[data-kind="map"]')
        self.page.wait_for_selector('.tl-root[data-kind="map"][data-shown]', timeout=PATIENCE)
        self.page.wait_for_selector(".leaflet-pca-pane canvas", timeout=PATIENCE)
        self.box = self.page.locator(".tl-map").bounding_box()

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.box["x"] + x * self.box["width"], self.box["y"] + y * self.box["height"]

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def drag(self, *places: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place), steps=5)
        self.page.mouse.up()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        until(self.page, condition, lambda: f"{what}; {self.root.evaluate('map => ({...map.dataset})')}")

    def acked(self, number: int) -> None:
        """Wait until the server's answer to operation ``number`` is on the screen."""
        self.until(
            lambda: int(self.root.get_attribute("data-shown-ack") or 0) >= number, f"operation {number} is not answered"
        )

    def pixel(self, pane: str, x: float, y: float) -> list[int]:
        return self.root.evaluate(PIXEL, [pane, *self.at(x, y)])

    def class_map(self) -> np.ndarray:
        """The class map's canvas, uint8 (height, width, 4)."""
        url = self.root.evaluate("map => map.querySelector('.leaflet-classes-pane canvas').toDataURL()")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"))

    def has(self, pane: str) -> bool:
        return self.page.locator(f".leaflet-{pane}-pane canvas").count() > 0

    def counts(self) -> list[int]:
        return [int(text) for text in self.page.locator(".tl-count").all_inner_texts()]

    def log(self) -> LabelLog:
        return LabelLog(self.folder / "labels.jsonl")

    def close(self) -> None:
        (self.context if self.own else self.page).close()
        assert self.errors == []


@pytest.fixture
def project(server: Any, request: pytest.FixtureRequest) -> Project:
    rasters = server.home / "rasters"
    if not rasters.exists():
        synthetic_raster(SIZE, seed=2)[0].save(rasters)
    raster = EmbeddingRaster.open(rasters)
    name = request.node.name.split("[")[0].replace("_", "-")[:50]
    project = Project.create(server.home / "projects" / name, name)
    project.attach_embeddings(2024, rasters, raster.provenance, raster.grid)
    for class_name, color in (("Forest", "#117733"), ("Water", "#0072b2"), ("Arable", "#e69f00")):
        project.log.add_class(class_name, color)
    return project


@pytest.fixture
def open_map(
    request: pytest.FixtureRequest, browser_window: Any, server: Any, project: Project
) -> Iterator[Callable[..., MapPage]]:
    """Opens the label map of the project, in the window of all tests or in one of its own that is as said."""
    pages: list[MapPage] = []

    def make(**screen: Any) -> MapPage:
        context = request.getfixturevalue("chromium").new_context(**screen) if screen else browser_window
        pages.append(MapPage(context, server.url, project.folder, own=bool(screen)))
        return pages[-1]

    make.told = lambda: "\n".join(told(page.page, page.errors) for page in pages)  # type: ignore[attr-defined]
    yield make
    for page in pages:
        page.close()


def expected_picture(log: LabelLog, project: Project, classes: np.ndarray | None = None) -> np.ndarray:
    """The class map (by default that of the labels) as the display should show it, uint8 (height, width, 4)."""
    raster = EmbeddingRaster.open(project.embeddings_path(2024))
    if classes is None:
        classes = predict_raster(fit_labels(log.labels, raster), raster).classes
    colors = np.zeros((256, 4), np.uint8)
    for label_class in log.classes:
        colors[label_class.id] = (*rgb(label_class.color), 255)
    return colors[DisplayGrid(raster.grid).warp(classes)]


def on_screen(page: MapPage, project: Project, row: float, col: float) -> tuple[float, float]:
    """Where a scene pixel is in the window."""
    assert project.grid is not None
    display = DisplayGrid(project.grid)
    box = page.page.locator(".leaflet-pca-pane canvas").bounding_box()
    west, south, east, north = display.bounds
    x, y = display.from_pixel(row + 0.5, col + 0.5)
    return (
        box["x"] + (float(x) - west) / (east - west) * box["width"],
        box["y"] + (north - float(y)) / (north - south) * box["height"],
    )


def known(page: MapPage, version_of: int | None = None) -> None:
    """Wait until the score card speaks of the labels as they are now."""
    page.until(
        lambda: (page.page.locator(".tl-score").get_attribute("data-version") or "") == str(page.log().version),
        "the score does not follow the labels",
    )
