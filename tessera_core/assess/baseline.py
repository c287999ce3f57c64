"""What embeddings have to beat: the plain temporal statistics that practitioners use, from the same d-pixels."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.tile import DPixelTile

# A twelfth of a year; a window of 30 days would leave five days over.
WINDOW_DAYS = 365.25 / 12
# Pixels in one go: 90 dates of 10 bands in float32 are 15 MB.
PIXELS = 4096


def raw_medians(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> NDArray[np.float32]:
    """Medians of the 10 Sentinel-2 bands and means of VV and VH of each orbit, in twelfths of the year.

    Windows in which the whole tile has no date are left out; a pixel without a clear observation in a window gets the value
    interpolated between its neighbouring windows. On the Belgian tile these are 132 features (11 windows of 12).

    Args:
        tile: the time series.
        rows, cols: (N,) pixels.

    Returns:
        float32 (N, F); NaN where a pixel was never observed by one of the sensors.
    """
    parts = [
        _features(tile, rows[start : start + PIXELS], cols[start : start + PIXELS])
        for start in range(0, len(rows), PIXELS)
    ]
    return np.concatenate(parts)


def _features(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> NDArray[np.float32]:
    bands = tile.bands[:, rows, cols].astype(np.float32)
    bands[tile.masks[:, rows, cols] == 0] = np.nan
    sets = [_windows(bands, tile.doys, np.nanmedian)]
    for sar, doys in ((tile.sar_asc, tile.doys_asc), (tile.sar_desc, tile.doys_desc)):
        if len(doys):
            radar = sar[:, rows, cols].astype(np.float32)
            radar[radar == 0] = np.nan
            sets.append(_windows(radar, doys, np.nanmean))
    return np.concatenate(sets, axis=1)


def _windows(
    values: NDArray[np.float32], doys: NDArray[np.integer], statistic: Callable[..., Any]
) -> NDArray[np.float32]:
    """(T, N, C) -> (N, windows * C)."""
    numbers = np.floor((doys.astype(float) - 0.5) / WINDOW_DAYS)
    present = np.unique(numbers)
    with warnings.catch_warnings():
        # A pixel may be cloudy through a whole window; it is filled in below.
        warnings.simplefilter("ignore", RuntimeWarning)
        series = np.stack([statistic(values[numbers == number], axis=0) for number in present])
    filled = _interpolate(series, present.astype(np.float32))
    return filled.transpose(1, 0, 2).reshape(values.shape[1], -1).astype(np.float32)


def _interpolate(series: NDArray[np.float32], times: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill gaps of (W, N, C) along the first axis linearly, by the nearest value at the ends."""
    count = len(series)
    index = np.arange(count)[:, None, None]
    known = np.isfinite(series)
    before = np.maximum.accumulate(np.where(known, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, index, count)[::-1], axis=0)[::-1]
    left = np.where(before >= 0, before, after)
    right = np.where(after < count, after, before)
    left, right = np.clip(left, 0, count - 1), np.clip(right, 0, count - 1)
    low, high = np.take_along_axis(series, left, 0), np.take_along_axis(series, right, 0)
    span = times[right] - times[left]
    share = np.divide(times[index] - times[left], span, out=np.zeros_like(low), where=span > 0)
    filled: NDArray[np.float32] = low + (high - low) * share
    return filled
