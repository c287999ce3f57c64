"""How green pixels were in summer: a number that can be read off the satellite data themselves, for plots to try things with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.tile import S2_BANDS, DPixelTile

# June, July and August.
SUMMER = (152, 243)
_RED, _INFRARED = S2_BANDS.index("B04"), S2_BANDS.index("B08")


def summer_ndvi(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean NDVI = (B08 - B04) / (B08 + B04) of the clear days of summer, float64 (N,); NaN where no day was clear.

    Reads only these pixels, a date at a time.

    Args:
        tile: a year's observations.
        rows, cols: (N,) pixels of it.
    """
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for date in np.flatnonzero((tile.doys >= SUMMER[0]) & (tile.doys <= SUMMER[1])):
        bands = np.asarray(tile.bands[date, rows, cols], np.float64)
        red, infrared = bands[:, _RED], bands[:, _INFRARED]
        # 0 is "no data" in the stored integers (docs/spec/model.md section 2.1).
        clear = (np.asarray(tile.masks[date, rows, cols]) != 0) & (red > 0) & (infrared > 0)
        total[clear] += ((infrared - red) / np.maximum(infrared + red, 1))[clear]
        count += clear
    return np.divide(total, count, out=np.full(len(rows), np.nan), where=count > 0)
