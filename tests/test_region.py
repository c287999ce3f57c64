"""Regions from files: any CRS, holes, several layers, and a report on what was used, repaired and left out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.cli import main
from tessera_core.errors import InputError
from tessera_core.grid import utm_crs
from tessera_core.project.request import box_around, from_query
from tessera_core.region import Region, parse_bbox, read_region, read_region_report
from tests.factories import FIJI, ring, write_areas

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


def test_the_report_counts_what_was_used_repaired_and_left_out(tmp_path: Path) -> None:
    region, report = read_region_report(write_areas(tmp_path / "all.geojson", BOX, BOW_TIE, HOLED, POINT, POINT, None))
    assert (report.read, report.used, report.repaired, report.holes) == (6, 3, 1, 1)
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

    table = pyogrio.read_dataframe(write_areas(tmp_path / "a.geojson", BOX))
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
    table = pyogrio.read_dataframe(write_areas(tmp_path / "a.geojson", BOX))
    pyogrio.write_dataframe(table, path, layer="first")
    pyogrio.write_dataframe(table.translate(1, 0).to_frame("geometry"), path, layer="second", append=True)
    region, report = read_region_report(path)
    assert (report.used, report.parts) == (2, 2)
    assert region.bbox == pytest.approx((0.1, 52.1, 1.2, 52.2))


def test_swapped_axes_are_refused_until_told(tmp_path: Path) -> None:
    ring = [[52.1, 100.1], [52.2, 100.1], [52.2, 100.2], [52.1, 100.1]]
    path = write_areas(tmp_path / "swapped.geojson", {"type": "Polygon", "coordinates": [ring]})
    with pytest.raises(InputError, match=r"swapped\.geojson: .* latitude seem swapped"):
        read_region(path)
    region, report = read_region_report(path, swap=True)
    assert region.bbox == pytest.approx((100.1, 52.1, 100.2, 52.2))
    assert "swapped" in " ".join(report.sentences())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("note.geojson", "Dear diary", "not a readable"),
        ("empty.geojson", '{"type": "FeatureCollection", "features": []}', "no polygon"),
    ],
)
def test_files_without_polygons_say_so(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    path = write_areas(tmp_path / name, POINT)
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=says):
        read_region(path)


def test_places_without_area_become_the_box_around_them(tmp_path: Path) -> None:
    """Field plots are a usual way to say where one works; a refusal would only send people to draw the box themselves."""
    places = {"type": "MultiPoint", "coordinates": [[3.70, 51.04], [3.74, 51.07]]}
    region, report = read_region_report(write_areas(tmp_path / "plots.geojson", places))
    west, south, east, north = region.bbox
    assert (south, north) == pytest.approx((51.04 - 500 / 111_320, 51.07 + 500 / 111_320))
    assert (west, east) == pytest.approx((3.70 - 0.00715, 3.74 + 0.00715), abs=1e-4)
    said = " ".join(report.sentences())
    assert "box around them, 500 m wider" in said
    assert "left out" not in said
    turned, _ = read_region_report(write_areas(tmp_path / "one.geojson", POINT), swap=True)
    assert turned.bbox[0] < POINT["coordinates"][1] < turned.bbox[2]


# ------------------------------------------------------------------ the edges of the world


@pytest.mark.parametrize("polygons", FIJI.values(), ids=FIJI)
def test_no_door_takes_a_region_on_both_sides_of_the_180th_meridian(
    tmp_path: Path, polygons: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_areas(tmp_path / "fiji.geojson", *polygons)
    nowhere = "http://127.0.0.1:9"
    for command in (
        ["acquire", "--year", "2023", "--out", str(tmp_path / "x"), "--stac-url", nowhere],
        ["fetch", "--years", "2023", "--out", str(tmp_path / "x"), "--store-url", nowhere, "--attempts", "1"],
        ["coverage", "--store-url", nowhere, "--attempts", "1"],
    ):
        assert main([*command, "--region", str(path)]) == 2
        said = capsys.readouterr().err
        assert "fiji.geojson: The region lies on both sides of the 180th meridian" in said
        assert said.count("\n") == 1
    shape = shapely.union_all([shapely.from_geojson(json.dumps(one)) for one in polygons])
    with pytest.raises(InputError, match="180th"):
        Region.of_shape(shape)


def test_a_file_in_metres_over_the_180th_meridian_is_refused_too(tmp_path: Path) -> None:
    import pyogrio

    # 0.1 degrees to either side, in the last UTM zone and in a Mercator of the Pacific.
    table = pyogrio.read_dataframe(write_areas(tmp_path / "a.geojson", ring(179.8, -17, 179.9, -16.9)))
    for name, epsg in (("zone60.gpkg", 32760), ("pacific.gpkg", 3832)):
        moved = table.to_crs(epsg)
        width = moved.total_bounds[2] - moved.total_bounds[0]
        moved["geometry"] = moved.geometry.translate(1.5 * width)
        pyogrio.write_dataframe(moved, tmp_path / name)
        with pytest.raises(InputError, match="180th"):
            read_region(tmp_path / name)


def test_longitudes_of_0_to_360_are_taken_and_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    region, report = read_region_report(write_areas(tmp_path / "a.geojson", ring(185, -17, 185.1, -16.9)))
    assert region.bbox == pytest.approx((-175, -17, -174.9, -16.9))
    assert region.grid().crs == "EPSG:32701"
    assert "other hemisphere" in " ".join(report.sentences())
    with pytest.raises(InputError, match="write them as -175 and -174"):
        parse_bbox("185,-17,186,-16")
    with pytest.raises(InputError, match="both sides"):
        parse_bbox("179.9,-17,-179.9,-16.9")


def test_swapped_coordinates_are_taken_by_the_command_line_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_areas(tmp_path / "swapped.geojson", ring(52.1, 100.1, 52.2, 100.2))
    command = ["coverage", "--store-url", "http://127.0.0.1:9", "--attempts", "1", "--region", str(path)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "longitude and latitude seem swapped" in said
    assert "--swap" in said
    # Then only the store is missing.
    assert main([*command, "--swap"]) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (shapely.box(0, 84.5, 1, 84.6), "84 N"),
        (shapely.box(0, -81, 1, -79), "80 S"),
        (shapely.box(0, 0, 30, 1), "30.0 degrees wide"),
        (shapely.box(0, -79, 12, 80), None),
        (shapely.box(500000, 5700000, 500100, 5700100), "does not lie on Earth"),
        (shapely.box(400, 10, 401, 11), "does not lie on Earth"),
        (shapely.Polygon(), "no area|without geometry"),
        (shapely.Point(1, 1), "points, not areas"),
        (shapely.LineString([(0, 0), (1, 1)]), "lines, not areas"),
        (shapely.Polygon([(0, 0), (1, 1), (0, 0)]), "no area|size zero"),
        (shapely.Polygon([(0, 0), (1, 0), (1, float("nan")), (0, 0)]), "not numbers"),
        (shapely.Polygon([(0, 0), (1, 0), (float("inf"), 1), (0, 0)]), "not numbers"),
    ],
)
def test_what_no_map_can_show_is_refused_in_a_sentence(shape: shapely.Geometry, says: str | None) -> None:
    if says is None:
        # On Earth and narrow enough, but as a grid of 10 m it has more pixels than any computer holds.
        with pytest.raises(InputError, match="thousand million pixels"):
            Region.of_shape(shape).grid()
        return
    with pytest.raises(InputError, match=says):
        Region.of_shape(shape)


LON, LAT = st.floats(-179.99, 179.99), st.floats(-79.9, 83.9)
SIDE = st.floats(1e-3, 0.3)


@settings(max_examples=60, deadline=None)
@given(LON, LAT, SIDE, SIDE)
def test_a_grid_is_north_up_in_the_zone_of_the_middle_and_covers_its_region(
    lon: float, lat: float, width: float, height: float
) -> None:
    shape = shapely.box(lon - width, lat - height, lon + width, lat + height)
    inside = abs(lon) + width <= 180 and lat - height >= -80 and lat + height <= 84
    try:
        region = Region(shape)
    except InputError:
        assert not inside
        return
    assert inside
    grid = region.grid()
    # On a border between zones rounding decides.
    assert grid.crs in {utm_crs(lon + x, lat + y) for x in (-1e-9, 1e-9) for y in (-1e-9, 1e-9)}
    assert grid.transform.a == 10
    assert grid.transform.e == -10
    # The middle is inside, and the first row lies north of the last one.
    row, col = (float(v) for v in grid.lonlat_to_pixel(lon, lat))
    assert 0 <= row <= grid.height
    assert 0 <= col <= grid.width
    top, bottom = grid.pixel_to_lonlat([0.5, grid.height - 0.5], [col, col])[1]
    assert top > bottom or grid.height == 1
    # Corners of the region are on the grid, give or take what an edge bends.
    rows, cols = grid.lonlat_to_pixel([lon - width, lon + width], [lat - height, lat + height])
    assert (np.asarray(rows) > -2).all()
    assert (np.asarray(rows) < grid.height + 2).all()
    assert (np.asarray(cols) > -2).all()
    assert (np.asarray(cols) < grid.width + 2).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(-2, 2), st.floats(-79, 83), SIDE, st.sampled_from(["as is", "eastward", "westward", "wrapped"]))
def test_however_longitudes_are_written_a_region_is_the_same_or_refused(
    offset: float, lat: float, width: float, written: str
) -> None:
    west, east = 180 + offset - width, 180 + offset + width
    if written == "wrapped" and not west < 180 < east:
        written = "eastward"
    turn = {"as is": 0 if east <= 180 else -360, "eastward": 0, "westward": -360, "wrapped": 0}[written]
    a, b = west + turn, east + turn
    if written == "wrapped":
        b -= 360
    shape = shapely.box(min(a, b), lat - width, max(a, b), lat + width)
    crosses = west < 180 - 1e-9 and east > 180 + 1e-9
    if crosses:
        with pytest.raises(InputError, match="180th"):
            Region.of_shape(shape)
        return
    region = Region.of_shape(shape)
    assert region.bbox[2] - region.bbox[0] == pytest.approx(2 * width)
    assert (region.bbox[0] - a) % 360 == pytest.approx(0, abs=1e-6) or (region.bbox[0] - a) % 360 == pytest.approx(360)


@pytest.mark.parametrize("place", ["179.9,-17;-179.9,-17;-179.9,-16.9;179.9,-16.9", "179.95,-17,180.05,-16.9"])
def test_an_address_and_a_click_pass_the_same_gate(place: str) -> None:
    with pytest.raises(InputError, match="180th"):
        from_query({"place": place})
    with pytest.raises(InputError, match="180th"):
        box_around(179.99, -17, 5, "x")
    with pytest.raises(InputError, match="84 N"):
        box_around(20, 89.99, 5, "x")
