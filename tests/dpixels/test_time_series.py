import numpy as np
import pytest

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.dpixels.time_series import pixel_time_series
from tessera_core.errors import GridError
from tessera_core.grid import Grid


def tile() -> DPixelTile:
    bands = np.zeros((3, 4, 5, 10), np.uint16)
    bands[0, 2, 3] = 1000
    bands[0, 2, 3, 3] = 3000
    bands[2, 2, 3] = 500
    masks = np.zeros((3, 4, 5), np.uint8)
    masks[:, 2, 3] = (1, 1, 0)
    radar = np.zeros((2, 4, 5, 2), np.int16)
    # -10 dB and -20 dB: (2 * dB + 50) * 200.
    radar[1, 2, 3] = (6000, 2000)
    none = np.zeros((0, 4, 5, 2), np.int16)
    days = np.array([200, 100, 10], np.int16)
    return DPixelTile(
        bands, masks, days, radar, np.array([5, 9]), none, np.zeros(0, np.int16), None, Grid.local((4, 5)), "t", 2024
    )


def test_dates_are_in_order_and_units_are_physical() -> None:
    series = pixel_time_series(tile(), 2, 3)
    assert series.days.tolist() == [10, 100, 200]
    # Day 10 was cloudy, day 100 has no measurement although its mask says clear.
    assert series.valid.tolist() == [False, False, True]
    assert series.reflectance[2, 0] == pytest.approx(0.1)
    assert np.isnan(series.reflectance[1]).all()
    assert series.ndvi[2] == pytest.approx(0.5)
    assert series.ndvi[0] == pytest.approx(0)
    assert np.isnan(series.ndvi[1])


def test_radar_is_in_usual_decibels_and_only_where_seen() -> None:
    series = pixel_time_series(tile(), 2, 3)
    assert series.ascending.days.tolist() == [9]
    np.testing.assert_allclose(series.ascending.db, [[-10, -20]])
    assert series.descending.db.shape == (0, 2)


def test_a_place_off_the_tile_is_refused() -> None:
    with pytest.raises(GridError, match="row 4, column 0"):
        pixel_time_series(tile(), 4, 0)
