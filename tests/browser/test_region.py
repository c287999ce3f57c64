"""A place on Earth in the browser: picked by drawing, name and file; the preflight card; loaded, seen, there offline."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlparse

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.browser.studio import Studio
from tests.servers import AppServer
from tests.sources import world_store
from tests.sources.world_store import WebStore

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

BOX = (11.82, -0.12, 12.18, 0.08)


def _address(web: WebStore, **query: str) -> str:
    return "/?" + urlencode({"years": "2022,2023", "store": web.store} | query)


def _place(studio: Studio) -> list[float]:
    """West, south, east, north of the place in the address bar."""
    (text,) = parse_qs(urlparse(studio.page.url).query)["place"]
    numbers = [tuple(map(float, corner.split(","))) for corner in text.split(";")]
    if len(numbers) == 1:
        return list(numbers[0])
    lons, lats = zip(*numbers, strict=True)
    return [min(lons), min(lats), max(lons), max(lats)]


def _map(studio: Studio) -> Any:
    return studio.page.locator(".tv-map").first


def _wait_for_place(studio: Studio) -> None:
    studio.page.wait_for_function("() => new URL(location.href).searchParams.has('place')")


def _look_and_load(studio: Studio, label: str) -> None:
    studio.button("See what is available").click()
    studio.page.get_by_role("heading", name="What is available").wait_for()
    studio.button(label).click()
    studio.page.get_by_role("heading", name="Your region").wait_for()


@pytest.mark.soak
def test_an_address_is_enough_and_what_was_loaded_stays_without_the_network(
    studio: Studio, server: AppServer, world: Path
) -> None:
    page = studio.page
    with world_store.serve(world.parent) as web:
        studio.open(_address(web, place=",".join(map(str, BOX)), name="Equator"))
        studio.button("See what is available").click()
        page.get_by_role("heading", name="What is available").wait_for()
        studio.sees("Missing: 1 tile")
        studio.sees("grid_11.85_0.05 (missing)")
        page.get_by_text("Show the text of the request").click()
        studio.sees("Missing tiles of 2022 (1)")
        request = studio.download("Request (.txt)", server.home.parent)
        assert '"type": "Polygon"' in request.read_text()
        studio.button("Load 2022 and 2023").click()
        page.get_by_role("heading", name="Your region").wait_for()
        address = page.url
    # The server of the store is gone now, and so is the app that fetched.
    server.restart()
    page.goto(address)
    page.get_by_role("heading", name="Your region").wait_for()
    studio.sees("2022 and 2023")
    picture = page.get_by_alt_text("Embedding picture").first
    picture.wait_for()
    page.wait_for_function("image => image.complete && image.naturalWidth > 300", arg=picture.element_handle())
    seen = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB"), float)
    assert seen.std() > 20
    studio.button("Start labelling").click()
    studio.wait_for_map()
    studio.sees("Saved")
    studio.still()
    told = page.get_by_text("Saved").all_inner_texts()
    assert len(told) == 1, f"said when it was saved more than once: {told}"


def test_drawing_a_box_on_the_map_chooses_it(studio: Studio, web: WebStore) -> None:
    page = studio.page
    studio.open(_address(web, place=",".join(map(str, BOX))))
    _map(studio).wait_for()
    studio.still(_map(studio))
    before = _place(studio)
    page.get_by_role("button", name="Box", exact=False).first.click()
    box = _map(studio).bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle[0] - 60, middle[1] - 40)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 40, steps=5)
    page.mouse.up()
    page.wait_for_function(
        "old => new URL(location.href).searchParams.get('place') !== old", arg=",".join(f"{v:g}" for v in before)
    )
    west, south, east, north = _place(studio)
    # Drawn within the old box, about its centre.
    assert before[0] < west < east < before[2]
    assert before[1] < south < north < before[3]
    assert abs((west + east) / 2 - 12.0) < 0.03
    assert abs((south + north) / 2 + 0.02) < 0.03
    _look_and_load(studio, "Load 2022 and 2023")
    studio.sees("pixels of 200 m")


def test_a_name_finds_a_place_and_a_click_moves_it(studio: Studio, web: WebStore) -> None:
    page = studio.page
    studio.open()
    studio.button("Choose a place").click()
    field = page.get_by_role("textbox", name="Name of a place, or coordinates")
    field.fill("Cambridge")
    field.press("Enter")
    page.get_by_role("button", name="Cambridge, United Kingdom").click()
    _wait_for_place(studio)
    studio.sees("at Cambridge, United Kingdom")
    west, south, east, north = _place(studio)
    assert west < 0.12 < east
    assert south < 52.2 < north
    studio.still(_map(studio))
    box = _map(studio).bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    page.wait_for_function("w => Number(new URL(location.href).searchParams.get('place').split(',')[0]) > w", arg=west)


@pytest.mark.soak
def test_a_file_of_polygons_is_reported_and_loaded(studio: Studio, web: WebStore) -> None:
    page = studio.page
    ring = [[11.86, -0.1], [11.98, -0.1], [11.92, 0.04], [11.86, -0.1]]
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}},
        {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [11.9, 0]}},
    ]
    content = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    studio.open(_address(web))
    studio.button("Choose a place").click()
    page.get_by_text("Use a file of polygons").click()
    page.locator("input[type=file]").set_input_files(
        [{"name": "triangle.geojson", "mimeType": "application/json", "buffer": content}]
    )
    studio.sees("1 of 2 features used, in 1 piece. 1 left out: points, not areas.")
    page.get_by_text("Advanced").click()
    page.get_by_role("textbox", name="Another store").fill(web.store)
    page.get_by_role("textbox", name="Another store").press("Enter")
    page.wait_for_function("() => new URL(location.href).searchParams.has('store')")
    _look_and_load(studio, "Load 2024")
    # Only the triangle has data.
    studio.sees("of the pixels have no data")


@pytest.mark.soak
def test_a_bad_tile_is_masked_by_a_click_on_the_map(studio: Studio, web: WebStore) -> None:
    page = studio.page
    studio.open(_address(web, place=",".join(map(str, BOX)), years="2023", name="Bad tile"))
    _look_and_load(studio, "Load 2023")
    studio.sees("absurd scales")
    # The map must come without another page's having loaded its code.
    page.reload()
    studio.button("Look for bad tiles and seams").click()
    studio.sees("1 bad tile")
    _map(studio).wait_for()

    def marked() -> NDArray[np.bool_]:
        return np.abs(studio.still(_map(studio)).astype(int) - (0xD5, 0x5E, 0x00)).sum(-1) < 40

    studio.until(lambda: marked().any(), "the bad tile is not marked")
    orange = marked().nonzero()
    middle = {"x": (orange[1].min() + orange[1].max()) / 2, "y": (orange[0].min() + orange[0].max()) / 2}
    _map(studio).click(position=middle)
    studio.sees("grid_12.15_-0.05 is masked")
    page.get_by_text("absurd scales").first.wait_for(state="hidden")
    studio.button("Use all tiles as published").click()
    studio.button("Mask this tile").wait_for()
