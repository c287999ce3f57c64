"""A landscape of parcels embedded in two years, with known change, weather, offsets and noise; quick stand-in for the demo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_grid, make_raster

SIZE, DIM, CLASSES, PARCEL = 144, 48, 7, 12


@dataclass(frozen=True)
class TwoYears:
    """Two rasters and which pixels changed, bool (H, W); ``covers`` int (H, W) is the first year's class."""

    first: EmbeddingRaster
    second: EmbeddingRaster
    changed: NDArray[np.bool_]
    covers: NDArray[np.intp]


def two_years(
    seed: int = 0,
    share: float = 0.2,
    weather: float = 0.6,
    noisy_cover: float = 1.0,
    size: int = SIZE,
    blur: float = 0.45,
    offset: float = 0.12,
) -> TwoYears:
    """Make it.

    Args:
        share: of the parcels that change class.
        weather: how far the whole scene moves, in units of the distance between classes / 10.
        noisy_cover: how much noisier class 0 is than the others.
        blur: spread of the footprint in pixels.
        offset: pixels by which an image lies off at most, along each axis.
    """
    rng = np.random.default_rng(seed)
    cells = -(-size // PARCEL)
    before = rng.integers(0, CLASSES, (cells, cells))
    after = np.where(
        rng.random(before.shape) < share, (before + rng.integers(1, CLASSES, before.shape)) % CLASSES, before
    )
    centres = rng.normal(size=(CLASSES, DIM))
    turn = np.eye(DIM) + weather * 0.05 * rng.normal(size=(DIM, DIM)) / np.sqrt(DIM)
    move = weather * 0.1 * rng.normal(size=DIM)
    rasters, maps = [], []
    for number, cover in enumerate((before, after)):
        classes = cover.repeat(PARCEL, 0).repeat(PARCEL, 1)[:size, :size]
        maps.append(classes)
        values = centres[classes]
        # The footprint blurs, and each year's images lie some metres beside the other's.
        away = np.r_[rng.uniform(-offset, offset, 2), 0]
        values = shift(gaussian_filter(values, (blur, blur, 0)), away, order=1, mode="nearest")
        # No two pixels are seen equally often, so their noise differs, too.
        level = np.exp(0.45 * rng.normal(size=classes.shape))[..., None]
        level = level * np.where(classes == 0, noisy_cover, 1.0)[..., None]
        # Noise of single pixels, and of clouds that neighbours share.
        clouds = gaussian_filter(rng.normal(size=values.shape), (2, 2, 0)) * 7
        values = values + level * (0.12 * rng.normal(size=values.shape) + 0.10 * clouds)
        if number:
            values = values @ turn + move
        stamp = Provenance("studio", "test", "", DIM, 2023 + number)
        rasters.append(make_raster(values, make_grid((size, size), 4e5, 5.7e6), stamp, empty=np.s_[number, :4]))
    return TwoYears(rasters[0], rasters[1], maps[0] != maps[1], maps[0])
