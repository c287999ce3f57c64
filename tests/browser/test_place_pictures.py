"""Validation with pictures beside the place, from a pack, with the network off, in a real browser."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_core.dpixels.tile import S2_BANDS, write_tile
from tessera_core.project import library
from tessera_core.project.pack import make_pack, open_pack
from tests.browser.studio import Studio
from tests.factories import landscape
from tests.servers import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(420)]


def test_places_have_pictures_from_a_pack_without_a_network(
    studio: Studio, server: AppServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(server.home))
    raster = landscape(64)
    raster.save(tmp_path / "fields")
    random = np.random.default_rng(1)
    bands = random.integers(400, 3000, (8, 64, 64, len(S2_BANDS))).astype(np.uint16)
    series = write_tile(
        tmp_path / "series", bands=bands, masks=np.ones((8, 64, 64), np.uint8), doys=np.arange(8) * 45 + 10,
        sar_asc=random.integers(7000, 9000, (3, 64, 64, 2)).astype(np.int16), doys_asc=np.array([50, 150, 250]),
        grid=raster.grid, meta={"year": raster.provenance.year},
    )  # fmt: skip
    made = library.start(library.identify(str(tmp_path / "fields")), "Fields")
    year = raster.provenance.year
    made.attach_embeddings(year, made.embeddings[year].path, raster.provenance, raster.grid, dpixels=series)
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10))):
        x, y = made.grid.pixel_to_xy(row, col)
        made.log.add("point", made.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    address = f"/validate?project={urllib.parse.quote(made.folder.name)}"
    studio.open(address)
    studio.button("Choose the places by chance").click()
    studio.page.get_by_role("button", name="Cannot tell").wait_for()
    shown(studio)
    (copy,) = open_pack(make_pack([made], tmp_path / "class"))

    page = studio.page
    # Whatever is not the app is as far away as without a network.
    page.route(lambda url: not url.startswith(studio.url), lambda route: route.abort())
    studio.open(f"/validate?project={urllib.parse.quote(copy.folder.name)}")
    page.get_by_role("button", name="Cannot tell").wait_for()
    assert shown(studio) >= 6
    studio.sees(f"Pictures and map are of {year}.")
    studio.sees("8 clear days of 8")
    page.keyboard.press("1")
    page.get_by_text("1 of ").first.wait_for()
    shown(studio)


def shown(studio: Studio) -> int:
    """How many pictures of the place there are, once they are drawn."""
    pictures: Any = studio.page.get_by_test_id("stImageContainer").locator("img")
    drawn = "all => all.length > 0 && all.every(i => i.complete && i.naturalWidth > 50)"
    studio.until(lambda: pictures.evaluate_all(drawn), "no pictures of the place")
    return int(pictures.count())
