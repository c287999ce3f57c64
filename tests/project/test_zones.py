"""Polygons in, table out: every feature has its line, areas are exact, and what is unsure is said."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from tessera_core.assess.designs import Sample, write_csv
from tessera_core.assess.small_area import MapErrors
from tessera_core.cli import main
from tessera_core.errors import InputError, LabelError, RasterError
from tessera_core.export.geotiff import Band, write_class_map, write_values
from tessera_core.export.zone_table import write_zone_table
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.project.zone_maps import MapLayer, ZoneMaps, open_layer
from tessera_core.project.zones import measure_zones, read_zones
from tessera_core.provenance import Provenance
from tests.factories import make_grid
from tests.gate.outside import write_tiff

GRID = make_grid((20, 30))
CLASSES = (LabelClass(1, "Wood", "#006400"), LabelClass(2, "Arable land", "#ffbb22"), LabelClass(3, "Water", "#1f78b4"))
NAMES = {c.id: c.name for c in CLASSES}


def place(left, top, right, bottom):
    """A box in columns and rows as a polygon on the ground."""
    (west, east), (north, south) = GRID.pixel_to_xy([top, bottom], [left, right])
    return shapely.box(west, south, east, north)


def save(path, shapes, crs=GRID.crs, **columns):
    pyogrio.raw.write(
        path,
        geometry=np.array([None if s is None else shapely.to_wkb(s) for s in shapes], object),
        field_data=[np.array(v, object) for v in columns.values()],
        fields=np.array(list(columns), object),
        crs=crs,
        geometry_type="Unknown",
        driver="GPKG" if str(path).endswith("gpkg") else "GeoJSON",
    )
    return path


@pytest.fixture
def maps():
    """Left half wood, right half arable, an empty row at the bottom; a year earlier all was wood."""
    classes = np.ones(GRID.shape, np.uint8)
    classes[:, 15:] = 2
    classes[-1] = 0
    confidence = np.where(classes == 0, 255, np.where(classes == 1, 80, 60)).astype(np.uint8)
    earlier = np.where(classes > 0, 1, 0).astype(np.uint8)
    return classes, confidence, earlier


def table_of(path, maps, **more):
    classes, confidence, earlier = maps
    given = ZoneMaps(
        MapLayer.of_array(classes, GRID, NAMES),
        MapLayer.of_array(confidence, GRID),
        MapLayer.of_array(earlier, GRID, NAMES),
        **more,
    )
    return measure_zones(read_zones(path, GRID), given)


def test_parts_of_pixels_count_and_no_feature_is_lost(tmp_path, maps):
    bow = shapely.Polygon([GRID.pixel_to_xy(r, c) for r, c in [(2, 2), (4, 4), (4, 2), (2, 4)]])
    shapes = [
        place(13, 2, 17.5, 4),
        place(-3, 0, 3, 2),
        place(100, 100, 101, 101),
        place(0.2, 0.2, 0.7, 0.6),
        shapely.Point(500_010, 5_599_990),
        bow,
        place(0, 19, 5, 20),
        None,
    ]
    path = save(tmp_path / "f.gpkg", shapes, owner=[f"o{n}" for n in range(len(shapes))])
    table = table_of(path, maps)
    rows = table.records()
    assert [r["owner"] for r in rows] == [f"o{n}" for n in range(8)]
    assert [r["status"] for r in rows] == [
        "measured", "partly on the map", "not on the map", "measured", "no polygon", "measured", "not on the map", "no polygon",
    ]  # fmt: skip
    assert rows[0]["Wood_ha"] == pytest.approx(0.04)
    assert rows[0]["Arable_land_ha"] == pytest.approx(0.05)
    assert rows[0]["Arable_land_share"] == pytest.approx(5 / 9, abs=1e-4)
    assert rows[0]["mean_confidence"] == pytest.approx((4 * 80 + 5 * 60) / 9, abs=0.01)
    assert (rows[0]["main_class"], rows[0]["zone_ha"]) == ("Arable land", pytest.approx(0.09))
    assert rows[0]["changed_share"] == pytest.approx(5 / 9, abs=1e-4)
    assert (rows[0]["largest_change"], rows[0]["largest_change_ha"]) == ("Wood to Arable land", pytest.approx(0.05))
    assert (rows[0]["Wood_change_ha"], rows[0]["Arable_land_change_ha"]) == (pytest.approx(-0.05), pytest.approx(0.05))
    assert (rows[1]["zone_ha"], rows[1]["Wood_ha"], rows[1]["mapped_share"]) == (0.12, 0.06, 0.5)
    assert rows[2]["Wood_ha"] is None
    assert (rows[3]["Wood_ha"], "smaller than a pixel" in rows[3]["remark"]) == (0.002, True)
    assert "it is a point" in rows[4]["remark"]
    assert "repaired" in rows[5]["remark"]
    assert rows[5]["Wood_ha"] == pytest.approx(0.02)
    assert table.counts == {"measured": 3, "partly on the map": 1, "not on the map": 2, "no polygon": 2}
    said = " ".join(table.notes)
    assert "8 features: 3 measured, 1 partly on the map, 2 not on the map, 2 no polygon." in said
    assert "smaller than a pixel" in said
    # Two zones share ground: both say so.
    assert "shares ground with another zone" in rows[1]["remark"]
    assert "shares ground with another zone" in rows[3]["remark"]


def test_zones_in_degrees_and_neighbours_that_only_touch(tmp_path, maps):
    from tessera_core.grid import transformer

    move = transformer(GRID.crs, "EPSG:4326").transform
    shapes = [shapely.transform(place(c, 1, c + 2, 3), move, interleaved=False) for c in (1, 3)]
    table = table_of(save(tmp_path / "f.geojson", shapes, crs="EPSG:4326", name=["a", "b"]), maps)
    assert table.column("remark") == ["", ""]
    assert table.column("Wood_ha") == pytest.approx([0.04, 0.04], abs=2e-4)


def test_corrected_shares_hold_the_truth_as_often_as_they_say():
    """The interval covers what repeated samples of the region would give, where the zone's map errs as the region's does."""
    rng = np.random.default_rng(0)
    rates = np.array([[0.9, 0.1], [0.25, 0.75]])
    shares = np.zeros(256)
    shares[[1, 2]] = 0.3, 0.7
    truth = 0.3 * rates[0, 0] + 0.7 * rates[1, 0]
    held = 0
    for _ in range(100):
        mapped = np.repeat([1, 2], 40)
        true = np.where(rng.random(80) < rates[mapped - 1, 0], 1, 2)
        one = MapErrors(mapped, true).corrected(shares)[1]
        held += one.low <= truth <= one.high
    assert 0.9 <= held / 100 <= 1


def test_a_sample_corrects_shares_and_a_class_without_places_is_told(tmp_path, maps):
    path = save(tmp_path / "f.gpkg", [place(0, 0, 10, 10), place(14, 0, 16, 10)])
    mapped = np.repeat(1, 20)
    errors = MapErrors(mapped, np.repeat([1, 3], [15, 5]))
    rows = table_of(path, maps, errors=errors).records()
    assert rows[0]["Wood_share_corrected"] == 0.75
    assert rows[0]["Wood_share_low"] < 0.75 < rows[0]["Wood_share_high"] < 1
    assert rows[0]["Water_share_corrected"] == 0.25
    assert rows[1]["Wood_share_corrected"] is None
    assert "no place on one of its classes" in rows[1]["remark"]


def test_a_sample_of_other_strata_gives_no_rates():
    n = 6
    sample = Sample(
        np.arange(n), np.arange(n), np.array([1, 1, 1, 2, 2, 2]), np.array([1, 2, 1, 2, 1, 2]), np.ones(n, np.int64),
        ("",) * n, {1: 10, 2: 10}, "stratified",
    )  # fmt: skip
    assert MapErrors.of_sample(sample) is None


def test_a_map_of_a_number_has_statistics_weighted_by_cover(tmp_path):
    values = np.tile(np.arange(30, dtype=np.float32), (20, 1))
    values[0, 0] = np.nan
    path = save(tmp_path / "f.gpkg", [place(0, 0, 2.5, 2), place(40, 0, 41, 1)])
    table = measure_zones(
        read_zones(path, GRID), ZoneMaps(values=(MapLayer.of_array(values, GRID, title="tree height"),))
    )
    row = table.records()[0]
    weights, numbers = np.array([1, 2, 1.0]), np.array([0, 1, 2.0])
    mean = weights @ numbers / 4
    assert row["tree_height_mean"] == pytest.approx(mean)
    assert row["tree_height_sd"] == pytest.approx(np.sqrt(weights @ (numbers - mean) ** 2 / 4), rel=1e-5)
    assert (row["tree_height_min"], row["tree_height_p50"], row["tree_height_max"]) == (0, 1, 2)
    assert table.column("status")[1] == "not on the map"
    assert table.column("tree_height_mean")[1] is None


def test_every_form_of_file_holds_the_same(tmp_path, maps):
    path = save(tmp_path / "f.gpkg", [place(1, 1, 4, 4), None], name=["=1+1", "b"], fid_=[7, 8])
    table = table_of(path, maps)
    for ending in (".csv", ".xlsx", ".gpkg", ".geojson"):
        write_zone_table(tmp_path / f"t{ending}", table)
    with open(tmp_path / "t.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["Wood_ha"] for line in lines] == ["0.09", ""]
    assert lines[0]["name"] == "'=1+1"
    book = zipfile.ZipFile(tmp_path / "t.xlsx")
    sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<v>0.09</v>" in sheet
    assert ">=1+1</t>" in sheet
    assert "<f>" not in sheet
    # GDAL's reader of workbooks, which this process has taken out.
    code = f"import pyogrio; print(*pyogrio.list_layers({str(tmp_path / 't.xlsx')!r})[:, 0])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["zones", "notes"]
    meta, _, wkb, columns = pyogrio.raw.read(tmp_path / "t.gpkg")
    assert dict(zip(meta["fields"], columns, strict=True))["Wood_ha"][0] == pytest.approx(0.09)
    assert shapely.from_wkb(wkb[0]).area == pytest.approx(900)
    assert wkb[1] is None
    found = json.loads((tmp_path / "t.geojson").read_text())
    assert found["features"][0]["properties"]["main_class"] == "Wood"
    with pytest.raises(InputError, match="end it with"):
        write_zone_table(tmp_path / "t.doc", table)


def test_files_without_polygons_and_other_grids_are_refused(tmp_path, maps):
    with pytest.raises(LabelError, match="holds no polygon"):
        read_zones(save(tmp_path / "p.gpkg", [shapely.Point(500_010, 5_599_990)]), GRID)
    path = save(tmp_path / "f.gpkg", [place(0, 0, 2, 2)])
    classes, *_ = maps
    other = MapLayer.of_array(classes, make_grid((20, 30), west=0))
    with pytest.raises(InputError, match="same pixels"):
        measure_zones(read_zones(path, GRID), ZoneMaps(MapLayer.of_array(classes, GRID), earlier=other))


def test_a_map_without_a_place_on_earth_counts_pixels(tmp_path):
    grid = Grid.local((6, 6))
    path = tmp_path / "f.csv"
    path.write_text('name,wkt\na,"POLYGON((0 0, 2 0, 2 -3, 0 -3, 0 0))"\n')
    table = measure_zones(read_zones(path, grid), ZoneMaps(MapLayer.of_array(np.ones((6, 6), np.uint8), grid)))
    assert table.records()[0]["1_pixels"] == 6


def test_the_command_reads_files_and_finds_the_confidence_beside(tmp_path, maps, capsys):
    classes, confidence, earlier = maps
    origin = Provenance("studio", "nano", dim=16, year=2024)
    write_class_map(tmp_path / "m.tif", classes, confidence, GRID, CLASSES, origin)
    write_class_map(tmp_path / "b.tif", earlier, None, GRID, CLASSES, origin)
    height = np.full((10, 15), 7, np.float32)
    write_values(tmp_path / "h.tif", height, make_grid((10, 15), pixel=20), origin, Band("height"))
    save(tmp_path / "f.gpkg", [place(13, 2, 17, 4)], name=["x"])
    n = 12
    mapped = np.repeat([1, 2], 6)
    sample = Sample(
        np.arange(n), np.arange(n), mapped, mapped, np.where(np.arange(n) == 0, 2, mapped), ("",) * n, {1: 285, 2: 285},
        "stratified",
    )  # fmt: skip
    write_csv(tmp_path / "s.csv", sample, GRID, NAMES)
    words = [
        "zones",
        "m.tif",
        "f.gpkg",
        "--earlier",
        "b.tif",
        "--values",
        "h.tif",
        "--sample",
        "s.csv",
        "--out",
        "t.csv",
    ]
    assert main([str(tmp_path / w) if "." in w else w for w in words] + ["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"measured": 1}
    with open(tmp_path / "t.csv", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert (line["mean_confidence"], line["height_mean"], line["changed_share"]) == ("70.0", "7.0", "0.5")
    assert float(line["Wood_share_corrected"]) == pytest.approx(0.5 * 5 / 6, abs=1e-4)
    assert main(["zones", str(tmp_path / "h.tif"), str(tmp_path / "f.gpkg"), "--out", str(tmp_path / "h.csv")]) == 0
    assert main(["zones", str(tmp_path / "h.tif"), str(tmp_path / "f.gpkg"), "--out", str(tmp_path / "h.csv"), "--earlier",
                 str(tmp_path / "b.tif")]) == 2  # fmt: skip


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_map_that_is_damaged_further_on_is_a_sentence(kind: type[Any], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 9, (64, 64)).astype(kind)
    path = write_tiff(tmp_path / "map.tif", values, compress="deflate")
    with rasterio.open(path) as file:
        start = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    with open_layer(path) as (layer, _), pytest.raises(RasterError, match=r"map\.tif is damaged"):
        layer.read((0, 0, 8, 8))
