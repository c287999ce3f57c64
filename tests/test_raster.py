import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tessera_core.errors import ExportError, GridError, RasterError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData, dequantise, valid_scales
from tests.factories import make_grid

V2 = Provenance("tessera", "2.0", "2B-L", year=2023)


def make(height=7, width=9, dim=5, seed=0, provenance=V2, reasons=None):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-127, 128, (height, width, dim)).astype(np.int8)
    scales = rng.uniform(0.01, 0.1, (height, width)).astype(np.float32)
    scales.flat[5::11] = [np.nan, np.inf, 0, -1][seed % 4]
    grid = make_grid((height, width))
    return EmbeddingRaster(codes, scales, grid, provenance, reasons)


@given(
    hnp.arrays(np.int8, (3, 4, 6)),
    hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)),
)
@settings(deadline=None)
def test_value_is_code_times_scale_and_nan_without_data(codes, scales):
    with np.errstate(over="ignore"):
        got = dequantise(codes, scales)
        assert got.dtype == np.float32
        for index in np.ndindex(3, 4):
            if np.isfinite(scales[index]) and scales[index] > 0:
                np.testing.assert_array_equal(got[index], codes[index].astype(np.float32) * scales[index])
            else:
                assert np.isnan(got[index]).all()


@pytest.mark.parametrize("seed", range(4))
def test_every_way_to_say_no_data_is_no_data(seed):
    raster = make(seed=seed)
    np.testing.assert_array_equal(raster.valid().ravel(), np.arange(63) % 11 != 5)
    np.testing.assert_array_equal(raster.valid(slice(2, 4)), raster.valid()[2:4])
    np.testing.assert_array_equal(valid_scales(raster.scales), raster.valid())


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 2000))
@settings(deadline=None)
def test_blocks_cover_all_rows_once_within_their_budget(height, width, dim, budget):
    raster = make(height, width, dim)
    rows = []
    for part, block in raster.blocks(budget):
        assert block.shape == (part.stop - part.start, width, dim)
        assert block.nbytes <= budget or part.stop - part.start == 1
        np.testing.assert_array_equal(block, dequantise(raster.codes[part], raster.scales[part]))
        rows += range(part.start, part.stop)
    assert rows == list(range(height))


@given(st.lists(st.tuples(st.floats(-3, 12), st.floats(-3, 12)), max_size=20))
@settings(deadline=None)
def test_a_sample_is_the_pixel_under_the_place(places):
    raster = make()
    rows, cols = [p[0] for p in places], [p[1] for p in places]
    got = raster.sample(rows, cols)
    assert got.shape == (len(places), 5)
    for (row, col), vector in zip(places, got, strict=True):
        if 0 <= row < 7 and 0 <= col < 9:
            r, c = int(row), int(col)
            np.testing.assert_array_equal(vector, dequantise(raster.codes[r, c], raster.scales[r, c]))
        else:
            assert np.isnan(vector).all()


def test_samples_at_places_in_degrees():
    raster = make()
    lon, lat = raster.grid.pixel_to_lonlat([2.5, 3.5], [4.5, 5.5])
    np.testing.assert_array_equal(raster.sample_lonlat(lon, lat), raster.sample([2, 3], [4, 5]))
    assert np.isnan(raster.sample_lonlat([200, np.nan], [95, 0])).all()
    assert raster.sample(3, 4).shape == (1, 5)


def test_a_prefix_is_another_dataset_with_the_same_values():
    raster = make()
    short = raster.prefix(3)
    assert short.provenance.dataset == "tessera 2.0/2B-L (3-d)"
    np.testing.assert_array_equal(short.sample([1], [2])[0], raster.sample([1], [2])[0, :3])
    for dim in (0, -1, 6):
        with pytest.raises(RasterError, match="prefix"):
            raster.prefix(dim)


def test_reasons_agree_with_the_scales():
    raster = make()
    assert set(np.unique(raster.nodata_reasons())) == {NoData.VALID, NoData.UNKNOWN}
    reasons = np.full((7, 9), NoData.WATER, np.uint8)
    with_reasons = make(reasons=reasons)
    got = with_reasons.nodata_reasons()
    np.testing.assert_array_equal(got == NoData.WATER, ~raster.valid())
    np.testing.assert_array_equal(got == NoData.VALID, raster.valid())


