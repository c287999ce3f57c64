"""Base layers as projects keep them, their dates, their keys, and pictures of one's own."""

from __future__ import annotations

import io
import json
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tessera_core.errors import InputError
from tessera_core.hosting import VARIABLE
from tessera_core.imagery import keys
from tessera_core.imagery.addresses import read_address
from tessera_core.imagery.catalogue import catalogue
from tessera_core.imagery.layers import (
    MOST,
    MOST_DATES,
    BaseLayer,
    entry,
    listed_dates,
    made,
    nearest_date,
    nearest_picture,
)
from tessera_core.project import imagery
from tessera_core.project.pack import make_pack, open_pack
from tessera_core.project.project import Project
from tessera_core.project.settings import ProjectSettings
from tessera_core.session import base_maps
from tests.factories import landscape
from tests.imagery.picture_server import aerial

TILES = "https://tiles.example/{z}/{x}/{y}.png"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    raster = landscape(64)
    raster.save(tmp_path / "fields")
    project = Project.new("Fields")
    project.attach_embeddings(raster.provenance.year, tmp_path / "fields", raster.provenance, raster.grid)
    return project


@given(st.lists(st.dates(date(1940, 1, 1), date(2060, 1, 1)), min_size=1, max_size=30), st.integers(1940, 2060))
def test_the_date_that_is_asked_for_is_of_the_maps_year_where_there_is_one(days: list[date], year: int) -> None:
    dates = tuple(day.isoformat() for day in days)
    chosen = nearest_date(dates, year)
    assert chosen in dates
    off = [abs(day.year - year) for day in days]
    assert abs(int(chosen[:4]) - year) == min(off)


@given(st.text(alphabet="0123456789-/PYMDT:Z, ", max_size=60))
def test_listed_dates_of_anything_are_few_and_in_order(text: str) -> None:
    found = listed_dates(text)
    assert len(found) <= MOST_DATES
    assert len(set(found)) == len(found)


def test_a_long_row_of_days_is_thinned_and_keeps_its_newest() -> None:
    found = listed_dates("2000-01-01/2024-12-31/P1D")
    assert len(found) == MOST_DATES
    assert found[-1] == "2024-12-31"
    assert found[0] == "2000-01-01"
    assert listed_dates("2024-01-31/2024-05-01/P1M")[1].startswith("2024-02-")


def test_a_layer_goes_through_json_and_damaged_ones_are_told() -> None:
    layer = made(name="Aerial", kind="xyz", url=TILES, date="2021", dates=["2020", "2021"])
    settings = ProjectSettings.from_json({"base_layers": [layer.to_json()]})
    assert settings.base_layers == (layer,)
    assert ProjectSettings.from_json(settings.to_json()).base_layers == (layer,)
    for damaged in ({"url": "javascript:1"}, {"kind": "wms"}, {"file": "../x.tif"}, {"name": ""}, {"kind": "file"}):
        value = [layer.to_json() | damaged]
        assert ProjectSettings.from_json({"base_layers": value}).base_layers == ()
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value[0], BaseLayer)


def test_what_strangers_wrote_is_text_in_the_map() -> None:
    layer = made(name="A", kind="xyz", url=TILES, attribution="<img src=x onerror=alert(1)>", date="<b>1</b>")
    told = entry(layer, 2024, {})
    assert told is not None
    assert "<" not in told["attribution"]


