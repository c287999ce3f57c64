"""Small inputs from bug reports of other programs, each with its right answer, that lie beside a development checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
from affine import Affine

from tessera_core.assess.reference import read_reference
from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.labels.files import read_class_raster, read_labels
from tessera_core.labels.raster_points import raster_points
from tessera_core.sources.remote.points import read_points

# That of the demo region of 128 pixels.
GRID = Grid("EPSG:32631", Affine(10, 0, 560_000, 0, -10, 5_765_000), (128, 128))
FOUR = ["Water", "Broadleaf wood", "Grassland", "Maize"]


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    """The folder of the cases."""
    if not (shared / "cases").is_dir():
        pytest.skip("the folder ../shared/cases is not beside this checkout")
    return shared / "cases"


@pytest.mark.parametrize("name", [
    "class-field-ignores-uniqueness/aoi_layer.zip", "class-field-ignores-uniqueness/folders_numbered.kml",
    "class-field-ignores-uniqueness/label_id.geojson", "class-field-ignores-uniqueness/name_and_crop.geojson",
    "csv-forms-of-other-tools/ceo.csv", "csv-forms-of-other-tools/dms.csv", "csv-forms-of-other-tools/excel_sep.csv",
    "csv-forms-of-other-tools/gee_geo.csv", "csv-forms-of-other-tools/hexwkb.csv", "csv-forms-of-other-tools/mac.csv",
    "csv-forms-of-other-tools/point_x.csv", "csv-forms-of-other-tools/thousand.csv", "csv-forms-of-other-tools/xcoord.csv",
    "ewkt-srid-thrown-away/ewkt_2180.csv", "points-table-two-readers/utf16.csv",
])  # fmt: skip
def test_four_classes_of_six_places(cases, name):
    got = read_labels(cases / name, GRID)
    assert [c.name for c in got.classes] == FOUR
    assert len(got.labels) == 24
    assert {len([x for x in got.labels if x.class_id == c.id]) for c in got.classes} == {6}
    assert got.report.read == got.report.used + got.report.left_out.total()


def test_places_that_say_they_lie_elsewhere_do(cases):
    got = read_labels(cases / "ewkt-srid-thrown-away" / "ewkt_far.csv", GRID)
    assert (len(got.labels), got.report.outside, got.report.crs) == (0, 24, "EPSG:32632")


def test_rows_of_more_cells_keep_their_class(cases):
    got = read_labels(cases / "csv-extra-cells-cut" / "unquoted_comma.csv", GRID)
    assert [c.name for c in got.classes] == ["Water", "Broadleaf wood", "Crop, hay", "Crop, maize"]
    assert any("12 rows have more cells than the header" in note for note in got.report.notes)


def test_half_swapped_rows_are_told(cases):
    report = read_labels(cases / "cli-hides-import-report" / "half_swapped.csv", GRID).report
    assert report.summary() == "24 features read, 18 labels made; 6 skipped: outside the region."
    assert any("6 of the places outside" in note for note in report.notes)


def test_text_of_a_shapefile_without_cpg(cases):
    got = read_labels(cases / "shapefile-utf8-without-cpg" / "nocpgutf8.zip", GRID)
    assert [c.name for c in got.classes] == ["Gewässer", "Laubwald", "Grünland", "Körnermais"]


def test_zero_of_a_raster_that_declares_another_value(cases):
    path = cases / "class-zero-dropped-despite-nodata" / "r_zero_class.tif"
    assert len(read_reference(path, GRID).classes) == 11
    assert len(raster_points(path, GRID, 5).classes) == 11
    assert any(
        "0 is a class of this raster (1216 pixels)" in note for note in read_class_raster(path, GRID).report.notes
    )


def test_conflicts_are_told_by_class(cases):
    folder = cases / "overlap-conflicts-unsaid"
    found = read_labels(folder / "conf.csv", GRID).report.conflicts
    assert (found.covered.total(), found.contradicting) == (100, 88)
    found = read_labels(folder / "same_pixel.geojson", GRID).report.conflicts
    assert (dict(found.covered), found.without_pixels) == ({"A": 1}, ["A"])
    with pytest.raises(LabelError, match=r"Only the class 'all' of cover_last\.geojson has pixels.*\(Water 6\)"):
        read_reference(folder / "cover_last.geojson", GRID)


@pytest.mark.parametrize(("name", "count"), [("pt_comma.csv", 5), ("pt_cp.csv", 5), ("utf16.csv", 24)])
def test_points_to_fetch_all_have_places(cases, name, count):
    found = read_points(cases / "points-table-two-readers" / name)
    assert (found.report.read, found.report.used) == (count, count)
    assert ((found.lon > 3.8) & (found.lon < 3.9) & (found.lat > 52) & (found.lat < 52.1)).all()
