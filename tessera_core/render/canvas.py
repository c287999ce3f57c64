"""The pictures that a map lies on: what the satellites saw in a year, and what the embeddings look like as colours.

Owns their names, what people call them, and which of them a year has; :mod:`tessera_core.render.picture` paints. Pictures that
lie beside embeddings as PNG files are read; the others are made of the satellite time series.
"""

from __future__ import annotations

import io
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import InputError
from tessera_core.language import later
from tessera_core.raster import picture_file
from tessera_core.render.palette import NDVI_COLORMAP


class CanvasPicture(NamedTuple):
    """What people are told about a picture.

    Attributes:
        title: its name.
        sentence: what it shows.
    """

    title: str
    sentence: str


EMBEDDING = "pca"
TRUE_COLOUR = "truecolour"
# By the months that they are of, so that the names hold on both halves of the Earth.
SEASONS = {
    "truecolour_dec_feb": (12, 1, 2),
    "truecolour_mar_may": (3, 4, 5),
    "truecolour_jun_aug": (6, 7, 8),
    "truecolour_sep_nov": (9, 10, 11),
}
# Of a season so much of the ground was seen without clouds, or its picture is not offered.
SEEN_SHARE = 0.95
_SAMPLE = 64  # rows and columns that are asked
_SEASON = "As the eye would see it on the clear days of these months: what is green, bare or harvested then."
PICTURES = {
    TRUE_COLOUR: CanvasPicture(
        later("True colour"), "As the eye would see it from above on the clear days of the year."
    ),
    "truecolour_dec_feb": CanvasPicture(later("True colour, December to February"), _SEASON),
    "truecolour_mar_may": CanvasPicture(later("True colour, March to May"), _SEASON),
    "truecolour_jun_aug": CanvasPicture(later("True colour, June to August"), _SEASON),
    "truecolour_sep_nov": CanvasPicture(later("True colour, September to November"), _SEASON),
    "falsecolour": CanvasPicture(
        later("Plants in red"),
        "Near infrared light, which plants throw back, as red: the redder, the denser. Water is nearly black.",
    ),
    "ndvi": CanvasPicture(
        later("Greenness"),
        "How green the ground is over the year, from brown (bare) over yellow to dark green (dense plants).",
    ),
    EMBEDDING: CanvasPicture(
        later("Embedding picture"),
        "What changed alike through the year has a similar colour. The colours are not those of the ground.",
    ),
}
"""By name, in the order in which people are offered them."""

GREENNESS = tuple((colour, words) for _, colour, words in NDVI_COLORMAP if words)
"""Legend of the picture ``"ndvi"``."""


def satellite_pictures(embeddings: Path | None, dpixels: Path | None) -> tuple[str, ...]:
    """Names of the pictures that show what satellites saw, in the order of :data:`PICTURES`; quick.

    Args:
        embeddings: their folder, or None.
        dpixels: folder of the time series they were made from, or None.

    Raises:
        TileError: ``dpixels`` holds no readable tile.
    """
    names = {name for name in PICTURES if name != EMBEDDING and _beside(embeddings, name) is not None}
    if dpixels is not None and dpixels.is_dir():
        names |= set(made_pictures(DPixelTile.open(dpixels)))
    return tuple(name for name in PICTURES if name in names)


def made_pictures(tile: DPixelTile) -> tuple[str, ...]:
    """Names of the pictures that can be made of a tile: of seasons only those in which nearly all of it was seen."""
    if not len(tile.doys):
        return ()
    # Whether a season was clear is the same whether every pixel is asked or some, and of large tiles little is read.
    rows, cols = (max(1, -(-size // _SAMPLE)) for size in tile.masks.shape[1:])
    masks = np.asarray(tile.masks[:, ::rows, ::cols]) != 0
    ever = masks.any(0)
    clear = []
    for name in SEASONS:
        dates = _dates(tile, name)
        seen = masks[dates].any(0)[ever]
        if 0 < len(dates) < len(masks) and seen.size and seen.mean() >= SEEN_SHARE:
            clear.append(name)
    return (TRUE_COLOUR, *clear, "falsecolour", "ndvi")


def has_photograph(embeddings: Path | None, dpixels: Path | None) -> bool:
    """Whether :func:`photograph` has one; not a file is opened."""
    return _beside(embeddings, TRUE_COLOUR) is not None or (dpixels is not None and dpixels.is_dir())


def photograph(embeddings: Path | None, dpixels: Path | None, shape: tuple[int, int]) -> NDArray[np.uint8] | None:
    """The year in true colour, see :func:`satellite_picture`."""
    return satellite_picture(TRUE_COLOUR, embeddings, dpixels, shape)


def satellite_picture(
    name: str, embeddings: Path | None, dpixels: Path | None, shape: tuple[int, int]
) -> NDArray[np.uint8] | None:
    """One of :func:`satellite_pictures`: the one that lies beside the embeddings, or made of the time series by blocks.

    Args:
        name: of :data:`PICTURES`.
        embeddings: their folder, or None.
        dpixels: folder of the time series they were made from, or None.
        shape: rows and columns of the embeddings.

    Returns:
        uint8 (H, W, 3), black where nothing was seen; None where there is neither.

    Raises:
        RasterError: what lies beside the embeddings is no such picture.
        TileError: ``dpixels`` holds no readable tile.
        InputError: no picture of satellite data has that name.
    """
    from tessera_core.render.picture import read_picture

    file = _beside(embeddings, name)
    if file is not None:
        return read_picture(file, shape)
    return painted(name, DPixelTile.open(dpixels)) if dpixels is not None and dpixels.is_dir() else None


def painted(name: str, tile: DPixelTile) -> NDArray[np.uint8]:
    """A picture of a tile, uint8 (H, W, 3), black where nothing was seen.

    Raises:
        InputError: no picture of satellite data has that name.
    """
    from tessera_core.render.picture import false_colour, ndvi_picture, true_colour

    if name == "ndvi":
        return ndvi_picture(tile)
    if name == "falsecolour":
        return false_colour(tile)
    if name not in (TRUE_COLOUR, *SEASONS):
        raise InputError(f"There is no picture {name!r}; there are {', '.join(n for n in PICTURES if n != EMBEDDING)}.")
    return true_colour(tile, _dates(tile, name) if name in SEASONS else None)


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 3), or class ids (H, W), as a small PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _beside(embeddings: Path | None, name: str) -> Path | None:
    if embeddings is None or name not in PICTURES:
        return None
    file = picture_file(embeddings, name)
    return file if file.is_file() else None


def _dates(tile: DPixelTile, season: str) -> NDArray[np.intp]:
    """Which dates (n,) of a tile lie in a season."""
    year = tile.year or 2023
    first = date(year, 1, 1)
    months = np.array([(first + timedelta(int(day) - 1)).month for day in tile.doys], np.intp)
    return np.flatnonzero(np.isin(months, SEASONS[season]))
