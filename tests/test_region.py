"""Regions from files: any CRS, holes, several layers, and a report on what was used, mended and left out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import shapely

from tessera_core.errors import InputError
from tessera_core.region import read_region, read_region_report

BOX = {"type": "Polygon", "coordinates": [[[0.1, 52.1], [0.2, 52.1], [0.2, 52.2], [0.1, 52.2], [0.1, 52.1]]]}
BOW_TIE = {"type": "Polygon", "coordinates": [[[1, 52], [1.1, 52.1], [1.1, 52], [1, 52.1], [1, 52]]]}
HOLED = {
    "type": "MultiPolygon",
    "coordinates": [
        [
            [[3, 52], [4, 52], [4, 53], [3, 53], [3, 52]],
            [[3.4, 52.4], [3.6, 52.4], [3.6, 52.6], [3.4, 52.6], [3.4, 52.4]],
        ]
    ],
}
POINT = {"type": "Point", "coordinates": [0.5, 52.5]}


def _write(path: Path, *geometries: dict[str, Any] | None, crs: str | None = None) -> Path:
    features = [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries]
    text: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs:
        text["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(text))
    return path


def test_the_report_counts_what_was_used_mended_and_left_out(tmp_path: Path) -> None:
    region, report = read_region_report(_write(tmp_path / "all.geojson", BOX, BOW_TIE, HOLED, POINT, POINT, None))
    assert (report.read, report.used, report.mended, report.holes) == (6, 3, 1, 1)
    assert report.skipped == {"points, not areas": 2, "without geometry": 1}
    # Box, two triangles of the bow tie, and the square with a hole.
    assert report.parts == 4
    assert region.geometry.area == pytest.approx(0.01 + 0.005 + 1 - 0.04)
    text = " ".join(report.sentences())
    assert "3 of 6" in text
    assert "crossing edges" in text
    assert "2 left out: points" in text


def test_another_crs_and_another_format_give_the_same_region(tmp_path: Path) -> None:
    import pyogrio

    table = pyogrio.read_dataframe(_write(tmp_path / "a.geojson", BOX))
    for name, epsg in (("utm.gpkg", 32631), ("british.shp", 27700), ("degrees.kml", 4326)):
        driver = {"driver": "KML"} if name.endswith("kml") else {}
        pyogrio.write_dataframe(table.to_crs(epsg), tmp_path / name, **driver)
    with zipfile.ZipFile(tmp_path / "shape.zip", "w") as archive:
        for path in tmp_path.glob("british.*"):
            archive.write(path, path.name)
    for name in ("utm.gpkg", "shape.zip", "degrees.kml"):
        region, report = read_region_report(tmp_path / name)
        assert shapely.box(*region.bbox).equals_exact(shapely.box(0.1, 52.1, 0.2, 52.2), 2e-3)
        assert ("Converted from EPSG" in " ".join(report.sentences())) == (name != "degrees.kml")


def test_all_layers_are_read(tmp_path: Path) -> None:
    import pyogrio

    path = tmp_path / "two.gpkg"
    table = pyogrio.read_dataframe(_write(tmp_path / "a.geojson", BOX))
    pyogrio.write_dataframe(table, path, layer="first")
    pyogrio.write_dataframe(table.translate(1, 0).to_frame("geometry"), path, layer="second", append=True)
    region, report = read_region_report(path)
    assert (report.used, report.parts) == (2, 2)
    assert region.bbox == pytest.approx((0.1, 52.1, 1.2, 52.2))


def test_swapped_axes_are_refused_until_told(tmp_path: Path) -> None:
    ring = [[52.1, 100.1], [52.2, 100.1], [52.2, 100.2], [52.1, 100.1]]
    path = _write(tmp_path / "swapped.geojson", {"type": "Polygon", "coordinates": [ring]})
    with pytest.raises(InputError, match="do not lie on Earth"):
        read_region(path)
    region, report = read_region_report(path, swap=True)
    assert region.bbox == pytest.approx((100.1, 52.1, 100.2, 52.2))
    assert "swapped" in " ".join(report.sentences())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [("note.geojson", "Dear diary", "not a readable"), ("empty.geojson", None, "no polygon")],
)
def test_files_without_polygons_say_so(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    path = _write(tmp_path / name, POINT)
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=says):
        read_region(path)
