import json

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from tessera_core.errors import GridError
from tessera_core.grid import Grid, transformer, utm_crs
from tests.factories import make_grid

UTM = make_grid((200, 300))
DEGREES = Grid("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 50), (100, 100))
ROTATED = Grid("EPSG:32631", Affine(8, 6, 500_000, 6, -8, 5_600_000), (50, 60))


@given(st.sampled_from([UTM, DEGREES, ROTATED, Grid.local((20, 30))]), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
@settings(deadline=None)
def test_pixels_to_places_and_back(grid, row, col):
    rows, cols = grid.xy_to_pixel(*grid.pixel_to_xy(row, col))
    np.testing.assert_allclose([rows, cols], [row, col], atol=1e-6)


@given(st.sampled_from([UTM, DEGREES, ROTATED]), st.floats(0, 50), st.floats(0, 50))
@settings(deadline=None)
def test_pixels_to_degrees_and_back(grid, row, col):
    lon, lat = grid.pixel_to_lonlat(row, col)
    rows, cols = grid.lonlat_to_pixel(lon, lat)
    np.testing.assert_allclose([rows, cols], [row, col], atol=1e-4)
    west, south, east, north = grid.bounds_lonlat
    assert west - 1e-6 <= lon <= east + 1e-6
    assert south - 1e-6 <= lat <= north + 1e-6


def test_the_first_pixel_begins_at_the_top_left_corner():
    assert [float(v) for v in UTM.pixel_to_xy(0, 0)] == [500_000, 5_600_000]
    assert [float(v) for v in UTM.pixel_to_xy(0.5, 0.5)] == [500_005, 5_599_995]
    assert [float(v) for v in Grid.local((5, 5)).pixel_to_xy(2, 3)] == [3, -2]
    inside = UTM.inside([0, -1e-9, 199.999, 200, np.nan], [0, 0, 299.999, 0, 0])
    assert inside.tolist() == [True, False, True, False, False]


def test_lon_comes_before_lat():
    lon, lat = UTM.pixel_to_lonlat(0, 0)
    assert (float(lon), float(lat)) == pytest.approx((3.0, 50.55), abs=0.01)


def test_bounds():
    assert UTM.bounds == (500_000, 5_598_000, 503_000, 5_600_000)
    upward = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, 10, 5_600_000), (200, 300))
    assert upward.bounds == (500_000, 5_600_000, 503_000, 5_602_000)
    west, south, east, north = ROTATED.bounds
    rows, cols = np.array([0, 0, 50, 50]), np.array([0, 60, 0, 60])
    x, y = ROTATED.pixel_to_xy(rows, cols)
    assert (west, south, east, north) == (x.min(), y.min(), x.max(), y.max())


def test_pixel_areas():
    assert UTM.pixel_area_m2 == 100
    feet = Grid("EPSG:2263", Affine(10, 0, 1e6, 0, -10, 2e5), (10, 10))
    assert feet.pixel_area_m2 == pytest.approx(100 * 0.3048**2, rel=1e-4)
    assert pytest.approx(111.3 * 111.3 * np.cos(np.radians(49.95)), rel=0.01) == DEGREES.pixel_area_m2
    assert np.isnan(Grid.local((5, 5)).pixel_area_m2)


def test_a_window_has_the_same_pixels():
    part = UTM.window(20, 30, 40, 50)
    assert part.shape == (40, 50)
    np.testing.assert_allclose(part.pixel_to_xy(0.5, 0.5), UTM.pixel_to_xy(20.5, 30.5))


@pytest.mark.parametrize("grid", [UTM, DEGREES, ROTATED, Grid.local((5, 6))])
def test_it_survives_json(grid):
    assert Grid.from_json(json.loads(json.dumps(grid.to_json()))) == grid
    assert hash(Grid.from_json(grid.to_json())) == hash(grid)


def test_a_crs_is_written_in_one_way():
    assert Grid(CRS.from_epsg(32631).to_wkt(), UTM.transform, UTM.shape) == UTM
    own = Grid("+proj=laea +lat_0=52 +lon_0=10", UTM.transform, UTM.shape)
    assert own.crs is not None
    assert Grid.from_json(own.to_json()) == own


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"crs": "EPSG:32631"},
        {"crs": "EPSG:32631", "transform": [1, 2, 3], "shape": [1, 1]},
        {"crs": "EPSG:32631", "transform": [10, 0, 0, 0, -10, 0], "shape": [1]},
        {"crs": "EPSG:32631", "transform": [10, 0, 0, 0, -10, 0], "shape": [0, 4]},
        {"crs": "EPSG:32631", "transform": [10, 0, 0, 0, -10, 0], "shape": [1e400, 4]},
        {"crs": "EPSG:32631", "transform": [10, 0, 0, 0, -10, 0], "shape": "ab"},
        {"crs": "EPSG:32631", "transform": ["a", 0, 0, 0, -10, 0], "shape": [4, 4]},
        {"crs": "EPSG:32631", "transform": [float("nan"), 0, 0, 0, -10, 0], "shape": [4, 4]},
        {"crs": "EPSG:32631", "transform": [10, 0, float("inf"), 0, -10, 0], "shape": [4, 4]},
        {"crs": "EPSG:32631", "transform": [0, 0, 0, 0, 0, 0], "shape": [4, 4]},
        {"crs": "EPSG:999999", "transform": [10, 0, 0, 0, -10, 0], "shape": [4, 4]},
        {"crs": "", "transform": [10, 0, 0, 0, -10, 0], "shape": [4, 4]},
        {"crs": [1], "transform": [10, 0, 0, 0, -10, 0], "shape": [4, 4]},
    ],
)
def test_a_damaged_description_is_refused(value):
    with pytest.raises(GridError) as caught:
        Grid.from_json(value)
    assert "\n" not in str(caught.value)


def test_a_local_grid_has_no_place():
    grid = Grid.local((5, 5))
    assert not grid.georeferenced
    for ask in (lambda: grid.pixel_to_lonlat(0, 0), lambda: grid.lonlat_to_pixel(0, 0), lambda: grid.bounds_lonlat):
        with pytest.raises(GridError, match="no georeference"):
            ask()


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (3.02, 50.82, "EPSG:32631"),
        (-0.1, 51.5, "EPSG:32630"),
        (5.3, 60.4, "EPSG:32632"),
        (15.6, 78.2, "EPSG:32633"),
        (8.9, 78, "EPSG:32631"),
        (-58.4, -34.6, "EPSG:32721"),
        (180, 10, "EPSG:32660"),
        (-180, -10, "EPSG:32701"),
    ],
)
def test_utm_zones_with_norway_and_svalbard(lon, lat, zone):
    assert utm_crs(lon, lat) == zone


@pytest.mark.parametrize("place", [(0, 85), (0, -81), (181, 0), (52, 200), (float("nan"), 0), (0, float("nan"))])
def test_no_zone_outside_the_range(place):
    with pytest.raises(GridError, match="swapped"):
        utm_crs(*place)


def test_places_the_crs_cannot_hold_are_not_finite():
    rows, cols = UTM.lonlat_to_pixel([3.0, 500.0], [50.0, 95.0])
    assert np.isfinite([rows[0], cols[0]]).all()
    assert not np.isfinite([rows[1], cols[1]]).all()


def test_transformers_are_shared():
    assert transformer("EPSG:4326", "EPSG:32631") is transformer("EPSG:4326", "EPSG:32631")
