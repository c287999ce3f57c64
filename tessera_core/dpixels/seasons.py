"""What plain statistics say of a year of pixels: monthly medians with gaps filled, the yearly wave, and radar means.

These are what practitioners use without embeddings, and what stands beside an embedding when the two are joined
(:mod:`tessera_core.dpixels.season_raster`): cheap, and of what an encoder may have overlooked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.tile import S2_BANDS, DPixelTile
from tessera_core.types import Floats

# A twelfth of a year; a window of 30 days would leave five days over.
WINDOW_DAYS = 365.25 / 12
# How far the seasons spread beside embeddings of spread 1 that know them already: at equal spread they count twice (docs/heads.md).
BESIDE_KNOWN = 0.35
# Pixels in one go: 90 dates of 10 bands in float32 are 15 MB.
PIXELS = 4096
_RED, _GREEN, _INFRARED, _SHORT = (S2_BANDS.index(band) for band in ("B04", "B03", "B08", "B11"))
# Pairs of bands whose normalised difference is known as NDVI, NDWI (McFeeters 1996) and NDMI.
_PAIRS = ((_INFRARED, _RED), (_GREEN, _INFRARED), (_INFRARED, _SHORT))


def monthly_statistics(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
    """Medians of the 10 Sentinel-2 bands and means of VV and VH of each orbit, in twelfths of the year.

    Windows in which the whole tile has no date are left out; a pixel without a clear observation in a window gets the value
    interpolated between its neighbouring windows.

    Args:
        tile: the time series.
        rows, cols: (N,) pixels.

    Returns:
        float32 (N, F), reflectance x 10000 and stored radar units; NaN where a pixel was never observed by one of the sensors.
    """
    return _in_parts(_months, tile, rows, cols)


def seasonal_statistics(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
    """Monthly statistics, the yearly wave of three indices, and radar means: the block that joins an embedding.

    The wave is the least-squares fit of ``mean + a cos(2 pi t) + b sin(2 pi t)`` and of twice that frequency to the filled
    months of NDVI, NDWI and NDMI; ``(a, b)`` is amplitude and phase without the jump that a phase has at new year. Of radar
    come, beside the months, the mean of each polarisation and of their difference over all passes. There are always twelve
    months, those without a date filled as gaps are, so that what a number means does not depend on the weather.

    Args:
        tile: the time series.
        rows, cols: (N,) pixels.

    Returns:
        float32 (N, F), in units of its own for each number, see :func:`standardised`; NaN where a pixel was never seen.
    """
    return _in_parts(_seasons, tile, rows, cols)


def monthly_series(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Twelve filled months of each pixel, as encoders of composites take them.

    Args:
        tile: the time series.
        rows, cols: (N,) pixels.

    Returns:
        float32 (N, 12, 10) medians of reflectance x 10000 in the order of :data:`.S2_BANDS`, and float32 (N, 12, 2) means of VV
        and VH in decibels over both orbits; NaN where a sensor never saw the pixel.
    """
    (optical, times), *radar = _sensors(tile, rows, cols)
    months = _all_months(optical, times)[0].transpose(1, 0, 2)
    if not radar:
        return months, np.full((len(rows), 12, 2), np.nan, np.float32)
    stored = np.stack([_all_months(*one)[0] for one in radar])
    known = np.isfinite(stored)
    total = np.where(known, stored, 0).sum(0) / np.maximum(known.sum(0), 1)
    # (2 dB + 50) * 200 is how tiles store decibels.
    decibels = np.where(known.any(0), (total / 200 - 50) / 2, np.nan)
    return months, decibels.transpose(1, 0, 2).astype(np.float32)


