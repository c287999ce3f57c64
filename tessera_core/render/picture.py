"""Pictures people can read: embeddings as colour, satellite time series as a cloud-free photograph.

Arrays are visited a block of rows at a time. Refuses to know where a picture is shown.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import RasterError
from tessera_core.gate import open_file
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tessera_core.render.palette import NDVI_COLORMAP, rgb

if TYPE_CHECKING:
    from tessera_core.analysis.pca import PCA
    from tessera_core.dpixels.tile import DPixelTile

# Red, green and blue in the Sentinel-2 band order B04, B02, B03, ... of d-pixel tiles.
RED_GREEN_BLUE = (0, 2, 1)
INFRARED_RED_GREEN = (3, 0, 2)
MEDIAN_BYTES = 32 << 20


def read_picture(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A PNG that lies beside embeddings.

    Args:
        path: of the file.
        shape: rows and columns that it must have; a picture of another size is not even decoded.

    Returns:
        uint8 (H, W, 3).

    Raises:
        RasterError: it is no such picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with open_file(path, RasterError) as file, Image.open(file, formats=("PNG",)) as image:
            if image.size == shape[::-1]:
                return np.array(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise RasterError(f"{path.name} beside the embeddings cannot be read as a picture; remove it.") from error
    raise RasterError(f"{path.name} beside the embeddings is a picture of another size; remove it.")


def pca_picture(
    raster: EmbeddingRaster,
    seed: int = 0,
    pca: PCA | None = None,
    components: Sequence[int] = (0, 1, 2),
    equalise: bool = False,
) -> NDArray[np.uint8]:
    """Three principal components as red, green and blue.

    Args:
        pca: to use, such as one shared by several years; None fits one on this raster.
        components: which to show, counted from 0; those that the raster does not have repeat its last one.
        equalise: give every shade the same share of the sample, instead of a stretch from the 2nd to the 98th percentile.

    Returns:
        uint8 (H, W, 3); black where there is no data (see ``raster.valid()``).

    Raises:
        RasterError: no pixel has data.
    """
    if pca is None:
        # Loaded here: whoever looks at photographs does not wait for what embeddings need.
        from tessera_core.analysis.pca import fit_pca

        pca = fit_pca(raster, max(components) + 1, seed)
    chosen = np.minimum(components, len(pca.components) - 1).tolist()
    out = np.zeros((*raster.shape, 3), np.uint8)
    for rows, scores in pca.blocks(raster, chosen):
        out[rows] = pca.shades(scores, chosen, equalise)
    return out


def pale(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) as light greys, for a map on which other colours must be seen."""
    grey = 130 + picture.mean(-1, keepdims=True) * (110 / 255)
    return np.broadcast_to(grey.astype(np.uint8), picture.shape)


def ndvi_picture(tile: DPixelTile) -> NDArray[np.uint8]:
    """Median vegetation index of the year, from brown (0 and below) over yellow to dark green (0.9), see
    :data:`~tessera_core.render.palette.NDVI_COLORMAP`.

    NDVI = (B08 - B04) / (B08 + B04) of the median reflectances of valid observations.

    Returns:
        uint8 (H, W, 3); black where no observation is valid.
    """
    median = _median(tile, (0, 3))
    red, infrared = median[..., 0], median[..., 1]
    seen = red + infrared > 0
    index = np.where(seen, (infrared - red) / np.maximum(red + infrared, 1), 0)
    stops = np.array([value for value, *_ in NDVI_COLORMAP])
    colours = np.array([rgb(colour) for _, colour, _ in NDVI_COLORMAP], np.float32)
    out = np.stack([np.interp(index, stops, colours[:, band]) for band in range(3)], -1)
    return (out * seen[..., None]).astype(np.uint8)


def true_colour(tile: DPixelTile, dates: NDArray[np.intp] | None = None) -> NDArray[np.uint8]:
    """A natural-colour photograph of the year: per pixel the median of the valid Sentinel-2 observations.

    Reflectance is stretched from 0 to the scene's 99th percentile with a gamma of 1/1.6, one stretch for the three bands so
    that hues stay true.

    Args:
        dates: positions of the dates to use; None for all.

    Returns:
        uint8 (H, W, 3); black where no observation is valid.
    """
    return _stretched(_median(tile, RED_GREEN_BLUE, dates))


def false_colour(tile: DPixelTile) -> NDArray[np.uint8]:
    """Near infrared, red and green of the year as red, green and blue: plants are red. Each band has a stretch of its own.

    Returns:
        uint8 (H, W, 3); black where no observation is valid.
    """
    median = _median(tile, INFRARED_RED_GREEN)
    return np.concatenate([_stretched(median[..., band : band + 1]) for band in range(3)], -1)


def _stretched(median: NDArray[np.float32]) -> NDArray[np.uint8]:
    seen = median.max(-1) > 0
    if not seen.any():
        return np.zeros(median.shape, np.uint8)
    white = max(float(np.percentile(median[seen], 99)), 1.0)
    return (255 * np.clip(median / white, 0, 1) ** (1 / 1.6)).round().astype(np.uint8)


def _median(tile: DPixelTile, bands: tuple[int, ...], dates: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
    """Medians (H, W, bands) of the valid observations, a block of rows at a time; 0 where there is none."""
    _, height, width = tile.masks.shape
    of = np.arange(len(tile.masks)) if dates is None else dates
    median = np.zeros((height, width, len(bands)), np.float32)
    if len(of):
        step = max(1, MEDIAN_BYTES // (len(of) * width * len(bands) * 2))
        for start in range(0, height, step):
            rows = slice(start, min(start + step, height))
            values = np.stack([tile.bands[:, rows, :, band][of] for band in bands], -1)
            median[rows] = _masked_median(values, tile.masks[:, rows][of] != 0)
    return median


def _masked_median(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Lower median over axis 0 of values (T, h, W, B) where valid (T, h, W); 0 where nothing is valid."""
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
    rgba = np.dstack([picture, np.where(valid, np.uint8(255), np.uint8(0))])
    return _png(display.warp(rgba))


def encode_view(picture: NDArray[np.uint8], valid: NDArray[np.bool_]) -> bytes:
    """What a screen shows of a picture, uint8 (h, w, 3), as PNG bytes, transparent where bool (h, w) says there is no data."""
    return _png(np.dstack([picture, np.where(valid, np.uint8(255), np.uint8(0))]))


def _png(rgba: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(rgba, "RGBA").save(file, "PNG", compress_level=1)
    return file.getvalue()
