"""One pixel's year as satellites saw it: reflectances, vegetation index and radar by day, with what was valid.

Reads only that pixel from a memory-mapped tile. Refuses to know embeddings and how a story is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.tile import S1_POLARISATIONS, S2_BANDS, DPixelTile
from tessera_core.errors import GridError
from tessera_core.types import Floats

_RED, _INFRARED = S2_BANDS.index("B04"), S2_BANDS.index("B08")


@dataclass(frozen=True)
class Radar:
    """Sentinel-1 of one pixel and orbit direction, passes that saw it only, by day.

    Attributes:
        days: int16 (P,) day of the year.
        db: float32 (P, 2) VV and VH in decibels; NaN where one of them was too faint to store.
    """

    days: NDArray[np.int16]
    db: Floats


@dataclass(frozen=True)
class PixelTimeSeries:
    """One pixel's year, dates in order.

    Attributes:
        days: int16 (T,) day of the year of each Sentinel-2 date.
        valid: bool (T,) whether the pixel was seen clearly that day.
        reflectance: float32 (T, 10), 0..1 in the order of ``tile.S2_BANDS``; NaN where nothing was measured.
        ndvi: float32 (T,) (B08 - B04) / (B08 + B04); NaN where nothing was measured.
        ascending, descending: radar of the two orbit directions.
    """

    days: NDArray[np.int16]
    valid: NDArray[np.bool_]
    reflectance: Floats
    ndvi: Floats
    ascending: Radar
    descending: Radar


def pixel_time_series(tile: DPixelTile, row: int, col: int) -> PixelTimeSeries:
    """The story of a pixel.

    Raises:
        GridError: the pixel lies off the tile.
    """
    height, width = tile.shape
    if not (0 <= row < height and 0 <= col < width):
        raise GridError(f"The pixel in row {row}, column {col} lies outside the satellite data ({height} x {width}).")
    order = np.argsort(tile.doys, kind="stable")
    bands = np.asarray(tile.bands[:, row, col])[order].astype(np.float32)
    # 0 is "no data" in the stored integers (docs/spec/model.md section 2.1).
    reflectance = np.where(bands > 0, bands / 10_000, np.float32(np.nan))
    red, infrared = reflectance[:, _RED], reflectance[:, _INFRARED]
    total = red + infrared
    ndvi = np.divide(infrared - red, total, out=np.full_like(total, np.nan), where=total > 0)
    valid = (np.asarray(tile.masks[:, row, col]) != 0)[order] & np.isfinite(ndvi)
    return PixelTimeSeries(
        np.asarray(tile.doys)[order].astype(np.int16),
        valid,
        reflectance.astype(np.float32),
        ndvi.astype(np.float32),
        _radar(tile.sar_asc, tile.doys_asc, row, col),
        _radar(tile.sar_desc, tile.doys_desc, row, col),
    )


def _radar(sar: NDArray[np.integer], days: NDArray[np.integer], row: int, col: int) -> Radar:
    if not len(days):
        return Radar(np.zeros(0, np.int16), np.zeros((0, len(S1_POLARISATIONS)), np.float32))
    order = np.argsort(days, kind="stable")
    raw = np.asarray(sar[:, row, col])[order].astype(np.float32)
    seen = (raw != 0).any(1)
    # Stored is (20 log10(power) + 50) * 200, which counts decibels twice; 0 = missing (docs/spec/model.md section 4).
    db = np.where(raw != 0, (raw / 200 - 50) / 2, np.nan)
    return Radar(np.asarray(days)[order][seen].astype(np.int16), db[seen].astype(np.float32))
