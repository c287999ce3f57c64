"""A tile of time series in which each season has a colour of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tessera_core.dpixels.tile import S2_BANDS, write_tile

DAYS = (15, 40, 100, 110, 190, 200, 290, 300)
# Reflectance of red, green and blue by season: white snow, green spring, yellow summer, brown autumn.
SHADES = ((6000, 6000, 6000), (600, 2500, 600), (4000, 3500, 500), (1800, 900, 600))


def tile_of(folder: Path, raster, size: int = 64) -> Path:
    """Two days of each season; on the first of each, half the ground is under cloud."""
    bands = np.full((len(DAYS), size, size, len(S2_BANDS)), 3000, np.uint16)
    masks = np.ones((len(DAYS), size, size), np.uint8)
    for number in range(len(DAYS)):
        for band, shade in zip(("B04", "B03", "B02"), SHADES[number // 2], strict=True):
            bands[number, ..., S2_BANDS.index(band)] = shade
        if number % 2 == 0:
            masks[number, :, : size // 2] = 0
            bands[number, :, : size // 2] = 9000
    radar = np.full((2, size, size, 2), 8000, np.int16)
    return write_tile(
        folder, bands=bands, masks=masks, doys=np.array(DAYS), sar_asc=radar, doys_asc=np.array([50, 250]),
        grid=raster.grid, meta={"year": raster.provenance.year},
    )  # fmt: skip
