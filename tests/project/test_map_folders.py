"""A folder of maps made tile by tile, as one: areas, pictures where tiles lie on Earth, how much is read, strangers' notes."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tessera_core import Provenance
from tessera_core.cli import main
from tessera_core.errors import Cancelled, InputError
from tessera_core.export.geotiff import write_class_map
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.project import library, map_folders
from tessera_core.project.map_folders import MapFolder, MapTile, draw, draw_tile, open_maps
from tests.project.countries import make_country

LEGEND = (LabelClass(1, "Wood", "#06480c"), LabelClass(3, "Water <b>", "#1658a8"))
STAMP = Provenance("studio", "nano", dim=16, year=2024)


def put(folder: Path, name: str, grid: Grid, classes: np.ndarray, **more: Any) -> None:
    """A tile's map and note."""
    folder.mkdir(exist_ok=True)
    write_class_map(folder / f"{name}.tif", classes, None, grid, LEGEND, STAMP)
    counts = np.bincount(classes.ravel(), minlength=4)
    note = {
        "format": "tessera-map-tile/1",
        "grid": grid.to_json(),
        "classes": {str(i): int(counts[i]) for i in (0, 1, 3)},
        "hectares": {str(i): float(counts[i] / 100) for i in (1, 3)},
    }
    (folder / f"{name}.json").write_text(json.dumps(note | more))


