"""Fields found in embeddings: pieces in one part, none too small, the drawn fields among them; and as files others read."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from tessera_core.analysis.segments import find_segments
from tessera_core.cli import main
from tessera_core.errors import InputError
from tessera_core.labels.files import patches
from tessera_core.project.fields import find_fields
from tessera_core.project.zone_maps import MapLayer, ZoneMaps
from tests.factories import make_grid, make_raster

FIELDS = np.repeat(np.repeat(np.arange(9).reshape(3, 3), 12, 0), 15, 1)


@pytest.fixture(scope="module")
def raster():
    """Nine fields of 12 x 15 pixels, with a hole in the data."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 16))[FIELDS] + 0.2 * rng.normal(size=(*FIELDS.shape, 16))
    return make_raster(x, make_grid(FIELDS.shape), empty=np.s_[:2, :3])


def test_the_drawn_fields_are_found(raster):
    found = find_segments(raster)
    assert (found == 0).sum() == 6
    assert found.max() == 9
    truth = np.where(raster.valid(), FIELDS + 1, 0)
    same = [len(np.unique(found[truth == k])) for k in range(1, 10)]
    assert same == [1] * 9
    np.testing.assert_array_equal(find_segments(raster), found)


def test_pieces_are_in_one_part_and_large_enough_however_noisy():
    noise = make_raster(np.random.default_rng(1).normal(size=(20, 25, 8)), make_grid((20, 25)), empty=np.s_[9:11, 1:])
    found = find_segments(noise, detail=1, smallest=15)
    counts = np.bincount(found.ravel())[1:]
    assert counts.min() >= 15
    assert patches(found).max() == len(counts)


def test_larger_detail_joins_more(raster):
    assert find_segments(raster, detail=1, smallest=1).max() > find_segments(raster, detail=1e9, smallest=1).max() == 1


def test_what_makes_no_sense_is_refused(raster):
    with pytest.raises(InputError, match="above 0"):
        find_segments(raster, detail=0)


def test_fields_are_polygons_without_gaps_with_the_class_of_most(raster, tmp_path):
    classes = np.where(FIELDS < 3, 1, 2).astype(np.uint8)
    maps = ZoneMaps(MapLayer.of_array(classes, raster.grid, {1: "Wheat", 2: "Maize"}))
    found = find_fields(raster, maps=maps)
    assert shapely.coverage_is_valid(found.outlines)
    assert sorted(found.table.column("main_class")) == ["Maize"] * 6 + ["Wheat"] * 3
    assert sum(found.table.column("area")) == pytest.approx(raster.valid().sum() / 100, rel=0.01)
    table = pq.read_table(found.write(tmp_path / "f.parquet"))
    assert table.num_rows == 9
    assert {"id", "area", "perimeter", "determination_method", "main_class"} <= set(table.column_names)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    assert geo["columns"]["geometry"]["bbox"][0] == pytest.approx(raster.grid.bounds_lonlat[0], abs=1e-4)
    assert json.loads(table.schema.metadata[b"fiboa"])["fiboa_version"] == "0.2.0"
    for ending in (".gpkg", ".geojson", ".csv"):
        assert found.write(tmp_path / f"f{ending}").stat().st_size > 500


def test_the_command_says_how_many(raster, tmp_path, capsys):
    raster.save(tmp_path / "e")
    out = str(tmp_path / "f.parquet")
    assert main(["segment", str(tmp_path / "e"), "--smallest", "0.5", "--out", out, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["fields"], result["hectares"]) == (9, pytest.approx(16.14, rel=0.01))
