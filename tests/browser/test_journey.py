"""The whole way through the app in a real browser: open, label, watch, undo, come back, export, compare with the screen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.labels.files import read_labels
from tests.browser.studio import Studio
from tests.factories import landscape
from tests.servers import DEMO_SIZE, AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


@dataclass(frozen=True)
class Place:
    """A region whose truth is known: uint8 (H, W) kinds on a grid."""

    grid: Grid
    truth: NDArray[np.uint8]

    def examples(self, kinds: int, each: int) -> list[list[tuple[int, int]]]:
        """Pixels well inside patches of the ``kinds`` most common kinds, ``each`` of every kind, far from each other."""
        from scipy import ndimage

        common = np.argsort(np.bincount(self.truth[self.truth > 0].ravel()))[::-1][:kinds]
        found = []
        for kind in common:
            depth = ndimage.distance_transform_edt(self.truth == kind)
            pixels = []
            for _ in range(each):
                row, col = np.unravel_index(int(depth.argmax()), depth.shape)
                pixels.append((int(row), int(col)))
                rows, cols = np.ogrid[: depth.shape[0], : depth.shape[1]]
                depth[(rows - row) ** 2 + (cols - col) ** 2 < 36] = 0
            found.append(pixels)
        return found


def open_demo(studio: Studio, server: AppServer) -> Place:
    """Open the demo region by its one button."""
    import rasterio

    studio.open()
    studio.button("Open the demo region").click()
    studio.button("Start labelling").wait_for(timeout=240_000)
    truth = max((server.home / "cache" / "demo").glob(f"{DEMO_SIZE}-*/truth/*.tif"))
    with rasterio.open(truth) as file:
        return Place(Grid(file.crs.to_string(), file.transform, file.shape), file.read(1))


def open_folder(studio: Studio, folder: Path) -> Place:
    """Open a folder by its path."""
    raster = landscape(96)
    raster.save(folder)
    studio.open()
    studio.page.get_by_label("Folder or file").fill(str(folder))
    studio.button("Look inside").click()
    studio.button("Open it").click()
    studio.button("Start labelling").wait_for()
    rows, cols = np.mgrid[:96, :96] // 48
    return Place(raster.grid, (1 + 2 * rows + cols).astype(np.uint8))


def same_as_screen(
    studio: Studio, place: Place, classes: NDArray[np.uint8], palette: dict[int, tuple[int, int, int]]
) -> float:
    """Share of 400 places whose colour on the screen is that of their class; places beside another class are left out."""
    from scipy import ndimage

    inner = (ndimage.maximum_filter(classes, 3) == ndimage.minimum_filter(classes, 3)) & (classes > 0)
    rows, cols = np.nonzero(inner)
    some = np.random.default_rng(0).choice(len(rows), min(400, len(rows)), replace=False)
    rows, cols = rows[some], cols[some]
    wanted = np.array([palette[int(value)] for value in classes[rows, cols]])
    return float((np.abs(studio.colours(place.grid, rows, cols).astype(int) - wanted).max(1) <= 3).mean())


def journey(studio: Studio, server: AppServer, place: Place, folder: Path) -> None:
    """Everything after a region is open."""
    import rasterio

    page = studio.page
    studio.button("Start labelling").click()
    studio.wait_for_map()

    # Three classes with two clicks each; the map appears on the way.
    operations = 0
    for number, pixels in enumerate(place.examples(3, 2)):
        studio.add_class(f"Kind {number + 1}")
        operations += 1
        for row, col in pixels:
            studio.click_pixel(place.grid, row, col)
            operations += 1
            studio.settle(operations)
    assert studio.classes() == {"Kind 1": 2, "Kind 2": 2, "Kind 3": 2}

    # The class map alone, so that screen and file can be compared.
    studio.layer("labels", on=False)
    studio.layer("classes", on=True, opacity=100)
    rows, cols = np.mgrid[4 : place.grid.height - 4 : 7, 4 : place.grid.width - 4 : 7].reshape(2, -1)
    before = studio.colours(place.grid, rows, cols)
    assert len(np.unique(before, axis=0)) >= 3

    # A label on purpose in the wrong class changes the map, undo brings it back.
    studio.choose_class("Kind 1")
    row, col = place.examples(3, 3)[2][2]
    studio.click_pixel(place.grid, row, col)
    studio.settle(operations + 1)
    assert studio.classes()["Kind 1"] == 3
    assert (studio.colours(place.grid, rows, cols) != before).any()
    page.locator("[data-tool=undo]").click()
    studio.settle(operations + 2)
    assert studio.classes()["Kind 1"] == 2
    assert np.array_equal(studio.colours(place.grid, rows, cols), before)

    # Reload the page: everything is there.
    page.reload()
    studio.wait_for_map()
    page.locator(".tl-row").nth(2).wait_for()
    assert studio.classes() == {"Kind 1": 2, "Kind 2": 2, "Kind 3": 2}

    # Kill the server and start it again: everything is there, and the browser is known.
    server.restart()
    page.reload()
    studio.wait_for_map()
    page.locator(".tl-row").nth(2).wait_for()
    assert studio.classes() == {"Kind 1": 2, "Kind 2": 2, "Kind 3": 2}
    studio.layer("labels", on=False)
    studio.layer("classes", on=True, opacity=100)
    studio.still(studio.map)
    address = page.url

    # Export, and compare the file with the screen.
    studio.go("Export")
    studio.sees("How much of each class")
    classes = studio.download("Class map (.tif)", folder)
    confidence = studio.download("Confidence (.tif)", folder)
    labels = studio.download("Labels (.geojson)", folder)
    project = studio.download("Project (.tessera)", folder)
    assert project.suffix == ".tessera"
    assert labels.read_text(encoding="utf-8").count('"Point"') == 6
    page.get_by_test_id("stSelectbox").filter(has_text="Another format").locator("input").click()
    page.get_by_role("option", name="CSV", exact=True).click()
    studio.sees("Colours are not kept.")
    table = studio.download("Save file", folder)
    assert [label.kind for label in read_labels(table, place.grid).labels] == ["point"] * 6
    with rasterio.open(confidence) as file:
        assert file.read(1).max() in (*range(101), 255)
    with rasterio.open(classes) as file:
        values, colours = file.read(1), file.colormap(1)
        assert Grid(file.crs.to_string(), file.transform, file.shape) == place.grid
        assert {file.tags(1)[f"class_{number}"] for number in (1, 2, 3)} == {"Kind 1", "Kind 2", "Kind 3"}
    page.goto(address)
    studio.wait_for_map()
    page.locator(".tl-row").nth(2).wait_for()
    studio.layer("labels", on=False)
    studio.layer("classes", on=True, opacity=100)

    def share() -> float:
        return same_as_screen(studio, place, values, {key: value[:3] for key, value in colours.items()})

    studio.until(lambda: share() > 0.99, lambda: f"only {share():.0%} of the screen agrees with the file")
    assert "Traceback" not in server.output()


def test_from_the_demo_to_a_map_and_back(
    studio: Studio, server: AppServer, root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not (root / "tessera_core" / "models" / "weights" / "studio-nano.safetensors").exists():
        pytest.skip("this checkout has no weights of the studio's own model, so it cannot make the demo region")
    server.take_demo(request.getfixturevalue("small_demo"))
    journey(studio, server, open_demo(studio, server), tmp_path)


@pytest.mark.soak
def test_from_a_folder_to_a_map_and_back(studio: Studio, server: AppServer, tmp_path: Path) -> None:
    journey(studio, server, open_folder(studio, tmp_path / "quarters"), tmp_path)