def test_a_key_goes_to_its_own_server_and_into_no_file(project: Project, tmp_path: Path) -> None:
    found = read_address("https://tiles.example/{z}/{x}/{y}.png?key=s3cret", "Keyed")
    assert found.layer is not None
    keys.keep_key(found.host, found.key)
    imagery.add_layer(project, found.layer)
    stolen = made(name="Stolen", kind="xyz", url="https://evil.example/{z}/{x}/{y}?k={key}")
    imagery.add_layer(project, stolen)
    shown = {
        one["name"]: one["url"] for one in base_maps.entries(project.settings.base_layers, 2024, keys.known_keys())
    }
    assert shown["Keyed"].endswith("key=s3cret")
    assert "Stolen" not in shown
    pack = make_pack([project], tmp_path / "fields")
    project.export_file(tmp_path / "fields.tessera")
    places = [path for path in [*project.folder.rglob("*"), pack, *tmp_path.glob("*.tessera")] if path.is_file()]
    assert all(b"s3cret" not in path.read_bytes() for path in places)
    assert "s3cret" in (tmp_path / "home" / "keys" / "imagery.json").read_text()
    assert (tmp_path / "home" / "keys" / "imagery.json").stat().st_mode & 0o077 == 0
    keys.keep_key(found.host, "")
    assert keys.known_keys() == {}


def test_a_server_for_strangers_keeps_no_keys_and_gives_its_owners(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    keys.keep_key("tiles.example", "mine")
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setenv(keys.VARIABLE, "Other.example=theirs more.example:8080=those")
    with pytest.raises(InputError, match="keeps no keys"):
        keys.keep_key("tiles.example", "mine")
    assert keys.known_keys() == {"other.example": "theirs", "more.example:8080": "those"}


def test_layers_have_names_of_their_own_and_never_that_of_a_map_of_ours(project: Project) -> None:
    for _ in range(2):
        imagery.add_layer(project, made(name="Streets", kind="xyz", url=TILES), ("Streets",))
    assert [one.name for one in project.settings.base_layers] == ["Streets (2)", "Streets (3)"]
    imagery.remove_layer(project, "Streets (2)")
    assert [one.name for one in Project.open(project.folder).settings.base_layers] == ["Streets (3)"]
    forged = made(name="Streets", kind="xyz", url="https://evil.example/{z}/{x}/{y}")
    assert "evil" not in json.dumps(base_maps.entries([forged], 2024))
    for _ in range(MOST - 1):
        imagery.add_layer(project, made(name="More", kind="xyz", url=TILES))
    with pytest.raises(InputError, match="at most"):
        imagery.add_layer(project, made(name="More", kind="xyz", url=TILES))


def test_the_catalogue_says_whose_each_picture_is() -> None:
    layers = catalogue()
    assert len(layers) > 50
    assert all(layer.attribution and layer.licence and layer.zoom for layer in layers.values())
    assert all(set("{}") & set(layer.url) and "<" not in layer.url for layer in layers.values())


def colour_at(project: Project, file: Path, lon: float, lat: float, zoom: int) -> tuple[int, ...]:
    """What the tiles show at a place."""
    x = (lon + 180) / 360 * 2**zoom
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * 2**zoom
    png = imagery.served_tile(f"{project.folder.name}/{file.stem}/{zoom}/{int(x)}/{int(y)}.png")
    assert png is not None
    image = Image.open(io.BytesIO(png))
    found = image.getpixel((int(x % 1 * 256), int(y % 1 * 256)))
    assert isinstance(found, tuple)
    return found


def test_a_picture_of_ones_own_lies_where_it_belongs_and_goes_along(project: Project, tmp_path: Path) -> None:
    pixels = aerial(tmp_path / "aerial.tif", project)
    with (tmp_path / "aerial.tif").open("rb") as stream:
        layer, said = imagery.add_picture(project, stream, "C:\\photos\\aerial.tif", date="2021")
    assert layer.name == "aerial"
    assert layer.date == "2021"
    assert "kept with the project" in said
    (file,) = imagery.picture_files(project)
    assert project.grid is not None
    west, south, east, north = project.grid.bounds_lonlat
    for zoom in (layer.zoom, layer.zoom - 3, layer.zoom + 2):
        for across, down, quarter in ((0.25, 0.25, (50, 50)), (0.75, 0.25, (50, 150)), (0.25, 0.75, (150, 50))):
            found = colour_at(project, file, west + across * (east - west), north - down * (north - south), zoom)
            wanted = pixels[:, quarter[0], quarter[1]].astype(int)
            assert found[3] == 255
            assert np.abs(np.array(found[:3]) - wanted).max() <= 12
    away = imagery.served_tile(f"{project.folder.name}/{file.stem}/{layer.zoom}/0/0.png")
    assert away is None
    (copy,) = open_pack(make_pack([project], tmp_path / "all"))
    assert [one.read_bytes() for one in imagery.picture_files(copy)] == [file.read_bytes()]
    imagery.remove_layer(project, layer.name)
    assert not file.exists()


def test_a_picture_tells_its_date_beside_the_year_of_the_map(project: Project, tmp_path: Path) -> None:
    aerial(tmp_path / "a.tif", project)
    layer, said = imagery.add_picture_file(project, tmp_path / "a.tif")
    assert layer.date == "2021-06-01 (file)"
    assert "written on 2021-06-01" in said
    assert layer.date_sentence(2024) == "Picture of 2021-06-01 (file); the map is of 2024."
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.update_tags(ACQUISITIONDATETIME="2019-08-02T10:11:12")
    taken, said = imagery.add_picture_file(project, tmp_path / "a.tif")
    assert taken.date == "2019-08-02"
    assert "taken on 2019-08-02" in said
    assert nearest_picture([layer, taken], 2024) == (layer.name, 2021)
    assert nearest_picture([layer, taken], 2018) == (taken.name, 2019)
    assert nearest_picture([], 2018) is None


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (4, "uint16"), (3, "float32")])
def test_pictures_of_other_kinds_are_shown_in_shades(project: Project, tmp_path: Path, bands: int, dtype: str) -> None:
    aerial(tmp_path / "a.tif", project, bands, dtype)
    layer, _ = imagery.add_picture_file(project, tmp_path / "a.tif")
    (file,) = imagery.picture_files(project)
    assert project.grid is not None
    west, south, east, north = project.grid.bounds_lonlat
    dark = colour_at(project, file, west + 0.25 * (east - west), north - 0.75 * (north - south), layer.zoom)
    light = colour_at(project, file, west + 0.75 * (east - west), north - 0.75 * (north - south), layer.zoom)
    assert light[0] > dark[0] + 100
    assert light[3] == dark[3] == 255


