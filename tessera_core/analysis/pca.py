"""Principal components of an embedding raster, fitted on a seeded sample and applied a block at a time.

Refuses to know how components become a picture (see ``render.picture``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.int8 import BLOCK, CodeProduct
from tessera_core.errors import RasterError
from tessera_core.raster import EmbeddingRaster, valid_scales

SAMPLE = 50_000


@dataclass(frozen=True)
class PCA:
    """A fitted projection.

    Attributes:
        mean: float32 (D,).
        components: float32 (n, D), orthonormal rows, by falling variance; the largest loading of each is positive.
        explained: float32 (n,) share of the sample's variance.
        low, high: float32 (n,) 2nd and 98th percentile of the sample's scores, for a stretch.
        levels: float32 (256, n) the sample's scores at evenly spaced ranks, for an equalised stretch.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    explained: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    levels: NDArray[np.float32]

    def transform(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores: float32 (..., n) of vectors (..., D)."""
        return np.asarray((values - self.mean) @ self.components.T, np.float32)

    def shades(
        self, scores: NDArray[np.float32], components: Sequence[int], equalise: bool = False
    ) -> NDArray[np.uint8]:
        """Scores of some components as shades, uint8 (..., n): stretched, or each shade equally often.

        Args:
            scores: float32 (..., n), those of ``components``; NaN becomes 0.
            components: which ones, in this order.
            equalise: give every shade the same share of the sample, instead of a stretch from the 2nd to the 98th percentile.
        """
        chosen = list(components)
        if equalise:
            ranks = [np.searchsorted(self.levels[:, c], scores[..., i]) for i, c in enumerate(chosen)]
            return np.asarray(np.minimum(np.stack(ranks, -1), 255) * ~np.isnan(scores), np.uint8)
        low, span = self.low[chosen], np.maximum(self.high - self.low, np.finfo(np.float32).tiny)[chosen]
        return np.asarray(np.nan_to_num(np.clip((scores - low) * (255 / span), 0, 255)), np.uint8)

    def blocks(
        self, raster: EmbeddingRaster, components: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Scores of a raster a block of rows at a time: ``(rows, float32 (h, W, n))``, NaN where there is no data.

        Args:
            components: which ones, in this order; None for all.
        """
        chosen = self.components if components is None else self.components[list(components)]
        offset = chosen @ self.mean
        # Projecting the codes first leaves n instead of D values per pixel to scale.
        product = CodeProduct(chosen.T)
        width = raster.grid.width
        step = max(1, BLOCK // width)
        for start in range(0, raster.grid.height, step):
            rows = slice(start, min(start + step, raster.grid.height))
            codes = np.ascontiguousarray(raster.codes[rows]).reshape(-1, raster.dim)
            scales = raster.scales[rows]
            scales = np.where(valid_scales(scales), scales, np.float32(np.nan))
            scores = product(codes, scales.reshape(-1), -offset)
            yield rows, np.ascontiguousarray(scores.T).reshape(-1, width, len(chosen))


def sample_valid(raster: EmbeddingRaster, count: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of up to ``count`` pixels with data, in raster order, chosen without replacement."""
    pixels = np.flatnonzero(raster.valid())
    if len(pixels) > count:
        pixels = np.sort(np.random.default_rng(seed).choice(pixels, count, replace=False))
    rows, cols = np.divmod(pixels, raster.grid.width)
    return rows, cols


def fit_pca(
    raster: EmbeddingRaster | Sequence[EmbeddingRaster], n: int = 3, seed: int = 0, sample: int = SAMPLE
) -> PCA:
    """Principal components from at most ``sample`` pixels of a raster, or of several together.

    Several years (or regions of one dataset) fitted together share their components, so that a colour means the same in all.

    Raises:
        RasterError: no pixel has data.
        MixedDatasetsError: the rasters are of different datasets.
    """
    rasters = [raster] if isinstance(raster, EmbeddingRaster) else list(raster)
    for other in rasters[1:]:
        rasters[0].provenance.require_same_dataset(other.provenance, "one picture")
    share = max(1, sample // len(rasters))
    values = np.concatenate([each.sample(*sample_valid(each, share, seed)) for each in rasters])
    if len(values) == 0:
        raise RasterError(
            "Every pixel of this raster is without data, so there is nothing to show. Choose another area."
        )
    mean = values.mean(0, dtype=np.float64)
    centred = values - mean.astype(np.float32)
    covariance = (centred.T @ centred).astype(np.float64) / max(1, len(values) - 1)
    variance, vectors = np.linalg.eigh(covariance)
    n = min(n, values.shape[1])
    components = vectors[:, ::-1][:, :n].T
    # An eigenvector's sign is arbitrary; fixing it keeps the colours of a region the same on every machine.
    signs = np.sign(components[np.arange(n), np.abs(components).argmax(1)])
    components = (components * signs[:, None]).astype(np.float32)
    scores = centred @ components.T
    low, high = (np.percentile(scores, q, axis=0).astype(np.float32) for q in (2, 98))
    levels = np.quantile(scores, np.linspace(0, 1, 256), axis=0).astype(np.float32)
    explained = variance[::-1][:n] / max(float(variance.sum()), np.finfo(np.float64).tiny)
    mean32 = mean.astype(np.float32)
    return PCA(mean32, components.astype(np.float32), explained.astype(np.float32), low, high, levels)