def standardised(values: Floats, mean: Floats | None = None, spread: Floats | None = None, most: float = 5.0) -> Floats:
    """Each number less its mean, divided by its deviation, and cut at ``most`` deviations; rows that are not finite stay so.

    Args:
        values: float (N, F).
        mean, spread: float (F,) of other pixels; None for those of the finite rows of ``values``.
        most: what cloud that was overlooked may do at most.

    Example:
        >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    finite = np.isfinite(values).all(axis=1)
    if mean is None or spread is None:
        known = values[finite] if finite.any() else np.zeros((1, values.shape[1]), np.float32)
        mean, spread = known.mean(0, dtype=np.float64), known.std(0, dtype=np.float64)
    scaled = (values - mean) / np.where(spread > 1e-12, spread, 1)
    # NaN passes through.
    return np.clip(scaled, -most, most).astype(np.float32)


def _in_parts(
    of: Callable[[DPixelTile, NDArray[np.integer], NDArray[np.integer]], Floats],
    tile: DPixelTile,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
) -> Floats:
    starts = range(0, max(len(rows), 1), PIXELS)
    return np.concatenate([of(tile, rows[at : at + PIXELS], cols[at : at + PIXELS]) for at in starts])


def _months(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
    sets = [_flat(series) for series, _ in _sensors(tile, rows, cols)]
    return np.concatenate(sets, axis=1)


def _seasons(tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]) -> Floats:
    (optical, times), *radar = [_all_months(*one) for one in _sensors(tile, rows, cols)]
    sets = [optical_numbers(optical, times), *(radar_numbers(series) for series, _ in radar)]
    return np.concatenate(sets, axis=1).astype(np.float32)


def optical_numbers(months: Floats, times: NDArray[np.float32]) -> Floats:
    """What :func:`seasonal_statistics` says of filled months of Sentinel-2: these, and the wave of three indices.

    Args:
        months: (12, N, 10) in the order of :data:`.S2_BANDS`.
        times: (12,) numbers of the months.

    Returns:
        float32 (N, 135).
    """
    waves = _waves(np.stack([_difference(months, *pair) for pair in _PAIRS], axis=-1), times)
    return np.concatenate([_flat(months), waves], axis=1)


def radar_numbers(months: Floats) -> Floats:
    """The same of radar, (12, N, 2) -> (N, 27): the months, the mean of each polarisation, and of their difference."""
    means = months.mean(0)
    return np.concatenate([_flat(months), means, means[:, :1] - means[:, 1:]], axis=1)


def _sensors(
    tile: DPixelTile, rows: NDArray[np.integer], cols: NDArray[np.integer]
) -> list[tuple[Floats, NDArray[np.float32]]]:
    """Filled months (W, N, C) of each sensor that has dates, with the number of each window."""
    bands = np.asarray(tile.bands[:, rows, cols]).astype(np.float32)
    bands[np.asarray(tile.masks[:, rows, cols]) == 0] = np.nan
    sets = [windows(bands, tile.doys, np.nanmedian)]
    for sar, doys in ((tile.sar_asc, tile.doys_asc), (tile.sar_desc, tile.doys_desc)):
        if len(doys):
            radar = np.asarray(sar[:, rows, cols]).astype(np.float32)
            radar[radar == 0] = np.nan
            sets.append(windows(radar, doys, np.nanmean))
    return sets


def _all_months(series: Floats, times: NDArray[np.float32]) -> tuple[Floats, NDArray[np.float32]]:
    """The twelve months of (W, N, C) filled ones; a thirteenth, of the last hours of a leap year, is left out."""
    months = np.arange(12, dtype=np.float32)
    full = np.full((12, *series.shape[1:]), np.nan, np.float32)
    inside = times < len(months)
    full[times[inside].astype(int)] = series[inside]
    return (interpolate(full, months), months) if inside.any() else (np.repeat(series[:1], 12, axis=0), months)


def _flat(series: Floats) -> Floats:
    """(W, N, C) -> (N, W * C)."""
    count, pixels, channels = series.shape
    return series.transpose(1, 0, 2).reshape(pixels, count * channels).astype(np.float32)


def _difference(series: Floats, first: int, second: int) -> Floats:
    a, b = series[..., first], series[..., second]
    return (a - b) / np.maximum(a + b, 1)


def _waves(series: Floats, times: NDArray[np.float32]) -> Floats:
    """Mean and two harmonics (N, 5 C) of twelve months (12, N, C)."""
    angle = 2 * np.pi * (times + 0.5) / 12
    columns = [np.ones_like(angle), np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)]
    fitted, *_ = np.linalg.lstsq(np.stack(columns, axis=1), series.reshape(len(times), -1), rcond=None)
    return _flat(fitted.reshape(len(columns), *series.shape[1:]).astype(np.float32))


def windows(
    values: NDArray[np.float32], doys: NDArray[np.integer], statistic: Callable[..., Any]
) -> tuple[Floats, NDArray[np.float32]]:
    """A statistic of (T, N, C) in each window that has a date, gaps filled: (W, N, C), and the numbers of the windows (W,)."""
    numbers = np.floor((doys.astype(float) - 0.5) / WINDOW_DAYS)
    present = np.unique(numbers)
    with warnings.catch_warnings():
        # A pixel may be cloudy through a whole window; it is filled in below.
        warnings.simplefilter("ignore", RuntimeWarning)
        series = np.stack([statistic(values[numbers == number], axis=0) for number in present])
    times = present.astype(np.float32)
    return interpolate(series, times), times


def interpolate(series: NDArray[np.float32], times: NDArray[np.float32]) -> NDArray[np.float32]:
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
