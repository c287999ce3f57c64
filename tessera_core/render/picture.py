"""Pictures people can read: embeddings as colour, satellite time series as a cloud-free photograph.

Arrays are visited a block of rows at a time. Refuses to know where a picture is shown.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.pca import PCA, fit_pca
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid

if TYPE_CHECKING:
    from tessera_core.dpixels.tile import DPixelTile

# Red, green and blue in the Sentinel-2 band order B04, B02, B03, ... of d-pixel tiles.
RED_GREEN_BLUE = (0, 2, 1)
MEDIAN_BYTES = 32 << 20


def pca_picture(raster: EmbeddingRaster, seed: int = 0, pca: PCA | None = None) -> NDArray[np.uint8]:
    """The first three principal components as red, green and blue, stretched from the 2nd to the 98th percentile.

    Returns:
        uint8 (H, W, 3); black where there is no data (see ``raster.valid()``).

    Raises:
        RasterError: no pixel has data.
    """
    pca = pca or fit_pca(raster, 3, seed)
    out = np.zeros((*raster.shape, 3), np.uint8)
    span = np.maximum(pca.high - pca.low, np.finfo(np.float32).tiny)
    for rows, scores in pca.blocks(raster):
        n = scores.shape[-1]
        scaled = np.clip((scores[..., :3] - pca.low[:3]) * (255 / span[:3]), 0, 255)
        block = np.nan_to_num(scaled).astype(np.uint8)
        # Rasters with fewer than three dimensions repeat the last one, which shows as grey.
        out[rows] = block[..., np.minimum(np.arange(3), n - 1)]
    return out


def true_colour(tile: DPixelTile) -> NDArray[np.uint8]:
    """A natural-colour photograph of the year: per pixel the median of the valid Sentinel-2 observations.

    Reflectance is stretched from 0 to the scene's 99th percentile with a gamma of 1/1.6, one stretch for the three bands so
    that hues stay true.

    Returns:
        uint8 (H, W, 3); black where no observation is valid.
    """
    height, width = tile.masks.shape[1:]
    dates = tile.masks.shape[0]
    median = np.zeros((height, width, 3), np.float32)
    if dates:
        step = max(1, MEDIAN_BYTES // (dates * width * 3 * 2))
        for start in range(0, height, step):
            rows = slice(start, min(start + step, height))
            median[rows] = _masked_median(
                np.asarray(tile.bands[:, rows][..., RED_GREEN_BLUE]), tile.masks[:, rows] != 0
            )
    seen = median.max(-1) > 0
    if not seen.any():
        return np.zeros((height, width, 3), np.uint8)
    white = max(float(np.percentile(median[seen], 99)), 1.0)
    return (255 * np.clip(median / white, 0, 1) ** (1 / 1.6)).round().astype(np.uint8)


def _masked_median(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Lower median over axis 0 of values (T, h, W, 3) where valid (T, h, W); 0 where nothing is valid."""
    count = valid.sum(0)
    # Sorting with invalid observations last makes the median an index; along the last axis the sort is vectorised.
    last = np.iinfo(np.uint16).max
    ordered = np.where(valid[..., None], np.clip(values, 0, last - 1), last).astype(np.uint16)
    ordered = np.sort(np.moveaxis(ordered, 0, -1), axis=-1)
    middle = np.maximum(count - 1, 0) // 2
    median = np.take_along_axis(ordered, middle[..., None, None], axis=-1)[..., 0].astype(np.float32)
    median[count == 0] = 0
    return median


def encode_picture(picture: NDArray[np.uint8], valid: NDArray[np.bool_], display: DisplayGrid) -> bytes:
    """A scene picture as display PNG bytes, transparent where there is no data and off the scene.

    Args:
        picture: uint8 (H, W, 3).
        valid: bool (H, W).
        display: the grid to show it on.
    """
    from PIL import Image

    rgba = np.dstack([picture, np.where(valid, np.uint8(255), np.uint8(0))])
    file = io.BytesIO()
    Image.fromarray(display.warp(rgba), "RGBA").save(file, "PNG", compress_level=1)
    return file.getvalue()
