"""Cleaner maps: single odd pixels removed by majority, by a smallest patch, or by a Markov random field.

Takes a class map and gives one; pixels without data stay without and have no say. Whether it made the map better is
measured in :mod:`tessera_core.assess.postprocess`, because a smooth map only looks better by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.analysis.active_learning import Predicts
from tessera_core.areas import hectares_per_pixel
from tessera_core.errors import Cancelled, Hint, LabelError, RasterError
from tessera_core.grid import Grid
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Bytes, Cancel, Progress

METHODS = ("majority", "sieve", "potts")

NO_CLASS = 0
BETA = 1.0
ROUNDS = 4
# float32 embeddings of one strip of the random field, without its margins.
STRIP_BYTES = 32 << 20
# Less than any probability that a head can mean.
LEAST = 1e-4


@dataclass(frozen=True)
class PostProcessing:
    """One way to clean a map, as a project keeps it.

    Attributes:
        method: ``"majority"``, ``"sieve"`` or ``"potts"``.
        size: side of the majority window in pixels.
        hectares: smallest patch that the sieve leaves.
        beta: weight of a neighbour in the random field.
    """

    method: str
    size: int = 3
    hectares: float = 0.1
    beta: float = BETA

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise LabelError(f"There is no way of cleaning {self.method!r}; there are {', '.join(METHODS)}.")

    def to_json(self) -> dict[str, Any]:
        """For a project's settings."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PostProcessing:
        """The inverse of :meth:`to_json`.

        Raises:
            LabelError: a field is missing or wrong.
        """
        try:
            return cls(str(value["method"]), int(value["size"]), float(value["hectares"]), float(value["beta"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LabelError(
                "How the map is to be cleaned is not readable; choose it again.", hint=Hint.LABELS
            ) from error

    def __call__(
        self, classes: Bytes, raster: EmbeddingRaster, head: Predicts, cancelled: Cancel | None = None
    ) -> Bytes:
        """The cleaned map.

        Args:
            classes: uint8 (H, W) of ``raster``.
            head: fitted; made the map.

        Raises:
            LabelError: the method cannot be applied, see :func:`majority` and :func:`sieve`.
            Cancelled: ``cancelled`` said so.
        """
        if self.method == "majority":
            return majority(classes, self.size)
        if self.method == "sieve":
            return sieve(classes, self.hectares, raster.grid)
        return potts(raster, head, self.beta, cancelled=cancelled)


def majority(classes: Bytes, size: int = 3) -> Bytes:
    """Each pixel becomes the class most frequent in its ``size`` x ``size`` window; ties keep what was there.

    Args:
        classes: uint8 (H, W).
        size: odd, 3 or more.

    Raises:
        LabelError: the size is even or too small.
    """
    if size < 3 or size % 2 == 0:
        raise LabelError(f"The window must be an odd number of pixels, 3 or more, not {size}.")
    half = size // 2
    best, votes = classes.copy(), np.zeros(classes.shape, np.int32)
    for k in np.unique(classes[classes != NO_CLASS]):
        here = classes == k
        # The pixel's own class counts half a vote more, so that it wins ties whatever the order of classes.
        count = 2 * _in_window(here, half) + here
        wins = (count > votes) & (classes != NO_CLASS)
        best[wins], votes[wins] = k, count[wins]
    return best


def _in_window(mask: NDArray[np.bool_], half: int) -> NDArray[np.int32]:
    """How many pixels of ``mask`` lie in the window around each pixel."""
    from scipy import ndimage

    count = mask.astype(np.int32)
    for axis in (0, 1):
        count = ndimage.convolve1d(count, np.ones(2 * half + 1, np.int32), axis=axis, mode="constant")
    return count


def pixels_of(hectares: float, grid: Grid) -> int:
    """The fewest pixels whose area is at least ``hectares`` (the minimum mapping unit).

    Raises:
        LabelError: the area is negative, or the grid has no size on the ground.
    """
    hectare = hectares_per_pixel(grid)
    if not np.isfinite(hectare):
        raise LabelError(
            "These embeddings have no place on Earth, so a minimum mapping unit in hectares means nothing."
        )
    if not (np.isfinite(hectares) and hectares >= 0):
        raise LabelError(f"The minimum mapping unit must be an area in hectares, not {hectares!r}.")
    return max(1, math.ceil(hectares / hectare - 1e-9))


def sieve(classes: Bytes, hectares: float, grid: Grid) -> Bytes:
    """Patches smaller than ``hectares`` are given to their largest neighbour (GDAL's sieve filter, 4 neighbours).

    Args:
        classes: uint8 (H, W) on ``grid``.

    Raises:
        LabelError: see :func:`pixels_of`.
    """
    from rasterio.features import sieve as gdal_sieve

    size = pixels_of(hectares, grid)
    valid = classes != NO_CLASS
    if size < 2 or not valid.any():
        return classes.copy()
    smoothed = gdal_sieve(classes, size=size, connectivity=4, mask=valid)
    return np.where(valid, smoothed, NO_CLASS).astype(np.uint8)


def potts(
    raster: EmbeddingRaster,
    head: Predicts,
    beta: float = BETA,
    rounds: int = ROUNDS,
    cancelled: Cancel | None = None,
    progress: Progress | None = None,
) -> Bytes:
    """The map under a Potts random field: a pixel unlike its 4 neighbours must have the stronger evidence.

    Each pixel takes the class with the largest ``log p + beta * (neighbours of that class)``, by iterated conditional modes
    (Besag, J. R. Stat. Soc. B 48, 1986) on alternate squares of a chequer-board. Strips overlap by as far as a change can
    travel, so that they meet without seams and nothing larger than a strip is held.

    Args:
        raster: the embeddings.
        head: fitted.
        beta: how much a neighbour weighs, 0 for none; 1 makes one neighbour worth evidence of 2.7 to 1.
        rounds: sweeps.
        cancelled, progress: see docs/architecture.md; units are rows.

    Returns:
        uint8 (H, W), 0 where there is no data.

    Raises:
        RasterError: beta or rounds are negative.
        Cancelled: ``cancelled`` said so.
    """
    if not (np.isfinite(beta) and beta >= 0 and rounds >= 0):
        raise RasterError("The strength and the rounds of smoothing must not be negative.")
    height, width = raster.shape
    out = np.zeros((height, width), np.uint8)
    margin = 2 * rounds
    for rows in raster.row_slices(STRIP_BYTES):
        if cancelled is not None and cancelled():
            raise Cancelled
        top, bottom = max(rows.start - margin, 0), min(rows.stop + margin, height)
        evidence, valid = _evidence(raster, head, slice(top, bottom))
        state = _icm(evidence, valid, beta, rounds, parity=top % 2)
        inside = slice(rows.start - top, rows.stop - top)
        out[rows] = np.where(valid[inside], head.classes_.astype(np.uint8)[state[inside]], NO_CLASS)
        if progress is not None:
            progress(rows.stop, height, "smoothing")
    return out


def _evidence(raster: EmbeddingRaster, head: Predicts, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Log-probabilities float32 (K, h, W) and where there is data."""
    valid = raster.valid(rows)
    evidence = np.zeros((len(head.classes_), *valid.shape), np.float32)
    r, c = np.nonzero(valid)
    if len(r):
        proba = head.proba_at(raster, r + rows.start, c)
        evidence[:, r, c] = np.log(np.maximum(proba, LEAST)).T
    return evidence, valid


def _icm(
    evidence: NDArray[np.float32], valid: NDArray[np.bool_], beta: float, rounds: int, parity: int
) -> NDArray[np.intp]:
    state = evidence.argmax(axis=0)
    k, height, width = evidence.shape
    board = (np.add.outer(np.arange(height) + parity, np.arange(width)) % 2).astype(bool)
    for _ in range(rounds):
        changed = False
        for colour in (board, ~board):
            support = evidence.copy()
            for i in range(k):
                here = ((state == i) & valid).astype(np.float32) * np.float32(beta)
                support[i, 1:] += here[:-1]
                support[i, :-1] += here[1:]
                support[i, :, 1:] += here[:, :-1]
                support[i, :, :-1] += here[:, 1:]
            wanted = np.where(colour, support.argmax(axis=0), state)
            changed |= bool((wanted != state).any())
            state = wanted
        if not changed:
            break
    return state
