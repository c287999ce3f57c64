"""Reference labels and the plain baseline."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

from tessera_core.assess.baseline import raw_medians
from tessera_core.assess.evaluate import CrossValidation, evaluate
from tessera_core.assess.reference import read_reference
from tessera_core.dpixels.seasons import interpolate
from tessera_core.dpixels.tile import DPixelTile, write_tile
from tessera_core.errors import LabelError
from tessera_core.export.geotiff import write_class_map
from tessera_core.heads import make_head
from tessera_core.labels.model import LabelClass
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_grid

GRID = make_grid((20, 30))


def write_raster(path, values):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=values.dtype,
        count=1,
        height=20,
        width=30,
        crs=GRID.crs,
        transform=GRID.transform,
    ) as file:
        file.write(values, 1)
    return path


def test_codes_above_254_become_dense_ids_with_the_code_as_name(tmp_path):
    values = np.zeros((20, 30), np.uint16)
    values[:5], values[8:12, :10], values[8:12, 20:] = 1200, 9120, 9120
    reference = read_reference(write_raster(tmp_path / "ct.tif", values), GRID)
    assert reference.names == {1: "1200", 2: "9120"}
    assert len(reference.y) == 150 + 80
    assert len(np.unique(reference.groups)) == 3
    only = reference.only(["9120"])
    assert set(only.y) == {2}
    assert [c.name for c in only.classes] == ["9120"]
    np.testing.assert_array_equal(values[only.rows, only.cols], 9120)
    with pytest.raises(LabelError, match="no class '7' among the labels; there are 1200, 9120"):
        reference.only(["7"])


def test_small_codes_keep_their_ids(tmp_path):
    values = np.zeros((20, 30), np.uint8)
    values[:5], values[10:] = 7, 30
    reference = read_reference(write_raster(tmp_path / "lc.tif", values), GRID)
    assert reference.names == {7: "7", 30: "30"}
    assert len({c.color for c in reference.classes}) == 2


def test_our_own_maps_bring_their_names_and_colours(tmp_path):
    values = np.zeros((20, 30), np.uint8)
    values[:5], values[10:] = 7, 30
    known = [LabelClass(7, "maize", "#aabbcc"), LabelClass(30, "grass", "#112233")]
    path = write_class_map(tmp_path / "map.tif", values, None, GRID, known, Provenance())
    reference = read_reference(path, GRID)
    assert [(c.id, c.name, c.color, c.code) for c in reference.classes] == [
        (7, "maize", "#aabbcc", "7"),
        (30, "grass", "#112233", "30"),
    ]
    assert len(reference.only(["grass"]).y) == len(reference.only(["30"]).y) == 300


def test_too_many_classes_are_no_classes(tmp_path):
    values = np.arange(600, dtype=np.uint16).reshape(20, 30)
    with pytest.raises(LabelError, match="599 classes, a map holds 254"):
        read_reference(write_raster(tmp_path / "dem.tif", values), GRID)


def test_polygons_are_groups_and_pixels_without_data_are_left_out(tmp_path):
    def square(name, row, col):
        rows, cols = [row, row, row + 4, row + 4, row], [col, col + 4, col + 4, col, col]
        lon, lat = GRID.pixel_to_lonlat(rows, cols)
        ring = [[float(a), float(b)] for a, b in zip(lon, lat, strict=True)]
        return {
            "type": "Feature",
            "properties": {"crop": name},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }

    path = tmp_path / "fields.geojson"
    features = [square("maize", 2, 2), square("grass", 2, 12), square("maize", 12, 2)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    reference = read_reference(path, GRID, "crop")
    assert sorted(reference.names.values()) == ["grass", "maize"]
    assert list(np.bincount(reference.groups)) == [16, 16, 16]
    scales = np.ones((20, 30), np.float32)
    scales[2, 2] = np.nan
    raster = EmbeddingRaster(np.ones((20, 30, 8), np.int8), scales, GRID, Provenance(dim=8))
    samples = reference.with_embeddings(raster)
    assert samples.ignored == 1
    assert len(samples.y) == 47
    empty = EmbeddingRaster(np.ones((20, 30, 8), np.int8), np.zeros((20, 30), np.float32), GRID, Provenance(dim=8))
    with pytest.raises(LabelError, match="Not one labelled pixel lies where there are data"):
        reference.with_embeddings(empty)


def test_gaps_are_interpolated_along_time():
    series = np.array([np.nan, 1, np.nan, np.nan, 7, np.nan], np.float32)[:, None, None]
    times = np.array([0, 1, 2, 4, 7, 8], np.float32)
    np.testing.assert_allclose(interpolate(series, times)[:, 0, 0], [1, 1, 2, 4, 7, 7])
    assert np.isnan(interpolate(np.full((3, 1, 1), np.nan, np.float32), times[:3])).all()


def test_medians_use_clear_dates_only(tmp_path):
    rng = np.random.default_rng(0)
    doys = np.array([5, 10, 15, 40, 45])
    bands = rng.integers(1, 9000, (5, 20, 30, 10)).astype(np.uint16)
    masks = np.ones((5, 20, 30), np.uint8)
    masks[1] = 0
    sar = rng.integers(1, 9000, (2, 20, 30, 2)).astype(np.int16)
    sar[0, 0, 0] = 0
    tile = DPixelTile.open(
        write_tile(
            tmp_path / "t", bands=bands, masks=masks, doys=doys, grid=GRID, sar_asc=sar, doys_asc=np.array([1, 2])
        )
    )
    got = raw_medians(tile, np.array([0, 3]), np.array([0, 4]))
    assert got.shape == (2, 2 * 10 + 2)
    np.testing.assert_allclose(got[1, :10], np.median(bands[[0, 2], 3, 4], axis=0))
    np.testing.assert_allclose(got[0, 10:20], np.median(bands[[3, 4], 0, 0], axis=0))
    np.testing.assert_allclose(got[0, 20:], sar[1, 0, 0])
    np.testing.assert_allclose(got[1, 20:], sar[:, 3, 4].mean(axis=0))


def test_belgian_fields_reproduce_the_published_baseline(shared):
    """The data's README: whole fields held out, kNN .850, random forest .894 macro-F1; random split .968."""
    folder = shared / "data/belgium-2018/dpixel"
    tile = DPixelTile.open(folder)
    reference = read_reference(folder / "labels_ct.tif", tile.grid).only(["1200", "9120"])
    assert [np.sum(reference.y == i) for i in np.unique(reference.y)] == [1249, 835]
    assert len(np.unique(reference.groups)) == 13
    values = raw_medians(tile, reference.rows, reference.cols)
    assert values.shape == (2084, 132)
    samples = reference.with_matrix(values)
    nearest = evaluate(samples, make_head("knn"))
    assert nearest["macro_f1"] == pytest.approx(0.850, abs=0.02)
    assert nearest["naive"]["macro_f1"] == pytest.approx(0.968, abs=0.01)
    forest = evaluate(samples, make_head("forest"), CrossValidation(naive=False))
    assert forest["macro_f1"] == pytest.approx(0.894, abs=0.02)