def test_what_is_no_picture_of_the_region_is_refused(project: Project, tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "far.tif", "w", driver="GTiff", width=9, height=9, count=3, dtype="uint8", crs="EPSG:4326",
        transform=rasterio.transform.from_bounds(100, 10, 101, 11, 9, 9),
    ) as file:  # fmt: skip
        file.write(np.ones((3, 9, 9), np.uint8))
    (tmp_path / "words.tif").write_bytes(b"no picture")
    for name in ("far.tif", "words.tif"):
        with pytest.raises(InputError):
            imagery.add_picture_file(project, tmp_path / name)
    assert imagery.picture_files(project) == []
    assert not list(project.folder.glob("imagery/*.tif"))


def test_addresses_of_tiles_lead_nowhere_else(project: Project, tmp_path: Path) -> None:
    aerial(tmp_path / "a.tif", project)
    layer, _ = imagery.add_picture_file(project, tmp_path / "a.tif")
    stem, link = layer.file.removesuffix(".tif"), project.folder.name
    (project.folder / "imagery" / f"{'0' * 16}.tif").symlink_to(tmp_path / "a.tif")
    for route in (
        f"../{link}/{stem}/1/0/0.png", f"{link}/../{stem}/1/0/0.png", f"{link}/{'0' * 16}/1/0/0.png", f"{link}/{stem}/99/0/0.png",
        f"{link}/{stem}/1/5/5.png", f"nobody/{stem}/1/0/0.png", f"{link}/{stem}/1/0/0.png/x", f"{link}/{stem.upper()}x/1/0/0.png",
    ):  # fmt: skip
        assert imagery.served_tile(route) is None
