"""The model of a scene: a frame of few components, what the whole scene did between the years, and kinds of ground.

Fitted to a seeded sample; the pass over both rasters (:mod:`.measure`) then applies it to every pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.threads import run_alone
from tessera_core.analysis.change.layer import MIN_PIXELS, SceneShift
from tessera_core.analysis.change.levels import coarse, first_peak, to_levels
from tessera_core.analysis.clusters import cluster_sample
from tessera_core.errors import RasterError
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Bools, Floats

COMPONENTS = 24
SAMPLE = 16_000
# Pixels of the sample that the groups of alike ground are found on.
GROUP_SAMPLE = 6_000
GROUPS = 16
FIT_ROUNDS = 6


@dataclass(frozen=True)
class ChangeScene:
    """Two projections into one frame, the noise there, and groups of alike ground.

    ``second @ to_second - first @ to_first - constant`` is the difference without the scene's shift.

    Attributes:
        to_first, to_second: float32 (D, r).
        constant: float32 (r,).
        noise: typical length of that difference on unchanged ground.
        shift: of the whole scene.
        centres: float32 (K, r), kinds of ground, as ``first @ to_first``.
    """

    to_first: NDArray[np.float32]
    to_second: NDArray[np.float32]
    constant: NDArray[np.float32]
    noise: float
    shift: SceneShift
    centres: NDArray[np.float32]


def fit_scene(
    first: EmbeddingRaster, second: EmbeddingRaster, stable: NDArray[np.bool_] | None, seed: int
) -> ChangeScene:
    """Fit the model to a sample of the pixels that have data in both years.

    Args:
        first, second: on one grid.
        stable: bool (H, W), places known to be unchanged; None finds them in turns.
        seed: of the sample.

    Raises:
        RasterError: too few pixels have data in both years, or one year is a copy of the other.
    """
    # Row by row: places of eight bytes a pixel would be more than all that is made of them.
    counts = np.array([int(_both(first, second, row).sum()) for row in range(first.shape[0])])
    total = int(counts.sum())
    if total < MIN_PIXELS:
        raise RasterError(
            f"Only {total} pixels have data in both years, too few to tell change from noise. Choose other years "
            "or a larger region."
        )
    if stable is not None and stable.shape != first.shape:
        raise RasterError(f"The marked areas are {stable.shape} pixels, the region is {first.shape}.")
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(total, SAMPLE, replace=False)) if total > SAMPLE else np.arange(total)
    ends = np.cumsum(counts)
    rows = np.searchsorted(ends, drawn, side="right")
    edges = np.searchsorted(rows, np.arange(first.shape[0] + 1))
    cols = np.empty_like(rows)
    for row in np.flatnonzero(np.diff(edges)):
        mine = slice(edges[row], edges[row + 1])
        cols[mine] = np.flatnonzero(_both(first, second, int(row)))[drawn[mine] - (ends[row] - counts[row])]
    known = None if stable is None else stable[rows, cols]
    if known is not None and int(known.sum()) < MIN_PIXELS:
        known = None
    x, y = first.sample(rows, cols), second.sample(rows, cols)
    return fit_scene_on(x, y, seed, known)


def _both(first: EmbeddingRaster, second: EmbeddingRaster, row: int) -> Bools:
    """Which pixels of a row have data in both years, bool (W,)."""
    return valid_scales(first.scales[row]) & valid_scales(second.scales[row])


def fit_scene_on(x: Floats, y: Floats, seed: int, known: NDArray[np.bool_] | None = None) -> ChangeScene:
    """Fit the model to pixels drawn beforehand.

    Args:
        x, y: float32 (n, D), the same places in the earlier and the later year.
        seed: of the kinds of ground.
        known: bool (n,), places known to be unchanged; None finds them in turns.

    Raises:
        RasterError: they are too few, or one year is a copy of the other.
    """
    if len(x) < MIN_PIXELS:
        raise RasterError(
            f"Only {len(x)} pixels have data in both years, too few to tell change from noise. Choose other years "
            "or a larger region."
        )
    # Small matrices: one thread is quicker than several that wait for each other.
    return run_alone(lambda: _fit_sample(x, y, known, seed))


def _fit_sample(x: Floats, y: Floats, known: NDArray[np.bool_] | None, seed: int) -> ChangeScene:
    mean = (x.mean(0) + y.mean(0)) / 2
    gram = (x - mean).T @ (x - mean) + (y - mean).T @ (y - mean)
    _, vectors = np.linalg.eigh(gram.astype(np.float64))
    basis = np.ascontiguousarray(vectors[:, ::-1][:, : min(COMPONENTS, x.shape[1])], np.float32)
    a, b = (x - mean) @ basis, (y - mean) @ basis
    slope, intercept, core, noise = _robust_shift(a, b, known)
    moved = a + a @ slope + intercept
    before = _lower_median(np.linalg.norm(b[core] - a[core], axis=1))
    after = _lower_median(np.linalg.norm(b[core] - moved[core], axis=1))
    length = float(np.linalg.norm((moved - a)[core].mean(0)))
    shift = SceneShift(before, after, length / max(after, 1e-12))
    # b - moved, written for embeddings: y @ basis - x @ basis (1 + slope) - [mean @ basis - mean @ basis (1 + slope) + i].
    to_first = basis + basis @ slope
    constant = mean @ basis - mean @ to_first + intercept
    groups = min(GROUPS, max(2, len(x) // MIN_PIXELS))
    # Groups live in the frame of the second year, without the constant, as the pass computes them.
    every = max(1, len(x) // GROUP_SAMPLE)
    centres = cluster_sample(x[::every] @ to_first, groups, seed, restarts=1)
    return ChangeScene(to_first, basis, np.asarray(constant, np.float32), noise, shift, centres)


def _lower_median(values: NDArray[np.floating]) -> float:
    """The middle value, of an even number the lower of the two."""
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


def _robust_shift(
    a: NDArray[np.floating], b: NDArray[np.floating], known: NDArray[np.bool_] | None
) -> tuple[Floats, Floats, Bools, float]:
    """An affine map of what unchanged pixels did: slope (r, r), intercept (r,), which pixels it rests on, and their noise.

    The pixels are those known, or found in turns: the map is fitted to what fits the map.
    """
    difference = b - a
    distance = np.linalg.norm(difference, axis=1)
    if _lower_median(distance) <= 1e-6 * _lower_median(np.linalg.norm(a, axis=1)):
        raise RasterError(
            "The two years hold the same numbers nearly everywhere, so one is a copy of the other; load it again."
        )
    core = distance < _lower_median(distance) if known is None else known
    slope: NDArray[Any] = np.zeros((a.shape[1], a.shape[1]), np.float32)
    intercept: NDArray[Any] = np.zeros(a.shape[1], np.float32)
    noise = 0.0
    for _ in range(FIT_ROUNDS if known is None else 1):
        centre, goal = a[core].mean(0), difference[core].mean(0)
        z = a[core] - centre
        gram = (z.T @ z).astype(np.float64)
        # A little ridge: directions without variance must not be stretched.
        gram[np.diag_indices_from(gram)] += 1e-2 * np.trace(gram) / len(gram) + 1e-12
        slope = np.linalg.solve(gram, (z.T @ (difference[core] - goal)).astype(np.float64)).astype(np.float32)
        intercept = goal - centre @ slope
        distance = np.linalg.norm(difference - a @ slope - intercept, axis=1)
        values = distance if known is None else distance[core]
        middle, spread, _ = first_peak(coarse(to_levels(np.log(np.maximum(values, np.float32(1e-12))))))
        noise = math.exp(middle)
        if known is None:
            core, before = distance < math.exp(middle + 2 * spread), core
            if int((core != before).sum()) < 0.002 * len(core):
                break
    return slope, intercept, core, noise
