"""The page Continuous map in a real browser: plots from a file on the demo region, map, score, files; and on a phone."""

from __future__ import annotations

import io
import re
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from tessera_core.cli import main
from tessera_core.dpixels.greenness import summer_ndvi
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.grid import Grid
from tessera_core.labels.plots import plots_of
from tessera_core.project import library
from tessera_core.project.project import Project
from tests.browser.studio import Studio
from tests.servers import DEMO_SIZE, AppServer

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
# A server that has just started loads its libraries first, which takes long on a busy machine.
PATIENCE = 240_000


@pytest.fixture(scope="module")
def server(server: AppServer, small_demo: Path) -> AppServer:
    """The app, where somebody has made the demo region before."""
    server.take_demo(small_demo)
    return server


@pytest.fixture
def project(server: AppServer, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A new project of the demo region."""
    monkeypatch.setenv("TESSERA_HOME", str(server.home))
    monkeypatch.setenv("TESSERA_DEMO_SIZE", str(DEMO_SIZE))
    demo = library.take_demo()
    assert demo is not None
    return library.start_demo(demo, fresh=True)


def field_sheet(project: Project, path: Path) -> Path:
    """Heights that follow the summer's greenness, as a field crew would write them down: with commas, gaps and a slip."""
    tile = DPixelTile.open(project.embeddings[2024].dpixels)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(3, DEMO_SIZE - 3, (2, 80))
    heights = 5 + 20 * np.nan_to_num(summer_ndvi(tile, rows, cols)) + rng.normal(0, 0.5, 80)
    lon, lat = tile.grid.pixel_to_lonlat(rows + 0.5, cols + 0.5)
    cells = [f"{height:.1f}".replace(".", ",") for height in heights]
    cells[3], cells[4] = "n/a", "-9999"
    lines = [f"{n};{lat[n]:.7f};{lon[n]:.7f};{cells[n]}" for n in range(80)]
    path.write_text("plot_id;lat;lon;canopy height (m)\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def address(project: Project) -> str:
    return f"/continuous?project={urllib.parse.quote(project.folder.name)}"


def scored(studio: Studio) -> float:
    """R2 as the page shows it, once it does."""
    studio.page.get_by_text("Typically off by").first.wait_for(timeout=PATIENCE)
    return float(studio.page.get_by_test_id("stMetricValue").first.inner_text().replace("−", "-"))


def at(studio: Studio, grid: Grid, row: int, col: int) -> tuple[float, float]:
    """Where a scene pixel is on the screen."""
    from tessera_core.render.display import DisplayGrid

    box = studio.page.locator(".leaflet-layer-value-pane canvas").bounding_box()
    display = DisplayGrid(grid)
    west, south, east, north = display.bounds
    x, y = display.from_pixel([row + 0.5], [col + 0.5])
    return (
        box["x"] + (float(x[0]) - west) / (east - west) * box["width"],
        box["y"] + (north - float(y[0])) / (north - south) * box["height"],
    )


def pixels(studio: Studio) -> np.ndarray[Any, Any]:
    """The map as the screen shows it."""
    box = studio.page.locator(".tv-map").bounding_box()
    inside = {"x": round(box["x"]) + 2, "y": round(box["y"]) + 2, "width": 600, "height": 500}
    return np.asarray(Image.open(io.BytesIO(studio.page.screenshot(clip=inside))).convert("RGB")).astype(int)


def test_a_sheet_of_plots_becomes_a_map_a_score_and_files(studio: Studio, project: Project, tmp_path: Path) -> None:
    sheet = field_sheet(project, tmp_path / "plots.csv")
    studio.open(address(project))
    page = studio.page
    page.get_by_role("button", name="Try with example plots").first.wait_for(timeout=PATIENCE)
    page.locator("input[type=file]").first.set_input_files(sheet)
    studio.sees("78 plots of canopy height added from plots.csv. 80 places were read.")
    studio.sees("1 skipped: no number in 'canopy height (m)'")
    r2 = scored(studio)
    assert r2 > 0.3

    # What is downloaded is what the command line makes.
    embeddings = project.embeddings_path(2024)
    words = ["map", embeddings, "--labels", sheet, "--field", "canopy height (m)", "--head", "ridge-regression"]
    assert main([str(w) for w in (*words, "--out", tmp_path / "v.tif", "--margin", tmp_path / "m.tif")]) == 0
    with rasterio.open(tmp_path / "v.tif") as file, rasterio.open(tmp_path / "m.tif") as half_widths:
        values, half_width = file.read(1), half_widths.read(1)
    with rasterio.open(studio.download("Values (.tif)", tmp_path)) as file:
        np.testing.assert_array_equal(file.read(1), values)
        assert file.units == ("m",)
    with zipfile.ZipFile(studio.download("Continuous map for QGIS (.zip)", tmp_path)) as archive:
        assert {"values.tif", "values.qml", "margins.tif", "plots.gpkg", "README.txt"} <= set(archive.namelist())

    # The pointer tells the number, a click tells it with its margin and what to expect.
    page.locator(".leaflet-layer-value-pane canvas").wait_for()
    studio.still(page.locator(".tv-map"))
    # Away from the plots, which a click would choose instead.
    taken = np.zeros(values.shape, bool)
    project.refresh()
    for plot in plots_of(project.plots, 1):
        r, c = (int(v[0]) for v in project.grid.xy_to_pixel(*np.array(plot.label.xy).T))  # type: ignore[union-attr]
        taken[max(r - 5, 0) : r + 6, max(c - 5, 0) : c + 6] = True
    row, col = (int(v[0]) for v in np.nonzero((np.abs(values - np.median(values)) < 1) & ~taken))
    place = at(studio, project.grid, row, col)  # type: ignore[arg-type]
    page.mouse.move(*place)
    readout = page.locator(".tl-readout b")
    shown = studio.until(lambda: re.fullmatch(r"([\d.]+) ± ([\d.]+) m", readout.inner_text()), readout.inner_text)
    assert float(shown[1]) == pytest.approx(values[row, col], abs=0.15)
    assert float(shown[2]) == pytest.approx(half_width[row, col], abs=0.15)

    # Greying guesses covers something, and computes nothing: the score stays where it is.
    unlike = page.locator("[data-testid=stMetricValue]").first.inner_text()
    before = pixels(studio)
    page.get_by_text("Grey where it guesses").first.click()

    def changed() -> float:
        return float((np.abs(pixels(studio) - before).sum(-1) > 30).mean())

    studio.until(lambda: changed() > 0.0005, "nothing is grey")
    studio.still(page.locator(".tv-map"))
    assert changed() < 0.5
    assert page.locator("[data-testid=stMetricValue]").first.inner_text() == unlike

    # A plot by hand: click, type, and it is there after a reload.
    page.mouse.click(*at(studio, project.grid, row, col))  # type: ignore[arg-type]
    page.get_by_label("Measured here").first.fill("12,5")
    page.get_by_role("button", name="Add plot").first.click()
    studio.page.get_by_text("Plot: 12.5 m").first.wait_for()
    studio.open(address(project))
    scored(studio)
    project.refresh()
    assert len(project.plots.labels) == 79
    assert project.plots.labels[-1].note == "12.5"


@pytest.mark.soak
def test_examples_on_a_phone(studio: Studio, project: Project) -> None:
    page = studio.page
    page.set_viewport_size({"width": 390, "height": 844})
    studio.open(address(project))
    page.get_by_role("button", name="Try with example plots").first.wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Try with example plots").first.click()
    studio.sees("They are no field measurements")
    assert scored(studio) > 0.5
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".tv-map").bounding_box()
    assert box["width"] > 330
    for name in ("Continuous map for QGIS (.zip)", "Values (.tif)"):
        button = studio.button(name)
        button.scroll_into_view_if_needed()
        assert button.bounding_box()["x"] + button.bounding_box()["width"] <= 390
    page.locator(".tv-legend summary").click()
    page.locator(".tv-scale").first.wait_for()
