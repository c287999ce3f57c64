"""A region of the published store with refused pixels, from the card to the report; gaps and newer data on its page."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import zarr

from tessera_core.project.project import Project
from tessera_core.raster import NoData
from tests.browser.studio import Studio
from tests.servers import AppServer
from tests.sources import dclimate_store as made
from tests.sources.dclimate_store import place

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(600)]


def shot(page: Any, name: str) -> None:
    """Kept for people to look at, where TESSERA_SHOTS names a folder: at a desk and on a phone."""
    if folder := os.environ.get("TESSERA_SHOTS"):
        for width, height in ((1440, 2200), (390, 3600)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(1500)
            page.screenshot(path=f"{folder}/{name}-{width}.png")
        page.set_viewport_size({"width": 1440, "height": 900})


def test_refused_pixels_from_the_card_to_the_report(
    studio: Studio, server: AppServer, dclimate: made.Store, tmp_path: Path
) -> None:
    import icechunk

    page = studio.page
    store = tmp_path / "v1.icechunk"
    shutil.copytree(dclimate.icechunk, store)
    shutil.copytree(dclimate.registry.parent, tmp_path / "v1.registry")
    box = ",".join(f"{value:.5f}" for value in place(slice(0, 100), slice(0, 60)).bbox)
    studio.open("/?" + urlencode({"place": box, "years": "2023,2024,2025", "store": str(store), "name": "Equator"}))
    studio.button("See what is available").click()
    page.get_by_role("heading", name="What is available").wait_for()
    studio.sees("of your region was seen too rarely in 2024")
    studio.sees("How much of 2023 was seen too rarely was not measured.")
    shot(page, "card")
    page.get_by_role("button", name=re.compile("^Load ")).click()
    page.get_by_role("heading", name="Your region").wait_for()
    studio.sees("seen clearly too few times")
    shot(page, "region")

    # The publisher writes a tile of 2024 anew.
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(store)))
    session = repository.writable_session("main")
    zarr.open_group(session.store, mode="r+", zarr_format=3)["31N/scales"][1, 20:64, 20:64] = 0.5
    session.commit("a tile again")
    page.get_by_text("Newer data of the publisher").click()
    studio.button("Look for newer data").click()
    studio.sees("embeddings of your region changed in 2024")
    studio.sees("orange changed, green new, red gone")
    shot(page, "newer")
    studio.button("Use the newer data").click()
    studio.sees("The newer data are in use now.")

    (folder,) = [path for path in (server.home / "projects").iterdir() if (path / "project.json").is_file()]
    project = Project.open(folder)
    raster_folder = project.embeddings_path(2025)
    # A gap, as a tile that could not be had leaves it.
    reasons, scales = np.load(raster_folder / "nodata.npy"), np.load(raster_folder / "scales.npy")
    reasons[60:75, 20:40], scales[60:75, 20:40] = NoData.MISSING_TILE, np.nan
    np.save(raster_folder / "nodata.npy", reasons)
    np.save(raster_folder / "scales.npy", scales)
    grid = project.embeddings[2025].grid
    for number, col in enumerate((25, 45)):
        one = project.log.add_class(("Wood", "Field")[number])
        for row in (30, 40, 50):
            x, y = grid.pixel_to_xy(row + 0.5, col + 0.5)
            project.log.add("point", one.id, [(float(x), float(y))])
    server.restart()
    address = page.url
    page.goto(address)
    page.get_by_role("heading", name="Missing pixels of 2025").wait_for()
    studio.sees("300 pixels")
    shot(page, "holes")

    studio.go("Export")
    page.get_by_role("button", name="Report (.html)").wait_for()
    report = studio.download("Report (.html)", tmp_path).read_text()
    assert "Seen clearly" in report
    shot(page, "export")
