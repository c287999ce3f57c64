"""What embeddings have to beat: the plain temporal statistics that practitioners use, from the same d-pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.seasons import monthly_statistics
from tessera_core.dpixels.tile import DPixelTile


def raw_medians(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> NDArray[np.float32]:
    """Medians of the 10 Sentinel-2 bands and means of VV and VH of each orbit, in twelfths of the year.

    On the Belgian tile these are 132 features (11 windows of 12); see :func:`.monthly_statistics`.

    Args:
        tile: the time series.
        rows, cols: (N,) pixels.

    Returns:
        float32 (N, F); NaN where a pixel was never observed by one of the sensors.
    """
    return monthly_statistics(tile, rows, cols)
