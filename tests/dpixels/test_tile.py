"""The tile directory: what is read, what is refused and with which sentence."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.dpixels.tile import DPixelTile, create_tile, find_tiles, write_tile
from tessera_core.errors import InputError, TileError
from tessera_core.grid import Grid

GRID = Grid("EPSG:32631", Affine(10, 0, 500000, 0, -10, 5800000), (4, 5))


def arrays(dates: int = 6, asc: int = 3, desc: int = 2, shape: tuple[int, int] = (4, 5), seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "bands": rng.integers(1, 9000, (dates, *shape, 10)).astype(np.uint16),
        "masks": rng.integers(0, 2, (dates, *shape)).astype(np.uint8),
        "doys": np.sort(rng.integers(1, 367, dates)).astype(np.uint16),
        "sar_asc": rng.integers(0, 9000, (asc, *shape, 2)).astype(np.int16),
        "doys_asc": np.sort(rng.integers(1, 367, asc)).astype(np.int16),
        "sar_desc": rng.integers(0, 9000, (desc, *shape, 2)).astype(np.int16),
        "doys_desc": np.sort(rng.integers(1, 367, desc)).astype(np.int16),
    }


@pytest.fixture
def tile(tmp_path: Path) -> Path:
    return write_tile(tmp_path / "t", grid=GRID, meta={"year": 2023}, **arrays())


@settings(max_examples=15, deadline=None)
@given(
    dates=st.integers(1, 5),
    asc=st.integers(0, 3),
    desc=st.integers(0, 3),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
def test_what_is_written_is_read_back(tmp_path_factory, dates, asc, desc, shape, seed):
    given_arrays = arrays(dates, asc, desc, shape, seed)
    roi = np.random.default_rng(seed).random(shape) > 0.3
    grid = Grid(GRID.crs, GRID.transform, shape)
    folder = tmp_path_factory.mktemp("rt") / "tile_a"
    write_tile(folder, grid=grid, roi=roi, meta={"year": 2024, "note": "x"}, **given_arrays)
    tile = DPixelTile.open(folder)
    for name, value in given_arrays.items():
        np.testing.assert_array_equal(getattr(tile, name), value)
    np.testing.assert_array_equal(tile.roi, roi)
    assert (tile.grid, tile.year, tile.name, tile.meta["note"]) == (grid, 2024, "tile_a", "x")


def test_arrays_are_memory_mapped_and_read_only(tile):
    opened = DPixelTile.open(tile)
    assert isinstance(opened.bands, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        opened.bands[0] = 0


def test_observations_count_valid_steps(tmp_path):
    data = arrays()
    data["sar_asc"][:, 1, 1] = 0
    data["sar_desc"][:, 1, 1] = 0
    data["sar_asc"][0, 1, 1] = (0, 7)
    tile = DPixelTile.open(write_tile(tmp_path / "t", grid=GRID, **data))
    counts = tile.require_observations()
    np.testing.assert_array_equal(counts.s2, (data["masks"] != 0).sum(0))
    assert counts.s1[1, 1] == 1  # one polarisation is enough
    assert counts.s1[0, 0] == 5


def test_all_clouds_opens_but_cannot_be_generated_from(tmp_path):
    data = arrays(asc=0, desc=0)
    data["masks"][:] = 0
    tile = DPixelTile.open(write_tile(tmp_path / "cloudy", grid=GRID, **data))
    assert tile.observations().s2.max() == 0
    with pytest.raises(TileError, match="cloudy has not one valid observation"):
        tile.require_observations()


def test_observations_outside_the_roi_do_not_count(tmp_path):
    data = arrays()
    data["masks"][:, 0], data["sar_asc"][:, 0], data["sar_desc"][:, 0] = 0, 0, 0
    roi = np.zeros(GRID.shape, bool)
    roi[0] = True
    tile = DPixelTile.open(write_tile(tmp_path / "t", grid=GRID, roi=roi, **data))
    with pytest.raises(TileError, match="inside its region of interest"):
        tile.require_observations()


def resave(name: str, change):
    def damage(folder: Path) -> None:
        np.save(folder / name, change(np.load(folder / name)))

    return damage


def truncate(name: str):
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) - 50])

    return damage


def pickled(folder: Path) -> None:
    np.save(folder / "bands.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)


def set_first(value: int):
    def change(doys):
        doys = doys.astype(np.int32)
        doys[0] = value
        return doys

    return change


DAMAGES = {
    "missing bands": (lambda f: (f / "bands.npy").unlink(), r"bands\.npy is missing"),
    "missing masks": (lambda f: (f / "masks.npy").unlink(), r"masks\.npy is missing"),
    "missing doys": (lambda f: (f / "doys.npy").unlink(), r"doys\.npy is missing"),
    "missing orbit doys": (lambda f: (f / "sar_ascending_doy.npy").unlink(), r"sar_ascending_doy\.npy is missing"),
    "missing orbit values": (lambda f: (f / "sar_descending.npy").unlink(), r"sar_descending\.npy is missing"),
    "nine bands": (resave("bands.npy", lambda a: a[..., :9]), r"has 9 bands; it must have the 10"),
    "three axes": (resave("bands.npy", lambda a: a[0]), r"it must be \(dates, height, width, 10\)"),
    "masks of another shape": (resave("masks.npy", lambda a: a[:, :3]), r"masks\.npy .* not of one tile"),
    "fewer masks": (resave("masks.npy", lambda a: a[:-1]), r"masks\.npy .* not of one tile"),
    "fewer doys": (resave("doys.npy", lambda a: a[:-1]), r"doys\.npy .* 6 dates"),
    "sar of another shape": (resave("sar_ascending.npy", lambda a: a[:, :, :2]), r"covers 4 x 2 pixels"),
    "one polarisation": (resave("sar_ascending.npy", lambda a: a[..., :1]), r"2 for VV and VH"),
    "truncated": (truncate("bands.npy"), r"bands\.npy .* cut short"),
    "truncated masks": (truncate("masks.npy"), r"masks\.npy .* cut short"),
    "text": (lambda f: (f / "bands.npy").write_text("hello"), r"not a NumPy \.npy file"),
    "empty file": (lambda f: (f / "doys.npy").write_bytes(b""), r"not a NumPy \.npy file"),
    "pickle": (pickled, r"pickled Python objects, which are never loaded"),
    "bare pickle": (lambda f: (f / "masks.npy").write_bytes(pickle.dumps([1])), r"not a NumPy \.npy file"),
    "floats": (resave("bands.npy", lambda a: a.astype(np.float32)), r"float32 values"),
    "doy 0": (resave("doys.npy", set_first(0)), r"day of year 0 at position 0"),
    "doy 400": (resave("doys.npy", set_first(400)), r"day of year 400"),
    "sar doy 0": (resave("sar_ascending_doy.npy", set_first(0)), r"sar_ascending_doy\.npy .* day of year 0"),
    "bad meta": (lambda f: (f / "meta.json").write_text("{"), r"meta\.json .* not readable JSON"),
    "meta is a list": (lambda f: (f / "meta.json").write_text("[]"), r"meta\.json .* not a JSON object"),
    "bad roi": (lambda f: (f / "roi.tiff").write_text("no"), r"roi\.tiff cannot be read as a GeoTIFF"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_has_its_sentence(tile, damage):
    spoil, sentence = DAMAGES[damage]
    spoil(tile)
    with pytest.raises(TileError, match=sentence) as caught:
        DPixelTile.open(tile)
    assert "\n" not in str(caught.value)


def test_roi_of_another_shape(tile, tmp_path):
    other = Grid(GRID.crs, GRID.transform, (7, 7))
    write_tile(tmp_path / "o", grid=other, **arrays(shape=(7, 7)))
    (tile / "roi.tiff").write_bytes((tmp_path / "o" / "roi.tiff").read_bytes())
    with pytest.raises(TileError, match=r"roi\.tiff .* covers 7 x 7"):
        DPixelTile.open(tile)


def test_tolerated_variants(tile):
    (tile / "roi.tiff").rename(tile / "roi.tif")
    for name in ("sar_descending.npy", "sar_descending_doy.npy"):
        (tile / name).unlink()
    resave("sar_ascending_doy.npy", lambda a: a.astype(np.int32))(tile)
    resave("bands.npy", lambda a: np.asfortranarray(a.astype(">i4")))(tile)
    opened = DPixelTile.open(tile)
    assert opened.sar_desc.shape == (0, 4, 5, 2)
    assert opened.grid == GRID
    assert int(opened.bands[0, 0, 0, 0]) == int(arrays()["bands"][0, 0, 0, 0])


def test_zero_passes_may_have_any_shape(tile):
    np.save(tile / "sar_descending.npy", np.zeros((0, 868, 782, 2), np.int16))
    np.save(tile / "sar_descending_doy.npy", np.zeros(0, np.int16))
    assert DPixelTile.open(tile).sar_desc.shape == (0, 4, 5, 2)


def test_without_roi_the_grid_is_local_unless_our_meta_tells(tile):
    (tile / "roi.tiff").unlink()
    assert DPixelTile.open(tile).grid == GRID
    (tile / "meta.json").write_text(json.dumps({"crs": "EPSG:25832 (approx.)", "year": "2020"}))
    opened = DPixelTile.open(tile)
    assert not opened.grid.georeferenced
    assert (opened.roi, opened.year) == (None, 2020)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), create_tile(tmp_path / "t", GRID, [1], [], []):
        raise RuntimeError
    with pytest.raises(TileError, match="sar_asc is missing"):
        write_tile(tmp_path / "t", grid=GRID, **(arrays() | {"sar_asc": None}))
    with pytest.raises(TileError, match="day of year 400"):
        write_tile(tmp_path / "t", grid=GRID, **(arrays() | {"doys": np.full(6, 400)}))
    assert list(tmp_path.iterdir()) == []


def test_find_tiles(tile, tmp_path):
    assert find_tiles(tile) == [tile]
    second = write_tile(tmp_path / "deep" / "b", grid=GRID, **arrays())
    hidden = tmp_path / ".c.1.part"
    hidden.mkdir()
    (hidden / "bands.npy").write_bytes(b"x")
    assert find_tiles(tmp_path) == [second, tile]
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, sentence in (
        (empty, "no d-pixel tile"),
        (empty / "x", "does not exist"),
        (tile / "doys.npy", "is a file"),
    ):
        with pytest.raises(TileError, match=sentence):
            find_tiles(path)
    with pytest.raises(TileError, match="not a d-pixel tile"):
        DPixelTile.open(empty)
    assert issubclass(TileError, InputError)


def test_real_tiles(shared):
    belgium = DPixelTile.open(shared / "data/belgium-2018/dpixel")
    counts = belgium.observations()
    assert (belgium.year, belgium.grid.crs, belgium.sar_desc.shape) == (2018, "EPSG:32631", (0, 64, 64, 2))
    assert (counts.s2.min(), counts.s2.max(), counts.s1.max()) == (39, 61, 109)
    cambridge = DPixelTile.open(shared / "data/cambridge-dpixel/dpixel")
    assert (cambridge.shape, cambridge.grid.georeferenced, len(cambridge.doys_desc)) == ((1, 1), False, 98)
    assert len(find_tiles(shared / "data/treesatai-stand")) == 1
    for path in find_tiles(shared / "golden"):
        DPixelTile.open(path)
