import numpy as np
import pytest

from tessera_core.dpixels.greenness import summer_ndvi
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.grid import Grid


def test_clear_summer_days_are_averaged() -> None:
    bands = np.full((4, 2, 2, 10), 1000, np.uint16)
    # Near infrared of four dates: spring, two in summer, one in summer under cloud.
    for date, value in enumerate((9000, 3000, 1000, 9000)):
        bands[date, ..., 3] = value
    masks = np.ones((4, 2, 2), np.uint8)
    masks[3] = 0
    bands[1, 0, 1] = 0
    masks[:, 1, 1] = 0
    days = np.array([100, 200, 210, 220], np.int16)
    none = np.zeros((0, 2, 2, 2), np.int16)
    tile = DPixelTile(
        bands,
        masks,
        days,
        none,
        np.zeros(0, np.int16),
        none,
        np.zeros(0, np.int16),
        None,
        Grid.local((2, 2)),
        "t",
        2024,
    )
    found = summer_ndvi(tile, np.array([0, 0, 1]), np.array([0, 1, 1]))
    assert found[0] == pytest.approx((0.5 + 0) / 2)
    # What was not measured on a clear day does not count; a place never seen has no number.
    assert found[1] == pytest.approx(0)
    assert np.isnan(found[2])
