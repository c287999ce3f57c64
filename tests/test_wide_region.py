"""Regions of any width: the same however longitudes are written, in cells that hold each pixel once, counted one at a time."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import geometry_mask

from tessera_core.cells import cut, cut_region
from tessera_core.cli import main
from tessera_core.errors import InputError
from tessera_core.region import Region, parse_bbox
from tessera_core.wide_region import WideRegion, parse_wide_bbox, read_wide_region
from tests.factories import FIJI, ring, write_areas

BOTH = shapely.union_all([shapely.box(179.9, -17, 180, -16.9), shapely.box(-180, -17, -179.9, -16.9)])


def planned(tmp_path: Path, capsys: pytest.CaptureFixture[str], *where: str) -> tuple[dict[str, Any], list[Any]]:
    """The result of a dry run of ``acquire``, and the cells of its plan."""
    plan = tmp_path / "plan.geojson"
    words = ["acquire", *where, "--year", "2023", "--by-zone", "--dry-run", "--plan", str(plan), "--json"]
    assert main([*words, "--out", str(tmp_path / "out"), "--stac-url", "http://127.0.0.1:9"]) == 0
    return json.loads(capsys.readouterr().out)["plan"], json.loads(plan.read_text())["features"]


@pytest.mark.parametrize("polygons", list(FIJI.values())[:5], ids=list(FIJI)[:5])
def test_a_field_over_the_180th_meridian_is_the_same_however_it_is_written(tmp_path: Path, polygons: list[Any]) -> None:
    path = write_areas(tmp_path / "fiji.geojson", *polygons)
    region, report = read_wide_region(path)
    assert region.geometry.symmetric_difference(BOTH).area < 1e-9
    assert [part.grid(limited=False).crs for part in region.by_zone()] == ["EPSG:32701", "EPSG:32760"]
    assert ("crosses the 180th" in " ".join(report.sentences())) == (
        len(polygons) == 1 and polygons[0]["type"] == "Polygon"
    )


@pytest.mark.parametrize("turn", [1, -1])
def test_a_long_box_in_a_file_is_never_silently_turned_into_the_rest_of_the_earth(tmp_path: Path, turn: int) -> None:
    def box(west: float, east: float, *between: float) -> dict[str, Any]:
        south = [[lon, 0] for lon in (west, *between, east)]
        north = [[lon, 10] for lon in (east, *between[::-1], west)]
        return {"type": "Polygon", "coordinates": [[*south, *north, south[0]][::turn]]}

    with pytest.raises(InputError, match=r"w.geojson: A box .* -100 and 100 .* either way .* 100 to 260"):
        read_wide_region(write_areas(tmp_path / "w.geojson", box(-100, 100)))
    for shape, width in ((box(-100, 100, 0), 200), (box(100, 260), 160), (box(-179, 179, 0), 358), (box(-179, 179), 2)):
        region, report = read_wide_region(write_areas(tmp_path / "w.geojson", shape))
        assert region.geometry.area == pytest.approx(10 * width)
        assert ("the short way" in " ".join(report.sentences())) == (width == 2)


def test_islands_on_both_sides_and_cells_that_reach_over_lie_where_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_areas(tmp_path / "islands.geojson", *FIJI["islands apart"], *FIJI["running on to the east"])
    sums, cells = planned(tmp_path, capsys, "--region", str(path))
    assert {cell["properties"]["name"][:5] for cell in cells} == {"utm01", "utm60"}
    assert sums["tiles"] == len(cells) > 4
    for cell in cells:
        lon = np.array(cell["geometry"]["coordinates"][0])[:, 0]
        # Not drawn round the world.
        assert lon.max() - lon.min() < 0.2
    for part in read_wide_region(path)[0].by_zone():
        for _, grid, _ in cut_region(part, part.grid(limited=False, plain=True)):
            # Its place is one that the program can name.
            assert Region(shapely.box(*grid.bounds_lonlat)).bbox[2] - grid.bounds_lonlat[0] < 0.2
    box, more = planned(tmp_path, capsys, "--bbox=179.9,-17,-179.9,-16.9")
    assert box["tiles"] == len(more) > 0


@settings(max_examples=60, deadline=None)
@given(st.floats(-179, 179), st.floats(1, 89), st.sampled_from([0, -360, 360]), st.booleans())
def test_however_longitudes_are_written_a_wide_region_is_the_same(
    middle: float, half: float, turn: int, wrapped: bool
) -> None:
    from tessera_core.wide_region import _over_180

    west, east = middle - half, middle + half
    points = np.array([[west, 10.0], [east, 10], [east, 20], [middle, 15], [west, 20], [west, 10]])
    points[:, 0] += turn
    if wrapped:
        points[:, 0] = (points[:, 0] + 180) % 360 - 180
    elif points[:, 0].min() < -360 or points[:, 0].max() > 360:
        return
    shape = _over_180(shapely.Polygon(points))
    region = WideRegion(shape) if shape.bounds[2] <= 180 and shape.bounds[0] >= -180 else None
    if region is None:
        # All of it lies beyond 180, which is for the other hemisphere's shift.
        assert shape.bounds[0] >= 180 or shape.bounds[2] <= -180
        return
    assert region.geometry.area == pytest.approx(20 * half - 5 * half, rel=1e-9)
    assert sum(part.geometry.area for part in region.by_zone()) == pytest.approx(region.geometry.area, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10,85,20,89", "beyond 84 N or 80 S"),
        ("10,1,10,2", "must be smaller"),
        ("-400,1,10,2", "does not lie on Earth"),
        ("52,95,60,151", "swapped"),
    ],
)
def test_what_no_cell_can_hold_is_refused_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_wide_bbox(text)


def test_the_poles_are_left_out_and_counted_and_a_ring_round_one_is_refused(tmp_path: Path) -> None:
    region, notes = parse_wide_bbox("-180,-90,180,90")
    assert (region.bbox, len(region.by_zone())) == ((-180, -80, 180, 84), 60)
    # Caps of 6 and 10 degrees.
    assert notes[0].startswith("5,318,")
    assert "km2 beyond 84 N and 80 S are left out" in notes[0]
    round_it = {"type": "Polygon", "coordinates": [[[-150, 70], [-30, 70], [90, 70], [179, 70], [-150, 70]]]}
    with pytest.raises(InputError, match=r"pole.geojson: .*goes round a pole"):
        read_wide_region(write_areas(tmp_path / "pole.geojson", round_it))


def test_a_dry_run_says_what_is_left_out_as_the_command_itself_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["acquire", "--bbox=10,83.98,10.1,84.5", "--year", "2023", "--by-zone", "--dry-run"]
    words += ["--stac-url", "http://127.0.0.1:9"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "beyond 84 N and 80 S are left out" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 1


@pytest.mark.parametrize("seed", range(4))
def test_cells_are_those_that_hold_a_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    around = np.sort(rng.uniform(0, 2 * np.pi, 40))
    reach = rng.uniform(0.002, 0.06, 40)
    star = shapely.make_valid(
        shapely.Polygon(np.column_stack([3 + reach * np.cos(around), 50 * (seed % 2) + reach * np.sin(around)]))
    )
    region = Region.of_shape(
        shapely.union_all([star, shapely.box(3.07, 50 * (seed % 2), 3.0702, 50 * (seed % 2) + 0.0001)])
    )
    grid = region.grid(limited=False, plain=True)
    shape = region.projected(grid.crs or "")
    expected = {}
    for cell, part in cut(grid, 64):
        inside = geometry_mask([shape], part.shape, part.transform, invert=True)
        if inside.any():
            expected[cell] = (part, bool(inside.all()))
    found = {cell: (part, not rim) for cell, part, rim in cut_region(region, grid, 64)}
    assert list(found) == list(expected)
    for cell, (part, whole) in found.items():
        assert part == expected[cell][0]
        # One whose outline is touched may yet have all its pixels inside.
        assert not whole or expected[cell][1]


def test_where_zones_are_wider_no_cell_has_two_owners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """West of Norway both sides of a zone's edge would lie in one zone, and cells on it in two parts."""
    _, cells = planned(tmp_path, capsys, "--bbox", "4,59.9,8,60.1")
    names = [cell["properties"]["name"] for cell in cells]
    assert len(set(names)) == len(names)
    assert {name[:5] for name in names} == {"utm31", "utm32"}


def test_a_narrow_region_is_cut_as_before_and_a_wide_one_goes_on(tmp_path: Path) -> None:
    narrow, wide = parse_bbox("2,50,9,51"), parse_wide_bbox("2,50,40,51")[0]
    assert wide.by_zone()[0].bbox == narrow.by_zone()[0].bbox
    assert len(wide.by_zone()) == 7
    first = wide.by_zone()[1]
    cells = list(itertools.islice(cut_region(first, first.grid(limited=False, plain=True)), 5))
    assert [cell.zone for cell, _, _ in cells] == [32] * 5
    polygon = read_wide_region(write_areas(tmp_path / "w.geojson", ring(2, 50, 40, 51)))[0]
    assert polygon.geometry.equals(wide.geometry)
