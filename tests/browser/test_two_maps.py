"""Which of two maps, and the certified part, in a real browser: from an official map as a file to the verdict, by keys alone."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from tessera_core.project import library, two_maps, validate
from tessera_core.project.classify import map_project
from tests.browser.studio import Studio
from tests.factories import landscape
from tests.servers import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(420)]


def test_an_official_map_is_compared_and_a_part_is_certified(
    studio: Studio, server: AppServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(server.home))
    raster = landscape(64)
    raster.save(tmp_path / "fields")
    made = library.start(library.identify(str(tmp_path / "fields")), "Compared fields")
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10))):
        x, y = made.grid.pixel_to_xy(row, col)
        made.log.add("point", made.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    year = raster.provenance.year
    own = map_project(made, raster, year).map.classes
    # The official map: twice as fine, codes of its own, and wrong in a corner.
    fine = np.repeat(np.repeat(own, 2, 0), 2, 1) * 10
    fine[:50, :70] = 30
    official = tmp_path / "official.tif"
    half = raster.grid.transform @ Affine.scale(0.5)
    with rasterio.open(
        official, "w", driver="GTiff", height=128, width=128, count=1, dtype="uint8", nodata=0, crs=raster.grid.crs, transform=half
    ) as file:  # fmt: skip
        file.write(fine.astype(np.uint8), 1)

    page = studio.page
    address = f"/validate?project={urllib.parse.quote(made.folder.name)}"
    studio.open(address)
    page.get_by_text("Which of two maps?").first.click()
    studio.sees("A map of classes (GeoTIFF)")
    page.locator("input[type=file]").first.set_input_files(official)
    studio.sees("Its classes among yours: 0 of 3")
    for code, name in (("10", "Kind 0"), ("20", "Kind 1"), ("30", "Kind 2")):
        page.get_by_role("combobox", name=f"{code} is").click()
        page.get_by_role("option", name=name).click()
        page.keyboard.press("Escape")
        studio.still()
    studio.sees("differ in")
    studio.button("Choose places where they differ").scroll_into_view_if_needed()
    studio.still()
    page.screenshot(path=tmp_path / "form.png")
    studio.button("Choose places where they differ").click()
    page.get_by_role("button", name="Cannot tell").wait_for()
    current = validate.load(made, year, two_maps=True)
    assert current is not None
    assert current.maps is not None
    assert current.maps.second.title == "official.tif"
    for count in range(1, 4):
        # The key of what ours says there, which is what the places are here.
        page.keyboard.press(str(int(current.sample.mapped[count - 1])))
        page.get_by_text(f"{count} of ").first.wait_for()
    studio.sees("Not known")
    answered = validate.load(made, year, two_maps=True)
    assert answered is not None
    assert answered.seen == 3
    for place in range(3, 14):
        answered = answered.answer(place, int(answered.sample.mapped[place]))
    validate.save(made, answered)
    studio.open(address)
    page.get_by_text("Which of two maps?").first.click()
    studio.sees("Better")
    assert two_maps.verdict(answered).better == 1  # type: ignore[union-attr]
    page.locator("summary").filter(has_text="Where they differ").click()
    studio.still()
    page.screenshot(path=tmp_path / "verdict.png")
    page.set_viewport_size({"width": 390, "height": 844})
    studio.still()
    page.screenshot(path=tmp_path / "verdict-phone.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    page.set_viewport_size({"width": 1440, "height": 900})
    page.get_by_text("How right is the map?").first.click()
    studio.button("Choose the places by chance").click()
    page.get_by_role("button", name="Cannot tell").wait_for()
    studio.sees("is told when all places are looked at")
    checked = validate.load(made, year)
    assert checked is not None
    for place in range(len(checked.sample)):
        checked = checked.answer(place, int(checked.sample.mapped[place]))
    validate.save(made, checked)
    studio.open(address)
    studio.sees("Certified to be wrong at most")
    studio.button("Certified part (.tif)").scroll_into_view_if_needed()
    studio.still()
    page.screenshot(path=tmp_path / "certified.png")
    file = studio.download("Certified part (.tif)", tmp_path)
    with rasterio.open(file) as band:
        assert set(np.unique(band.read(1))) <= {0, 1, 2}
