"""A folder of maps made tile by tile, as one: areas, pictures where tiles lie on Earth, how much is read, strangers' notes."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyproj.exceptions import ProjError

from tessera_core import Provenance
from tessera_core.areas import hectares
from tessera_core.cli import info, main
from tessera_core.errors import Cancelled, InputError, TesseraError
from tessera_core.export.geotiff import write_class_map
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.project import library, map_folder_pictures
from tessera_core.project.map_folder_pictures import draw, draw_tile
from tessera_core.project.map_folder_tiles import MapTile
from tessera_core.project.map_folders import MapFolder, open_maps
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
    # The head lies there too.
    item, *_ = json.loads(capsys.readouterr().out)["items"]
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
    monkeypatch.setattr(map_folder_pictures, "READ_PIXELS", 3 * 512**2)
    drawn = draw(maps)
    assert (drawn.drawn, drawn.unread) == (3, ("t3",))
    # Of a picture of few pixels, smaller copies in the files are read.
    monkeypatch.setattr(map_folder_pictures, "MAX_PIXELS", 4 * 64 * 64)
    monkeypatch.setattr(map_folder_pictures, "_LEAST", 1)
    put(tmp_path / "maps", "t4", square(500_000 + 5_120 * 4, 5_600_000, side=1100), np.ones((1100, 1100), np.uint8))
    maps = open_maps(tmp_path / "maps")
    monkeypatch.setattr(map_folder_pictures, "READ_PIXELS", 4 * 512**2 + 600**2)
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
    assert [one.what for one in maps.failed] == ["b", "c", "e"]
    assert maps.areas()[1].hectares is None
    drawn = draw(maps)
    assert not drawn.failed
    assert (drawn.nowhere, drawn.drawn) == (("f",), 2)
    with pytest.raises(InputError, match="no maps made tile by tile"):
        open_maps(tmp_path)
    (folder / "e.json").write_text((folder / "e.json").read_text().replace("map-tile/1", "change-tile/2"))
    assert {one.what for one in open_maps(folder).failed} == {"b", "c", "e"}


def test_a_tile_astray_is_drawn_and_does_not_rule_the_first_view(folder: Path) -> None:
    meant = draw(open_maps(folder)).view
    # On the other side of the Earth from its zone, which is what a slip in a coordinate does.
    put(folder, "slip", square(500_000, -5_600_000), np.ones((8, 8), np.uint8))
    drawn = draw(open_maps(folder))
    assert [one.tiles for one in drawn.pictures if one.astray] == [("slip",)]
    assert drawn.view == meant
    for name in "abcd":
        (folder / f"{name}.json").unlink()
    alone = draw(open_maps(folder))
    assert alone.view == alone.pictures[0].picture.lonlat


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "astray"),
    [
        ("EPSG:32631", 3, 50, False),
        ("EPSG:32631", 8, -5, False),
        ("EPSG:32631", -8, 50, False),
        ("EPSG:32631", 17, 50, True),
        ("EPSG:32631", -12, 50, True),
        ("EPSG:32631", 3, -50, True),
        # Its area lies at the 180th meridian.
        ("EPSG:32601", 179, 10, False),
        ("EPSG:32660", -178, 10, False),
        # One across it.
        ("EPSG:2193", -175, -40, False),
        ("EPSG:2193", 100, -40, True),
        ("EPSG:4326", 170, 80, False),
        ("EPSG:3857", -170, -80, False),
    ],
)
def test_far_from_the_ground_of_its_system_is_astray(crs: str, lon: float, lat: float, astray: bool) -> None:
    assert map_folder_pictures._astray(crs, (lon - 0.1, lat - 0.1, lon + 0.1, lat + 0.1)) == astray


def test_a_tile_of_another_head_counts_nowhere(folder: Path) -> None:
    for name in ("a", "d"):
        renamed = LabelClass(1, "Heath", "#850b62")
        with rasterio.open(folder / f"{name}.tif") as file:
            classes = file.read(1)
        grid = Grid.from_json(json.loads((folder / f"{name}.json").read_text())["grid"])
        write_class_map(folder / f"{name}.tif", classes, None, grid, [renamed, LEGEND[1]], STAMP)
    maps = open_maps(folder)
    # The last one has no pixel of the class, so it is right where it counts.
    assert ([one.what for one in maps.failed], [c.name for c in maps.legend]) == (["a"], ["Wood", "Water <b>"])
    assert "maps of different heads" in maps.failed[0].why
    assert {i: area.pixels for i, area in maps.areas().items()} == {0: 0, 1: 128, 3: 64}
    assert draw(maps).drawn == 3


def test_shares_are_of_the_ground_and_none_is_all_or_nothing_that_is_not(folder: Path) -> None:
    wide = Grid("EPSG:32631", Affine(100, 0, 510_000, 0, -100, 5_600_000), (8, 8))
    put(folder, "e", wide, np.full((8, 8), 3, np.uint8), hectares={"1": 0.0, "3": 64.0})
    areas = open_maps(folder).areas()
    assert areas[3].share == pytest.approx((64 + 0.32 + 0.64) / (64 + 4 * 0.64 - 0.01))
    assert areas[1].share + areas[3].share == pytest.approx(1)
    put(folder, "f", Grid.local((8, 8)), np.ones((8, 8), np.uint8), hectares={"1": None, "3": None})
    assert open_maps(folder).areas()[1].share == pytest.approx((31 + 3 * 64) / (6 * 64 - 1))
    few = np.ones((400, 400), np.uint8)
    few[0, 0] = 3
    put(folder.parent / "few", "a", square(500_000, 5_600_000, side=400), few)
    assert [text.partition("(")[2] for text in open_maps(folder.parent / "few").sentences()[1:3]] == [
        ">99.99 %).",
        "<0.01 %).",
    ]


WRONG = {
    "more pixels than there are": {"classes": {"1": 10**15}, "hectares": {"1": 10.0**13}},
    "fewer": {"classes": {"1": 63}, "hectares": {"1": 0.63}},
    "so many that no number holds them": {"classes": {"1": 10**400}, "hectares": {"1": None}},
    "no hectares": {"classes": {"1": 64}, "hectares": {}},
    "none said": {"classes": {"1": 64}, "hectares": {"1": None}},
    "other hectares": {"classes": {"1": 64}, "hectares": {"1": 64.0}},
    "more change than pixels": {"format": "tessera-change-tile/2", "pixels": 8, "changed": 9, "hectares": 0.09},
}


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG)
def test_a_note_that_does_not_fit_its_own_grid_is_counted_as_unreadable(tmp_path: Path, said: dict[str, Any]) -> None:
    put(tmp_path / "m", "a", square(500_000, 5_600_000), np.ones((8, 8), np.uint8))
    put(tmp_path / "m", "b", square(500_080, 5_600_000), np.ones((8, 8), np.uint8))
    note = tmp_path / "m" / "b.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | said))
    maps = open_maps(tmp_path / "m")
    assert ([one.what for one in maps.failed], maps.areas()[1].pixels) == (["b"], 64)


def test_a_name_that_is_no_text_is_shown_as_one(folder: Path) -> None:
    for number, name in enumerate((b"caf\xe9", b"caf\xe8")):
        for ending in (b".tif", b".json"):
            try:
                shutil.copy(folder / f"a{ending.decode()}", os.fsencode(folder) + b"/" + name + ending)
            except OSError:
                pytest.skip("This file system holds no such names.")
        if number:
            with open(os.fsencode(folder) + b"/" + name + b".json", "w") as file:
                file.write("{ cut short")
    maps = open_maps(folder)
    shown = [tile.name for tile in maps.tiles] + [text for one in maps.failed for text in one]
    assert {"caf\ufffd", "caf\ufffd (2)"} <= set(shown)
    assert "caf\ufffd.tif has a name or a folder that is not UTF-8; rename it to open it." in shown
    assert "\n".join(shown).encode()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


# Seconds by the clock say how busy the machine is, nothing about what is tested; the first example also loads libraries.
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    assert maps.sentences()
    assert all(area.hectares is None or area.hectares >= 0 for area in maps.areas().values())


SIDE = st.sampled_from([10.0, -10.0, 1000.0, 1e-3, 1e-9, 0.0, 1e5, 1e12, 1e300, np.inf, np.nan])
PLACE = st.sampled_from([0.0, 5e5, 5.6e6, -1.7e7, 2e7, 89.9, -93.0, 400.0, 9.9e8, 1e300, np.inf, np.nan])
SYSTEMS = [
    "EPSG:32631",
    "EPSG:4326",
    "EPSG:5041",
    "EPSG:2154",
    "EPSG:5773",
    "IAU_2015:30100",
    'LOCAL_CS["x",UNIT["m",1]]',
    None,
]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    t=st.tuples(SIDE, st.sampled_from([0.0, 0.0, 3.0, 1e9]), PLACE, st.sampled_from([0.0, 0.0, 3.0]), SIDE, PLACE),
    crs=st.sampled_from(SYSTEMS),
    shape=st.sampled_from([(1, 1), (8, 8), (1, 300)]),
    of=st.integers(0, 255),
)
# Pixels that are hairs, that are points where their system does not hold, and ground beyond the pole.
@example(t=(100.0, 0.0, 1e-9, 0.0, -1e-3, -24.7), crs="EPSG:4326", shape=(1, 1), of=1)
@example(t=(1e-9, 0.0, -3771042.2, 0.0, -1e5, 2e7), crs="EPSG:5041", shape=(1, 1), of=1)
@example(t=(-10.0, 0.0, 0.0, 0.0, -10.0, -93.0), crs="EPSG:4326", shape=(8, 8), of=1)
def test_a_map_and_a_note_that_agree_on_what_cannot_be_harm_no_other_tile(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    t: tuple[float, ...],
    crs: str | None,
    shape: tuple[int, int],
    of: int,
) -> None:
    for name in ("MAX_PIXELS", "TILE_PIXELS", "_LEAST"):
        monkeypatch.setattr(map_folder_pictures, name, 2000)
    folder = tmp_path_factory.getbasetemp() / "agree"
    if not folder.exists():
        put(folder, "good", square(500_000, 5_600_000), np.ones((8, 8), np.uint8))
    facts = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": shape[0], "width": shape[1]}
    try:
        with rasterio.open(folder / "bad.tif", "w", crs=crs, transform=Affine(*t), **facts) as file:
            file.write(np.full(shape, of, np.uint8), 1)
        with rasterio.open(folder / "bad.tif") as file:
            there = file.transform
        one = hectares(1, Grid(crs, there, shape))
    except (rasterio.errors.RasterioError, TesseraError, ValueError, ProjError):
        # Not even such a file can be made, or our own grid refuses it.
        return
    count = shape[0] * shape[1]
    covered = {} if not of else {str(of): None if one is None else count * one}
    note = {"format": "tessera-map-tile/1", "classes": {str(of): count}, "hectares": covered}
    grid = {"crs": crs, "transform": list(there)[:6], "shape": shape}
    (folder / "bad.json").write_text(json.dumps(note | {"grid": grid}))
    maps = open_maps(folder)
    assert "good" in {tile.name for tile in maps.tiles}
    assert len(maps.tiles) + len(maps.failed) == 2
    assert all(area.hectares is None or 0 <= area.hectares < np.inf for area in maps.areas().values())
    drawn = draw(maps)
    assert any("good" in one.tiles for one in drawn.pictures)
    assert drawn.drawn + len({*drawn.nowhere, *drawn.unread, *(one.what for one in drawn.failed)}) == len(maps.tiles)
    for tile in maps.tiles:
        picture = draw_tile(maps, tile)
        assert picture is None or np.isfinite([*picture.bounds, *picture.lonlat]).all()
        assert (picture is None) == (tile.name in drawn.nowhere)
    for place in ((3.0, 50.5), (0.0, 90.0), (-180.0, -90.0), (1e300, 0.0)):
        assert maps.at(*place) in (None, *maps.tiles)
    assert json.dumps(info._map_folder(folder), allow_nan=False)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-500, 500), st.integers(-500, 500), st.booleans()), min_size=1, max_size=60))
def test_every_tile_is_in_one_picture_of_its_own_system(places: list[tuple[int, int, bool]]) -> None:
    tiles = [
        MapTile(f"t{n}", Path("x"), square(1000 * x, 1000 * y, "EPSG:32631" if north else "EPSG:32731"), {}, {})
        for n, (x, y, north) in enumerate(places)
    ]
    groups = map_folder_pictures._groups(tiles)
    assert sorted(tile.name for group in groups for tile in group) == sorted(tile.name for tile in tiles)
    assert len(groups) <= map_folder_pictures.MOST_PICTURES
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
    maps = open_maps(folder)
    drawn = draw(maps)
    assert [one.what for one in maps.failed] == ["z"]
    assert drawn.drawn == 4
