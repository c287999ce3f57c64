"""Pictures of services and files under the maps of a project, in a real browser, with the faults that services have."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tessera_core.imagery import keys, services
from tessera_core.imagery.layers import made
from tessera_core.project import imagery, library
from tessera_core.project.project import Project
from tests.browser.studio import Studio
from tests.factories import landscape
from tests.imagery.picture_server import COLOURS, PictureServer, aerial, serving
from tests.servers import TOKEN, AppServer

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(420)]

FAULTS = ("slow", "gone", "page", "words", "broken")


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    with serving() as server:
        yield server


@pytest.fixture
def project(server: AppServer, pictures: PictureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a base layer of every kind."""
    monkeypatch.setenv("TESSERA_HOME", str(server.home))
    landscape(64).save(tmp_path / "fields")
    project = library.start(library.identify(str(tmp_path / "fields")), "Fields with pictures")
    url = pictures.url
    keys.keep_key(pictures.host, "sesame")
    imagery.add_layer(project, made(name="Tiles", kind="xyz", url=f"{url}/tiles/{{z}}/{{x}}/{{y}}.png", date="2021"))
    imagery.add_layer(project, made(name="South", kind="tms", url=f"{url}/south/{{z}}/{{x}}/{{y}}.png"))
    imagery.add_layer(project, made(name="Keyed", kind="xyz", url=f"{url}/keyed/{{z}}/{{x}}/{{y}}.png?key={{key}}"))
    years, _ = services.ask(f"{url}/wms").layers
    imagery.add_layer(project, years)
    imagery.add_layer(project, made(**years.to_json() | {"name": "Degrees", "crs": "EPSG:4326"}))
    imagery.add_layer(project, services.ask(f"{url}/old").layers[0])
    imagery.add_layer(project, services.ask(f"{url}/wmts").layers[0])
    for fault in FAULTS:
        imagery.add_layer(project, made(name=fault, kind="xyz", url=f"{url}/faulty/{fault}/{{z}}/{{x}}/{{y}}"))
    aerial(tmp_path / "aerial.tif", project)
    imagery.add_picture_file(project, tmp_path / "aerial.tif", "Aerial")
    return project


@pytest.fixture
def window(chromium: Any, server: AppServer) -> Iterator[Studio]:
    """A window that may ask services of this computer, too."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.request.get(f"{server.url}/?token={TOKEN}")
    studio = Studio(context.new_page(), server.url)
    yield studio
    context.close()
    assert studio.errors == []


def middle(studio: Studio) -> tuple[int, ...]:
    """The colour in the middle of the map."""
    box = studio.page.locator(".leaflet-container").first.bounding_box()
    studio.page.mouse.move(2, 2)
    screen = studio.still()
    return tuple(int(v) for v in screen[int(box["y"] + box["height"] / 2) + 9, int(box["x"] + box["width"] / 2) + 9])


def test_base_layers_of_every_kind_lie_under_the_map(window: Studio, project: Project, pictures: PictureServer) -> None:
    page = window.page
    address = f"project={urllib.parse.quote(project.folder.name)}"
    window.open(f"/explore?{address}")
    page.get_by_label("Layers and comparison").click()
    chosen = page.get_by_label("Base map", exact=True)

    def seen(colour: tuple[int, int, int]) -> None:
        def near() -> bool:
            return max(abs(a - b) for a, b in zip(middle(window), colour, strict=True)) <= 8

        window.until(near, lambda: f"{middle(window)} instead of {colour}")

    def shows(name: str, colour: tuple[int, int, int]) -> list[str]:
        before = len(pictures.asked)
        chosen.select_option(name)
        seen(colour)
        return pictures.asked[before:]

    shows("Tiles", COLOURS["tiles"])
    year = project.embeddings.popitem()[0]
    window.sees(f"Picture of 2021; the map is of {year}.")
    rows = {int(path.split("/")[3]): int(path.split("/")[4][:-4]) for path in shows("South", COLOURS["south"])}
    assert rows
    assert any("key=sesame" in path for path in shows("Keyed", COLOURS["tiles"]))
    assert project.folder.joinpath("project.json").read_text().count("sesame") == 0
    asked = shows("Pictures by year", COLOURS["wms"])
    query = {k.lower(): v for k, v in urllib.parse.parse_qsl(urllib.parse.urlsplit(asked[-1]).query)}
    assert (query["version"], query["crs"], query["layers"]) == ("1.3.0", "EPSG:3857", "years")
    assert query["time"] == "2023-06-01"
    # Latitude first in WMS 1.3.0, longitude first in 1.1.1.
    west, south, east, north = project.grid.bounds_lonlat if project.grid else (0.0, 0.0, 0.0, 0.0)
    for name, code, latitude_first in (("Degrees", "crs", True), ("Old photographs", "srs", False)):
        asked = shows(name, COLOURS["wms"])
        boxes = []
        for path in asked:
            query = {k.lower(): v for k, v in urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query)}
            assert query[code] == "EPSG:4326"
            a, b, c, d = map(float, query["bbox"].split(","))
            boxes.append((b, a, d, c) if latitude_first else (a, b, c, d))
        lon, lat = (west + east) / 2, (south + north) / 2
        assert any(w <= lon <= e and s <= lat <= n for w, s, e, n in boxes)
    asked = shows("Mosaic", COLOURS["wmts"])
    assert all(path.startswith("/wmts/plain/2022/web/level-") for path in asked)

    # The quarter of the picture that lies right of the middle and below it.
    shows("Aerial", (220, 210, 30))

    # A service that fails is one sentence, and the page goes on with its own picture.
    sentence = page.get_by_text("The base map cannot be shown")
    for fault in FAULTS:
        chosen.select_option(fault)
        sentence.wait_for()
    chosen.select_option("Tiles")
    sentence.wait_for(state="hidden")

    # Pages may not read what a service does not let them read; people see it all the same.
    pictures.readable = False
    shows("Mosaic", COLOURS["wmts"])


def test_a_service_is_added_by_its_address_and_removed(
    window: Studio, project: Project, pictures: PictureServer
) -> None:
    page = window.page
    window.open(f"/label?project={urllib.parse.quote(project.folder.name)}")
    for layer in project.settings.base_layers:
        imagery.remove_layer(project, layer.name)
    window.open(f"/label?project={urllib.parse.quote(project.folder.name)}")
    page.get_by_text("Base maps", exact=True).click()
    page.get_by_text("By address").click()
    box = page.get_by_label("Address", exact=True)
    box.fill(f"{pictures.url}/wms?token=hidden")
    box.press("Enter")
    window.button("Ask the service what it has").click()
    window.sees("Aerial surveys: 2 layers.")
    window.choose("Layer", "One <b>picture</b>")
    window.sees("The date of this picture is not told")
    window.button("Add it").click()
    window.sees("can be chosen under the layers of every map")
    kept = Project.open(project.folder).settings.base_layers
    assert [one.url for one in kept] == [f"{pictures.url}/wms?token={{key}}"]
    window.wait_for_map()
    window.layer("base", on=True)
    page.get_by_label("Which base map").select_option(kept[0].name)
    window.until(lambda: any("token=hidden" in path and "GetMap" in path for path in pictures.asked))
    window.sees("A flight <script>alert(1)</script>")
    window.button("Remove").click()
    window.until(lambda: not Project.open(project.folder).settings.base_layers)
