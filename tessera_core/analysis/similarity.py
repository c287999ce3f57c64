"""How alike pixels are to chosen seeds, on an absolute scale: the same value means the same likeness after every click.

Cosine likeness needs no scales: with ``embedding = code * scale`` the scale cancels. Works on int8 codes in blocks; a
region's code norms are computed once and kept (:class:`SimilarityIndex`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.int8 import BLOCK, CodeProduct, code_squares
from tessera_core._utils.threads import run_blocks
from tessera_core.errors import Cancelled, RasterError
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Cancel

Metric = Literal["cosine", "euclidean"]
PER_MILLE = 1000
PERCENT = 100
# Between two heaps of scores lies a valley where its pixels are at most this share of the lower heap's peak.
VALLEY = 0.5
NO_SCORE = np.uint16(65535)


@dataclass(frozen=True)
class Similarity:
    """Scores of a raster.

    Attributes:
        scores: uint16 (H, W), 0..1000 per mille; 65535 where there is no data. Cosine: ``max(cos, 0)``. Euclidean:
            ``1 - distance / (|pixel| + |seed|)``, which is 1 for equal and 0 for opposite vectors.
        histogram: int64 (101,), pixels per whole percent (0..100).
    """

    scores: NDArray[np.uint16]
    histogram: NDArray[np.int64]

    def above(self, percent: float) -> NDArray[np.bool_]:
        """bool (H, W): pixels at least ``percent`` alike; a look-up, nothing is computed anew."""
        return (self.scores >= round(percent * 10)) & (self.scores != NO_SCORE)

    def count(self, percent: int) -> int:
        """Pixels at least a whole ``percent`` alike."""
        return int(self.histogram[percent:].sum())

    def default_percent(self) -> float:
        """A starting threshold: between what is alike and the rest.

        The level that best splits the scores in two (Otsu 1979). Where no valley lies there, the region has one heap of
        pixels that are no more alike than any other, and the alike are its tail: then what lies above is split again.
        """
        counts = self.histogram.astype(np.float64)
        level = _split(counts)
        smooth = np.convolve(counts, np.ones(3) / 3, "same")
        lower_peak = min(smooth[:level].max(), smooth[level:].max(initial=0))
        if level < PERCENT and smooth[level] > VALLEY * lower_peak:
            level = _split(np.where(np.arange(len(counts)) < level, 0, counts))
        return float(level)


def _split(counts: NDArray[np.float64]) -> int:
    """The first level, 1..100, of the upper of two parts with the most variance between them (Otsu 1979)."""
    levels = np.arange(len(counts))
    below, above = np.cumsum(counts), counts.sum() - np.cumsum(counts)
    total = (counts * levels).sum()
    mass = np.cumsum(counts * levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (total - mass) / above) ** 2
    return min(int(np.nan_to_num(between, nan=-1.0).argmax()) + 1, PERCENT)


class SimilarityIndex:
    """Answers likeness queries on one raster.

    Args:
        raster: the embeddings; only a float32 norm per pixel is kept in memory beside them.
        cancelled: asked while the norms are computed.
    """

    def __init__(self, raster: EmbeddingRaster, cancelled: Cancel | None = None) -> None:
        self.raster = raster
        self._codes = raster.codes.reshape(-1, raster.dim)
        self._scales = np.ascontiguousarray(raster.scales).reshape(-1)
        self._valid = valid_scales(self._scales)
        self._norms = code_norms(self._codes, cancelled)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds beside the raster."""
        return self._norms.nbytes + self._scales.nbytes + self._valid.nbytes

    def nearest(self, vector: NDArray[np.floating], count: int, spacing: int = 8) -> list[tuple[int, int, float]]:
        """The places most alike a vector (by cosine), as ``(row, col, similarity 0..1)``, the best first.

        Args:
            count: how many at most.
            spacing: pixels between any two of them at least, so that they are not all one neighbourhood.

        Raises:
            RasterError: the vector has no data or another dimension.
        """
        scores = self.query(vector).scores
        flat = np.where(scores == NO_SCORE, 0, scores).ravel()
        found: list[tuple[int, int, float]] = []
        # A place takes at most a square of this many pixels out of the running.
        pool = min(len(flat), count * (2 * spacing + 1) ** 2)
        best = np.argpartition(-flat.astype(np.int32), pool - 1)[:pool]
        for pixel in best[np.argsort(-flat[best].astype(np.int32), kind="stable")].tolist():
            row, col = divmod(pixel, self.raster.grid.width)
            if flat[pixel] and all(max(abs(row - r), abs(col - c)) >= spacing for r, c, _ in found):
                found.append((row, col, flat[pixel] / PER_MILLE))
                if len(found) == count:
                    break
        return found

    def query(
        self,
        positive: NDArray[np.floating],
        negative: NDArray[np.floating] | None = None,
        metric: Metric = "cosine",
        cancelled: Cancel | None = None,
    ) -> Similarity:
        """Likeness to the nearest of several positive seeds; pixels nearer to a negative seed score 0.

        Args:
            positive: float (n, D) or (D,) embeddings, n >= 1.
            negative: float (m, D) or None.
            metric: see :class:`Similarity`.

        Raises:
            RasterError: no seed, a seed without data, or seeds of another dimension.
            Cancelled: the user stopped.
        """
        seeds = _seeds(positive, self.raster.dim, "positive")
        if not len(seeds):
            raise RasterError("Choose at least one place that is an example of what you look for.")
        wanted = len(seeds)
        if negative is not None and len(negative):
            seeds = np.concatenate([seeds, _seeds(negative, self.raster.dim, "negative")])
        lengths = np.linalg.norm(seeds, axis=1)
        units = seeds / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
        product = CodeProduct(units.T.astype(np.float32))
        scores = np.empty(len(self._codes), np.uint16)
        codes, norms = self._codes, self._norms
        scales = np.where(self._valid, self._scales, np.float32(0))
        seed_norms = lengths.astype(np.float32)[:, None]

        def score(part: slice) -> None:
            if cancelled is not None and cancelled():
                raise Cancelled
            cosine = product(codes[part])
            cosine /= norms[part]
            if metric == "euclidean":
                size = norms[part] * scales[part]
                squares = size**2 + seed_norms**2 - 2 * cosine * size * seed_norms
                distance = np.sqrt(np.maximum(squares, 0, out=squares), out=squares)
                likeness = 1 - distance / (size + seed_norms)
            else:
                likeness = cosine
            best = likeness[:wanted].max(axis=0)
            if wanted < len(seeds):
                best[likeness[wanted:].max(axis=0) > best] = 0
            scores[part] = np.rint(np.clip(best, 0, 1, out=best) * np.float32(PER_MILLE))

        run_blocks(score, len(codes), BLOCK)
        scores[~self._valid] = NO_SCORE
        histogram = np.bincount(scores, minlength=65536)[: PER_MILLE + 1]
        percent = np.add.reduceat(histogram, np.arange(0, PER_MILLE + 1, 10))
        return Similarity(scores.reshape(self.raster.shape), percent)


def code_norms(codes: NDArray[np.int8], cancelled: Cancel | None = None) -> NDArray[np.float32]:
    """Euclidean norms float32 (N,) of int8 codes (N, D); at least tiny, so that a division is safe."""
    norms = np.empty(len(codes), np.float32)

    def measure(part: slice) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled
        np.sqrt(code_squares(codes[part]), out=norms[part])

    run_blocks(measure, len(codes), BLOCK)
    return np.maximum(norms, np.float32(1e-20))


def _seeds(values: NDArray[np.floating], dim: int, kind: str) -> NDArray[np.float32]:
    seeds = np.atleast_2d(np.asarray(values, np.float32))
    if seeds.shape[1] != dim:
        raise RasterError(f"The {kind} examples have {seeds.shape[1]} dimensions but this region has {dim}.")
    if not np.isfinite(seeds).all():
        raise RasterError(f"One of the {kind} examples lies where there is no data; choose another place.")
    return seeds