def square(x: float, y: float, crs: str = "EPSG:32631", side: int = 8) -> Grid:
    return Grid(crs, Affine(10, 0, x, 0, -10, y), (side, side))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tiles beside each other, one in the next zone, one south of the equator; the first is half water with a hole."""
    water = np.ones((8, 8), np.uint8)
    water[4:] = 3
    water[0, 0] = 0
    put(tmp_path / "maps", "a", square(500_000, 5_600_000), water)
    put(tmp_path / "maps", "b", square(500_080, 5_600_000), np.ones((8, 8), np.uint8))
    put(tmp_path / "maps", "c", square(500_000, 5_600_000, "EPSG:32632"), np.ones((8, 8), np.uint8))
    put(tmp_path / "maps", "d", square(500_000, 9_000_000, "EPSG:32731"), np.full((8, 8), 3, np.uint8))
    return tmp_path / "maps"


def test_what_is_said_is_what_the_command_says_in_every_zone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    country = make_country(tmp_path)
    words = ["map", country / "E", "--labels", country / "labels.geojson", "--tiles", country / "out", "--json"]
    assert main([str(word) for word in words]) == 0
    told = json.loads(capsys.readouterr().out)
    maps = open_maps(country / "out")
    areas = maps.areas()
    assert (maps.kind, len(maps.tiles), maps.failed) == ("map", 6, ())
    assert {c.id: c.name for c in maps.legend} == {one["id"]: one["name"] for one in told["classes"]}
    assert {i: area.pixels for i, area in areas.items() if i} == {one["id"]: one["pixels"] for one in told["classes"]}
    for one in told["classes"]:
        assert areas[one["id"]].hectares == pytest.approx(one["hectares"], abs=1e-3)
    assert (areas[0].pixels, sum(area.share for area in areas.values())) == (told["no_data"], pytest.approx(1))
    assert main(["info", str(country / "out"), "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert (item["kind"], item["tiles"], item["systems"]) == ("map-folder", 6, maps.systems)
    assert [one["hectares"] for one in item["classes"]] == [areas[i].hectares for i in areas if i]
    drawn = draw(maps)
    assert (drawn.drawn, drawn.failed, drawn.nowhere, drawn.unread) == (6, (), (), ())
    assert sorted(name for one in drawn.pictures for name in one.tiles) == sorted(tile.name for tile in maps.tiles)
    with pytest.raises(InputError, match="maps that were made tile by tile, and no embeddings"):
        library.identify(str(country / "out"))


def colours(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def test_tiles_lie_where_they_lie_in_their_colours(folder: Path) -> None:
    maps = open_maps(folder)
    drawn = draw(maps)
    assert [one.tiles for one in drawn.pictures] == [("a", "b"), ("c",), ("d",)]
    both = colours(drawn.pictures[0].picture.png)
    opaque = both[both[..., 3] > 0][:, :3]
    shares = {c.name: (opaque == [int(c.color[i : i + 2], 16) for i in (1, 3, 5)]).all(1).mean() for c in maps.legend}
    assert shares["Wood"] == pytest.approx(95 / 127, abs=0.03)
    assert sum(shares.values()) == pytest.approx(1)
    for tile in maps.tiles:
        lon, lat = (float(v) for v in tile.grid.pixel_to_lonlat(3.5, 4.5))
        assert maps.at(lon, lat) == tile
        picture = draw_tile(maps, tile)
        assert picture is not None
        assert picture.lonlat[0] < lon < picture.lonlat[2]
        assert picture.lonlat[1] < lat < picture.lonlat[3]
    assert maps.at(0.0, 0.0) is None


def test_however_many_pixels_there_are_no_more_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(4):
        put(tmp_path / "maps", f"t{n}", square(500_000 + 5_120 * n, 5_600_000, side=512), np.ones((512, 512), np.uint8))
    maps = open_maps(tmp_path / "maps")
    monkeypatch.setattr(map_folders, "READ_PIXELS", 3 * 512**2)
    drawn = draw(maps)
    assert (drawn.drawn, drawn.unread) == (3, ("t3",))
    # Of a picture of few pixels, smaller copies in the files are read.
    monkeypatch.setattr(map_folders, "MAX_PIXELS", 4 * 64 * 64)
    monkeypatch.setattr(map_folders, "_LEAST", 1)
    put(tmp_path / "maps", "t4", square(500_000 + 5_120 * 4, 5_600_000, side=1100), np.ones((1100, 1100), np.uint8))
    maps = open_maps(tmp_path / "maps")
    monkeypatch.setattr(map_folders, "READ_PIXELS", 4 * 512**2 + 600**2)
    drawn = draw(maps)
    assert (drawn.drawn, drawn.unread) == (5, ())
    assert sum(np.prod(colours(one.picture.png).shape[:2]) for one in drawn.pictures) < 2 * 4 * 64 * 64
    with pytest.raises(Cancelled):
        draw(maps, cancelled=lambda: True)


def test_what_is_damaged_or_another_programs_is_named_or_left_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "other.json").write_text('{"format": "something else"}')
    (folder / "head.json").write_text("{}")
    (folder / "list.json").write_text("[1, 2]")
    (folder / "b.json").write_text("{ cut short")
    (folder / "c.tif").write_bytes(b"II*\0 and no more")
    put(folder, "e", square(500_160, 5_600_000), np.ones((8, 8), np.uint8))
    shutil.copy(folder / "d.tif", folder / "e.tif")
    # One that lies nowhere on Earth has areas all the same.
    put(folder, "f", Grid.local((8, 8)), np.ones((8, 8), np.uint8), hectares={"1": None, "3": None})
    maps = open_maps(folder)
    assert [one.what for one in maps.failed] == ["b"]
    assert maps.areas()[1].hectares is None
    drawn = draw(maps)
    assert {one.what for one in drawn.failed} == {"e", "c"}
    assert (drawn.nowhere, drawn.drawn) == (("f",), 2)
    with pytest.raises(InputError, match="no maps made tile by tile"):
        open_maps(tmp_path)
    (folder / "e.json").write_text((folder / "e.json").read_text().replace("map-tile/1", "change-tile/2"))
    assert {one.what for one in open_maps(folder).failed} == {"b", "e"}
    renamed = LabelClass(1, "Heath", "#850b62")
    write_class_map(folder / "a.tif", np.ones((8, 8), np.uint8), None, square(500_000, 5_600_000), [renamed], STAMP)
    put(folder, "b", square(500_080, 5_600_000), np.ones((8, 8), np.uint8))
    assert any("maps of different heads" in one.why for one in draw(open_maps(folder)).failed)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40)
@given(key=st.sampled_from(["grid", "classes", "hectares", "format"]), value=ANYTHING, counted=st.booleans())
def test_whatever_a_note_says_the_other_tiles_are_there(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any, counted: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "notes"
    if not folder.exists():
        put(folder, "good", square(500_000, 5_600_000), np.ones((8, 8), np.uint8))
    note = json.loads((folder / "good.json").read_text())
    note[key] = {"1": value} if counted else value
    (folder / "bad.json").write_text(json.dumps(note))
    maps = open_maps(folder)
    assert "good" in {tile.name for tile in maps.tiles}
    assert all(area.hectares is None or area.hectares >= 0 for area in maps.areas().values())


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-500, 500), st.integers(-500, 500), st.booleans()), min_size=1, max_size=60))
def test_every_tile_is_in_one_picture_of_its_own_system(places: list[tuple[int, int, bool]]) -> None:
    tiles = [
        MapTile(f"t{n}", Path("x"), square(1000 * x, 1000 * y, "EPSG:32631" if north else "EPSG:32731"), {}, {})
        for n, (x, y, north) in enumerate(places)
    ]
    groups = map_folders._groups(tiles)
    assert sorted(tile.name for group in groups for tile in group) == sorted(tile.name for tile in tiles)
    assert len(groups) <= map_folders.MOST_PICTURES
    for group in groups:
        assert len({tile.grid.crs for tile in group}) == 1


def test_maps_of_change_are_seen_too(tmp_path: Path) -> None:
    found = {"format": "tessera-change-tile/2", "pixels": 60, "changed": 10, "hectares": 0.1}
    put(tmp_path / "maps", "a", square(500_000, 5_600_000), np.ones((8, 8), np.uint8), **found)
    maps = open_maps(tmp_path / "maps")
    assert isinstance(maps, MapFolder)
    areas = maps.areas()
    assert (maps.kind, [areas[i].pixels for i in (0, 1, 2)]) == ("change", [4, 50, 10])
    assert areas[2].hectares == pytest.approx(0.1)
    put(tmp_path / "maps", "b", square(500_080, 5_600_000), np.ones((8, 8), np.uint8))
    with pytest.raises(InputError, match="a folder of its own"):
        open_maps(tmp_path / "maps")


def test_a_virtual_raster_beside_the_tiles_is_not_opened(folder: Path) -> None:
    (folder / "map_32631.vrt").write_text("<VRTDataset><VRTRasterBand><SourceFilename>/etc/passwd</SourceFilename>")
    (folder / "z.json").write_text((folder / "a.json").read_text())
    (folder / "z.tif").write_text((folder / "map_32631.vrt").read_text())
    drawn = draw(open_maps(folder))
    assert [one.what for one in drawn.failed] == ["z"]
    assert drawn.drawn == 4