def test_the_arrays_cannot_be_changed():
    raster = make()
    with pytest.raises(ValueError, match="read-only"):
        raster.codes[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        raster.scales[0, 0] = 1


@pytest.mark.parametrize(
    ("codes", "scales", "shape", "match"),
    [
        (np.zeros((3, 4, 5), np.uint8), np.ones((3, 4)), (3, 4), "must be int8"),
        (np.zeros((3, 4), np.int8), np.ones((3, 4)), (3, 4), "must be int8"),
        (np.zeros((3, 4, 5), np.int8), np.ones((4, 3)), (3, 4), "do not belong together"),
        (np.zeros((3, 4, 5), np.int8), np.ones((3, 4, 1)), (3, 4), "do not belong together"),
        (np.zeros((3, 4, 5), np.int8), np.ones((3, 4)), (4, 3), "The grid is"),
        (np.zeros((3, 4, 0), np.int8), np.ones((3, 4)), (3, 4), "at least one dimension"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(codes, scales, shape, match):
    with pytest.raises(RasterError, match=match):
        EmbeddingRaster(codes, scales, Grid.local(shape), V2)


def test_reasons_of_another_shape_are_refused():
    with pytest.raises(RasterError, match="reasons"):
        make(reasons=np.zeros((3, 3), np.uint8))


def test_provenance_knows_the_dimension():
    assert make().provenance.dim == 5


@pytest.mark.parametrize("reasons", [None, np.full((7, 9), 3, np.uint8)])
def test_saved_and_opened_it_is_the_same_and_stays_on_disk(tmp_path, reasons):
    raster = make(reasons=reasons)
    raster.save(tmp_path / "r")
    again = EmbeddingRaster.open(tmp_path / "r")
    np.testing.assert_array_equal(again.codes, raster.codes)
    np.testing.assert_array_equal(again.scales, raster.scales)
    np.testing.assert_array_equal(again.nodata_reasons(), raster.nodata_reasons())
    assert (again.grid, again.provenance) == (raster.grid, raster.provenance)
    assert isinstance(again.codes, np.memmap)
    again.save(tmp_path / "r")
    np.testing.assert_array_equal(EmbeddingRaster.open(tmp_path / "r").codes, raster.codes)


def damage(folder, what):
    header = json.loads((folder / "raster.json").read_text())
    if what == "no header":
        (folder / "raster.json").unlink()
    elif what == "no json":
        (folder / "raster.json").write_text("{")
    elif what == "list":
        (folder / "raster.json").write_text("[1]")
    elif what == "format":
        (folder / "raster.json").write_text(json.dumps(header | {"format": "x/9"}))
    elif what == "no grid":
        (folder / "raster.json").write_text(json.dumps({k: v for k, v in header.items() if k != "grid"}))
    elif what == "no provenance":
        (folder / "raster.json").write_text(json.dumps({k: v for k, v in header.items() if k != "provenance"}))
    elif what == "no codes":
        (folder / "codes.npy").unlink()
    elif what == "short":
        (folder / "codes.npy").write_bytes((folder / "codes.npy").read_bytes()[:-1])
    elif what == "nodata shape":
        np.save(folder / "nodata.npy", np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize(
    "what",
    ["no header", "no json", "list", "format", "no grid", "no provenance", "no codes", "short", "nodata shape"],
)
def test_a_damaged_folder_is_one_sentence(tmp_path, what):
    make().save(tmp_path / "r")
    damage(tmp_path / "r", what)
    with pytest.raises((RasterError, GridError)) as caught:
        EmbeddingRaster.open(tmp_path / "r")
    assert "\n" not in str(caught.value)


def test_saving_where_a_file_stands_in_the_way(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError):
        make().save(tmp_path / "file" / "r")


@pytest.mark.parametrize("ours", [True, False])
def test_of_many_folders_the_one_that_is_wrong_is_named(tmp_path: Path, ours: bool) -> None:
    folder = tmp_path / "tile-7"
    make().save(folder)
    if ours:
        np.save(folder / "codes.npy", np.zeros((2, 2, 3), np.int8))
        np.save(folder / "scales.npy", np.ones((2, 2), np.float32))
    else:
        header = json.loads((folder / "raster.json").read_text())
        (folder / "raster.json").write_text(json.dumps(header | {"provenance": 3}))
    with pytest.raises(RasterError, match="tile-7: The"):
        EmbeddingRaster.open(folder)
