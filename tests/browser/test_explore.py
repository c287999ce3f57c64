"""The page Explore in a real browser: scatter and map highlight each other, a pixel tells its story, UMAP in the background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tessera_core.bench.click import synthetic_raster
from tessera_core.project.project import Project
from tests.browser.studio import Studio
from tests.servers import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZE = 96
STATE = """() => {
  for (const host of document.querySelectorAll("*")) {
    const root = (host.shadowRoot ?? host).querySelector?.(".tl-root[data-kind=KIND]");
    if (root) return { ...root.dataset };
  }
  return {};
}"""


@pytest.fixture(scope="module")
def project(server: AppServer) -> Project:
    """A scene of smooth classes with d-pixels beside it, and two classes to label with."""
    from dataclasses import replace

    home = server.home
    project = Project.create(home / "projects" / "explore", "Smooth land")
    for year in (2023, 2024):
        raster, _ = synthetic_raster(SIZE, seed=0)
        raster = replace(raster, provenance=replace(raster.provenance, year=year))
        folder = raster.save(home / "explored" / str(year))
        tile = home / "tiles" / str(year)
        _write_tile(tile)
        project.attach_embeddings(year, folder, raster.provenance, raster.grid, dpixels=tile)
    project.log.add_class("Wood")
    project.log.add_class("Field")
    return project


def _write_tile(folder: Path) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    days = np.arange(10, 360, 30, dtype=np.int16)
    np.save(folder / "bands.npy", rng.integers(200, 5000, (len(days), SIZE, SIZE, 10)).astype(np.uint16))
    masks = np.ones((len(days), SIZE, SIZE), np.uint8)
    masks[3] = 0
    np.save(folder / "masks.npy", masks)
    np.save(folder / "doys.npy", days)
    np.save(folder / "sar_ascending.npy", rng.integers(2000, 8000, (5, SIZE, SIZE, 2)).astype(np.int16))
    np.save(folder / "sar_ascending_doy.npy", np.arange(5, dtype=np.int16) * 12 + 1)


class Explore:
    def __init__(self, studio: Studio, project: Project, mode: str) -> None:
        self.page = studio.page
        studio.open(f"/explore?project={project.folder.name}")
        self.page.get_by_role("radio", name=mode).or_(self.page.get_by_role("button", name=mode)).first.click()
        self.page.wait_for_selector(".tl-root[data-kind=map][data-shown]")

    def data(self, kind: str, name: str) -> str | None:
        return self.page.evaluate(STATE.replace("KIND", kind)).get(name)

    def until(self, kind: str, name: str, condition: str) -> int:
        """Wait until a number that a component shows about itself fulfils ``condition`` (JavaScript on ``n``); returns it."""
        found = STATE.replace("KIND", kind)
        self.page.wait_for_function(f"() => {{ const n = Number(({found})().{name} ?? NaN); return {condition}; }}")
        return int(self.data(kind, name) or 0)

    def at(self, where: str, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator(where).bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def drag(self, where: str, *places: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(where, *places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(where, *place), steps=5)
        self.page.mouse.up()


def test_a_lasso_lights_the_map_and_becomes_labels(studio: Studio, project: Project) -> None:
    explore = Explore(studio, project, "Scatter")
    assert explore.until("scatter", "points", "n > 0") == 2 * SIZE**2
    explore.until("scatter", "drawn", "n > 0")
    explore.drag(".sc-box", (0.2, 0.2), (0.6, 0.2), (0.6, 0.7), (0.2, 0.7))
    selected = explore.until("scatter", "selected", "n > 100")
    assert explore.until("map", "highlighted", "n > 0") == selected
    studio.sees(f"{selected:,} of {2 * SIZE**2:,} pixels selected")
    before = len(project.log.labels)
    studio.button("Add 300 labels").click()
    studio.sees("labels added")
    labels = Project.open(project.folder).log.labels
    assert 100 < len(labels) - before <= 300
    # What was labelled is what was selected: alike in the scatter's first axes.
    assert {label.note for label in labels} == {"chosen in the scatter"}


def test_a_box_on_the_map_lights_the_scatter(studio: Studio, project: Project) -> None:
    explore = Explore(studio, project, "Scatter")
    explore.until("scatter", "drawn", "n > 0")
    explore.page.locator(".tv-map [data-tool=box]").click()
    explore.drag(".tv-map", (0.4, 0.4), (0.6, 0.6))
    selected = explore.until("scatter", "selected", "n > 10")
    assert selected < SIZE**2
    studio.sees(f"{selected:,} of")
    # Escape in the scatter lets everything go.
    explore.page.locator(".sc-box").focus()
    explore.page.keyboard.press("Escape")
    explore.until("scatter", "selected", "n === 0")
    explore.until("map", "highlighted", "n === 0")
    studio.sees("Draw around points to see where they are")


def test_three_axes_turn_and_can_be_lassoed(studio: Studio, project: Project) -> None:
    explore = Explore(studio, project, "Scatter")
    explore.until("scatter", "drawn", "n > 0")
    explore.page.get_by_text("3-D", exact=True).click()
    explore.page.get_by_text("PCA 1 · PCA 2 · PCA 3").wait_for()
    explore.until("scatter", "drawn", "n > 1")
    canvas = explore.page.locator(".sc-canvas").first
    picture = "canvas => canvas.toDataURL()"
    before = canvas.evaluate(picture)
    explore.page.get_by_label("Move or turn (M)").click()
    explore.drag(".sc-box", (0.5, 0.5), (0.7, 0.55))
    studio.until(lambda: canvas.evaluate(picture) != before, "nothing turned")
    explore.page.get_by_label("Lasso: draw around points (L)").click()
    explore.drag(".sc-box", (0.35, 0.35), (0.65, 0.35), (0.65, 0.65), (0.35, 0.65))
    assert explore.until("scatter", "selected", "n > 10") == explore.until("map", "highlighted", "n > 10")


def test_a_click_tells_the_story_of_a_pixel(studio: Studio, project: Project) -> None:
    explore = Explore(studio, project, "Pixel")
    studio.sees("Click a place on the map to see its year")
    explore.page.mouse.click(*explore.at(".tv-map", 0.5, 0.5))
    studio.sees("Row 48, column 4")
    studio.sees("2023 as satellites saw it")
    studio.sees("2024 as satellites saw it")
    studio.sees("11 clear days of 12, 5 radar passes")
    studio.sees("Most alike elsewhere in 2024")
    studio.sees("2023 and 2024 are 100 % alike")
    # Vegetation, bands and radar of two years.
    explore.page.get_by_test_id("stPlotlyChart").nth(5).scroll_into_view_if_needed()
    assert explore.page.get_by_test_id("stPlotlyChart").count() == 6


@pytest.mark.soak
def test_umap_runs_beside_the_page(studio: Studio, project: Project) -> None:
    explore = Explore(studio, project, "Scatter")
    explore.until("scatter", "drawn", "n > 0")
    explore.page.get_by_text("UMAP", exact=True).click()
    # The smallest picture is quick enough to wait for.
    studio.choose("Pixels", "5,000")
    explore.page.get_by_role("button", name="Lay out 5,000 pixels").click()
    explore.page.get_by_text("UMAP 1 · UMAP 2").wait_for(timeout=240_000)
    assert explore.until("scatter", "points", "n > 0") >= 5_000
    assert len(list(project.folder.rglob("*.npz"))) == 1
    explore.page.get_by_label("Layers and comparison").click()
    explore.page.locator("[data-layer=umap] input").first.check()
    explore.page.locator(".leaflet-layer-umap-pane canvas").wait_for()
