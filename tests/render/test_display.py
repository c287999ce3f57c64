import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.grid import Grid, transformer, utm_crs
from tessera_core.render.display import MAX_SIDE, DisplayGrid


def utm_grid(lon: float, lat: float, height: int, width: int, size: float = 10.0) -> Grid:
    crs = utm_crs(lon, lat)
    x, y = transformer("EPSG:4326", crs).transform(lon, lat)
    return Grid(crs, Affine(size, 0, round(x), 0, -size, round(y)), (height, width))


grids = st.builds(
    utm_grid,
    lon=st.floats(-170, 170),
    lat=st.floats(-70, 75),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    size=st.sampled_from([1.0, 10.0, 30.0]),
)


@settings(max_examples=60, deadline=None)
@given(grid=grids, seed=st.integers(0, 1000))
def test_coordinates_go_both_ways_exactly(grid: Grid, seed: int) -> None:
    display = DisplayGrid(grid)
    rng = np.random.default_rng(seed)
    rows, cols = rng.uniform(0, grid.height, 20), rng.uniform(0, grid.width, 20)
    back_rows, back_cols = display.to_pixel(*display.from_pixel(rows, cols))
    np.testing.assert_allclose(back_rows, rows, atol=1e-4)
    np.testing.assert_allclose(back_cols, cols, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(grid=grids)
def test_table_shows_each_display_pixel_the_scene_pixel_under_its_centre(grid: Grid) -> None:
    display = DisplayGrid(grid)
    west, south, east, north = display.bounds
    height, width = display.shape
    xs = west + (np.arange(width) + 0.5) * (east - west) / width
    ys = north - (np.arange(height) + 0.5) * (north - south) / height
    rows, cols = display.to_pixel(*np.meshgrid(xs, ys))
    shown = display.index < grid.height * grid.width
    at_row, at_col = np.divmod(display.index, grid.width)
    # A twentieth of a pixel for the straight lines between exact nodes.
    assert (np.abs(rows - at_row - 0.5)[shown] < 0.55).all()
    assert (np.abs(cols - at_col - 0.5)[shown] < 0.55).all()
    well_inside = (rows > 0.05) & (rows < grid.height - 0.05) & (cols > 0.05) & (cols < grid.width - 0.05)
    assert shown[well_inside].all()


def test_every_scene_pixel_or_its_neighbour_is_shown() -> None:
    grid = utm_grid(5.9, 52, 400, 400)
    shown = np.zeros(grid.height * grid.width + 1, bool)
    shown[DisplayGrid(grid).index] = True
    assert shown[:-1].mean() > 0.93


def test_bounds_cover_the_scene() -> None:
    grid = utm_grid(5.9, 65, 300, 200)
    display = DisplayGrid(grid)
    west, south, east, north = display.bounds
    x, y = display.from_pixel([0, 0, 300, 300, 150], [0, 200, 0, 200, 100])
    assert west <= x.min()
    assert x.max() <= east
    assert south <= y.min()
    assert y.max() <= north
    w, s, e, n = display.bounds_lonlat
    assert w < 5.9 < e
    assert s < 65 < n + 0.01


def test_local_grid_is_shown_as_pixels() -> None:
    display = DisplayGrid(Grid.local((3, 5)))
    assert display.frame == "pixel"
    assert display.bounds == (0, -3, 5, 0)
    assert display.pixel_size == 1
    picture = np.arange(15, dtype=np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(display.warp(picture), picture)
    rows, cols = display.to_pixel([4.5], [-0.5])
    assert (rows[0], cols[0]) == (0.5, 4.5)


def test_pole_and_antimeridian_fall_back_to_pixels() -> None:
    polar = Grid("EPSG:3413", Affine(1000, 0, -50_000, 0, -1000, 50_000), (100, 100))
    wrapped = utm_grid(179.99, 10, 50, 500)
    for grid in (polar, wrapped):
        display = DisplayGrid(grid)
        assert display.frame == "pixel"
        rows, cols = display.to_pixel(*display.from_pixel([1.5], [2.5]))
        np.testing.assert_allclose([rows[0], cols[0]], [1.5, 2.5])


def test_large_scene_is_thinned() -> None:
    for grid in (utm_grid(5, 50, 900, 700), Grid.local((900, 700))):
        display = DisplayGrid(grid, max_pixels=40_000)
        assert 20_000 < display.shape[0] * display.shape[1] < 45_000


def test_a_strip_is_no_longer_than_a_browser_can_show_and_a_pixel_that_is_a_point_lies_nowhere() -> None:
    strip = Grid("EPSG:32631", Affine(0.01, 0, 500_000, 0, -0.01, 4_000_000), (60_000_000, 1))
    for grid in (strip, Grid.local(strip.shape)):
        display = DisplayGrid(grid)
        assert max(display.shape) <= MAX_SIDE + 1
        assert max(display.view(display.bounds, (10**7, 10**7)).shape) <= MAX_SIDE + 1
    assert DisplayGrid(Grid("EPSG:5041", Affine(1e-9, 0, -3771042.2, 0, -1e5, 2e7), (1, 1))).frame == "pixel"


def test_warp_fills_off_the_scene_and_refuses_another_shape() -> None:
    grid = utm_grid(5.9, 65, 60, 60)
    warped = DisplayGrid(grid).warp(np.ones((60, 60, 3), np.uint8), fill=9)
    assert set(np.unique(warped)) == {1, 9}
    assert (warped[0, 0] == 9).all()
    with pytest.raises(ValueError, match="scene"):
        DisplayGrid(grid).warp(np.ones((59, 60)))
