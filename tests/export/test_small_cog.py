"""Files of one block are what GDAL's own COG driver would have written."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tessera_core.errors import ExportError
from tessera_core.export import geotiff, small_cog
from tessera_core.export.geotiff import Band, write_class_map, write_values
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.provenance import Provenance

V2 = Provenance("tessera", "2.0", "2B-L", year=2023)
CLASSES = [LabelClass(1, "Wood", "#ff0000"), LabelClass(2, "Wässer", "#0000ff")]


def told(path):
    """All that a reader sees of a raster but its pixels."""
    with rasterio.open(path) as file:
        structure = file.tags(ns="IMAGE_STRUCTURE")
        assert structure["LAYOUT"] == "COG"
        looks = file.colormap(1) if file.dtypes[0] == "uint8" and file.colorinterp[0].name == "palette" else None
        return {
            "profile": {k: repr(v) for k, v in file.profile.items() if k not in ("blockxsize", "blockysize", "tiled")},
            "tags": file.tags(),
            "band": file.tags(1),
            "said": (file.descriptions, file.units, looks, file.overviews(1)),
        }


def of_gdal(path, values, grid, look):
    profile = geotiff._profile(grid.shape, values.dtype.name, grid.crs, grid.transform, look)
    with rasterio.open(path, "w", driver="COG", **profile, **look.options()) as file:
        file.write(values, 1)
        look.onto(file)


@settings(max_examples=5, deadline=None)
# The edges: one pixel, one block exactly, lines of one pixel, each kind of place and of numbers.
@example(shape=(1, 1), corner=(3e5, 4e6), step=(10, 0, 0, -10), crs="EPSG:32631", kind="uint8", seed=0)
@example(shape=(512, 512), corner=(-2e7, 2e7), step=(0.1, 0, 0, -0.25), crs="EPSG:4326", kind="float32", seed=1)
@example(shape=(1, 512), corner=(0, 0), step=(10, 0, 0, 10), crs="EPSG:32755", kind="float32", seed=2)
@example(shape=(512, 1), corner=(2e7, -2e7), step=(8, 3, 3, -8), crs="EPSG:32631", kind="uint8", seed=3)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    corner=st.tuples(st.floats(-2e7, 2e7), st.floats(-2e7, 2e7)),
    step=st.sampled_from([(10, 0, 0, -10), (0.1, 0, 0, -0.25), (10, 0, 0, 10), (8, 3, 3, -8)]),
    crs=st.sampled_from(["EPSG:32631", "EPSG:32755", "EPSG:4326"]),
    kind=st.sampled_from(["uint8", "float32"]),
    seed=st.integers(0, 9),
)
def test_readers_see_what_gdal_would_have_written(tmp_path_factory, shape, corner, step, crs, kind, seed):
    folder = tmp_path_factory.mktemp("cog")
    a, b, d, e = step
    grid = Grid(crs, Affine(a, b, corner[0], d, e, corner[1]), shape)
    values = np.random.default_rng(seed).integers(0, 3, shape).astype(kind)
    colours = ((0, (0, 0, 0, 0)), (1, (255, 0, 0, 255))) if kind == "uint8" else ()
    nodata = "0.0" if kind == "uint8" else "nan"
    look = geotiff._Look(("class", "m"), (("tessera_a", "ä <&>"),), (("class_1", "Wood"),), colours, nodata, "MODE")
    ours, theirs = folder / "ours.tif", folder / "theirs.tif"
    ours.write_bytes(geotiff._small_file(values, grid, look))
    of_gdal(theirs, values, grid, look)
    assert told(ours) == told(theirs)
    with rasterio.open(ours) as file:
        np.testing.assert_array_equal(file.read(1), values)
        assert file.block_shapes == [(small_cog.block_side(shape),) * 2]
    # What a validator of COGs looks at: the directory first, then the one block with its length around it, then nothing.
    data = ours.read_bytes()
    entries = small_cog._entries(data)
    at, length = entries[324][2], entries[325][2]
    assert data.startswith(b"II*\0")
    assert b"LAYOUT=IFDS_BEFORE_DATA" in data[8:192]
    assert int.from_bytes(data[4:8], "little") < 300 < at
    assert int.from_bytes(data[at - 4 : at], "little") == length
    assert data[at + length :] == data[at + length - 4 : at + length]
    assert len(data) == at + length + 4


def test_a_file_does_not_depend_on_those_before_it(tmp_path):
    """The template is of all tiles alike, so whichever comes first, in whichever process, the bytes are the same."""
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 3, (20, 30)).astype(np.uint8) for _ in range(3)]
    grids = [Grid("EPSG:32631", Affine(10, 0, 3e5 + n, 0, -10, 4e6 - n), (20, 30)) for n in range(3)]
    for order, name in ((range(3), "a"), (reversed(range(3)), "b")):
        geotiff._template.cache_clear()
        for n in order:
            write_class_map(tmp_path / f"{name}{n}.tif", maps[n], None, grids[n], CLASSES, V2)
    assert geotiff._template.cache_info().currsize == 1
    for n in range(3):
        assert (tmp_path / f"a{n}.tif").read_bytes() == (tmp_path / f"b{n}.tif").read_bytes()


def test_numbers_without_data_stay_so(tmp_path):
    values = np.array([[1.5, np.nan], [-np.inf, 0]], np.float32)
    grid = Grid("EPSG:32631", Affine(10, 0, 3e5, 0, -10, 4e6), (2, 2))
    write_values(tmp_path / "v.tif", values, grid, V2, Band("height", "m"))
    with rasterio.open(tmp_path / "v.tif") as file:
        np.testing.assert_array_equal(file.read(1), values)
        assert np.isnan(file.nodata)
        assert file.read(1, masked=True).mask.tolist() == [[False, True], [False, False]]


def test_another_kind_of_tiff_is_no_template(tmp_path):
    with rasterio.open(
        tmp_path / "plain.tif", "w", driver="GTiff", height=600, width=2, count=1, dtype="uint8"
    ) as file:
        file.write(np.ones((1, 600, 2), np.uint8))
    for data in ((tmp_path / "plain.tif").read_bytes(), b"II*\0"):
        with pytest.raises(ExportError, match="one block"):
            small_cog.Template.of(data)
