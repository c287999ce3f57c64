"""What a comparison could have found: ground of another kind is planted into the later year, and looked for.

"Nothing has changed" and "nothing could be found here" look alike on a map. So small squares of the later year are replaced by
squares of other ground from the same year, the years are compared as before, and the share of the planted ground that is called
changed is the power for changes of that size (a spike-in, as in the calibration of other measurements).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.analysis.change.judge import judge_differences
from tessera_core.analysis.change.layer import MIN_PIXELS, ChangeLayer, SceneShift
from tessera_core.analysis.change.levels import count_levels
from tessera_core.analysis.change.measure import measure_differences
from tessera_core.analysis.change.scene import fit_scene
from tessera_core.analysis.clusters import cluster_sample
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel

SIDE_PX = 5
"""Rows and columns of a planted square."""
SHARE = 0.02
"""Of the ground that is planted: too little to move what unchanged ground does."""
MOST_PX = 512
"""Rows and columns that are looked at, in the middle of a larger region."""
KINDS, SAMPLE = 8, 4000
LEAST_SQUARES = 8


@dataclass(frozen=True)
class ChangePower:
    """How much of planted change was found.

    Attributes:
        found: share of the planted pixels, 0..1, by rate of false alarms that is accepted.
        pixels: planted.
        side: rows and columns of each square.
    """

    found: dict[float, float]
    pixels: int
    side: int

    def at(self, rate: float) -> float:
        """The share found at the nearest rate that was tried."""
        return self.found[min(self.found, key=lambda one: abs(one - rate))]

    def sentence(self, rate: float) -> str:
        """For people."""
        share = self.at(rate)
        if share < 0.005:
            return (
                f"Of ground that turns into another kind, in squares of {self.side} x {self.side} pixels, nothing would be found "
                "here: that nothing is called changed says nothing about these two years."
            )
        return (
            f"Of ground that turns into another kind, in squares of {self.side} x {self.side} pixels, about {percent(share)} % "
            "would be found here."
        )


def change_power(
    first: EmbeddingRaster,
    second: EmbeddingRaster,
    rates: tuple[float, ...] = (0.05,),
    *,
    seed: int = 0,
    cancelled: Cancel | None = None,
) -> ChangePower | None:
    """Plant change into the later of two years and look for it.

    Args:
        first, second: as for :func:`~tessera_core.analysis.change.detect_change`; of a larger region the middle is taken.
        rates: of false alarms that are accepted.
        seed: of places and kinds.

    Returns:
        None where the region is too small, or of one kind of ground.

    Raises:
        RasterError: as for ``detect_change``.
        Cancelled: ``cancelled`` said so.
    """
    first, second = _middle(first), _middle(second)
    both = first.valid() & second.valid()
    if int(both.sum()) < MIN_PIXELS:
        return None
    rng = np.random.default_rng(seed)
    planted, where = _planted(first, second, both, rng)
    if planted is None:
        return None
    scene = fit_scene(first, planted, None, seed)
    judged = judge_differences(measure_differences(first, planted, scene, None, cancelled), len(scene.centres))
    histogram = count_levels(judged.levels)
    layer = ChangeLayer(
        judged.levels, histogram, judged.null, SceneShift(0, 0, 0), (None, None), judged.raised, judged.borders
    )
    return ChangePower({rate: float(layer.mask(rate)[where].mean()) for rate in rates}, int(where.sum()), SIDE_PX)


def _middle(raster: EmbeddingRaster) -> EmbeddingRaster:
    height, width = raster.shape
    if max(height, width) <= MOST_PX:
        return raster
    top, left = max(height - MOST_PX, 0) // 2, max(width - MOST_PX, 0) // 2
    rows, cols = slice(top, top + min(height, MOST_PX)), slice(left, left + min(width, MOST_PX))
    grid = raster.grid.window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
    return replace(raster, codes=raster.codes[rows, cols], scales=raster.scales[rows, cols], grid=grid)


def _planted(
    first: EmbeddingRaster, raster: EmbeddingRaster, both: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[EmbeddingRaster | None, NDArray[np.bool_]]:
    """The later raster with squares of other ground in it, and where; None where no two kinds of ground are found."""
    where = np.zeros(raster.shape, bool)
    centres = _centres(raster, both, rng)
    kinds, before = _kinds(raster, centres), _kinds(first, centres)
    step = SIDE_PX + 2
    corners = [
        (row, col)
        for row in range(1, raster.shape[0] - SIDE_PX, step)
        for col in range(1, raster.shape[1] - SIDE_PX, step)
        if both[row : row + SIDE_PX, col : col + SIDE_PX].all()
    ]
    # A square is of the kind of its middle.
    half = SIDE_PX // 2
    of = np.array([kinds[row + half, col + half] for row, col in corners])
    was = np.array([before[row + half, col + half] for row, col in corners])
    number = max(round(SHARE * both.sum() / SIDE_PX**2), LEAST_SQUARES)
    if len(corners) < 4 * LEAST_SQUARES or len(np.unique(of)) < 2:
        return None, where
    codes, scales = np.array(raster.codes), np.array(raster.scales)
    for at in rng.permutation(len(corners))[:number]:
        # Ground that has changed is not changed back.
        others = np.flatnonzero((of != of[at]) & (of != was[at]))
        if not len(others):
            continue
        source = int(rng.choice(others))
        (row, col), (top, left) = corners[at], corners[source]
        here = (slice(row, row + SIDE_PX), slice(col, col + SIDE_PX))
        there = (slice(top, top + SIDE_PX), slice(left, left + SIDE_PX))
        codes[here], scales[here] = raster.codes[there], raster.scales[there]
        where[here] = True
    return (replace(raster, codes=codes, scales=scales) if where.any() else None), where


def _centres(raster: EmbeddingRaster, both: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Kinds of ground, float32 (KINDS, D)."""
    pixels = np.flatnonzero(both)
    drawn = rng.choice(pixels, min(SAMPLE, len(pixels)), replace=False)
    rows, cols = np.divmod(drawn, raster.shape[1])
    return cluster_sample(raster.sample(rows, cols), KINDS, int(rng.integers(1 << 31)), restarts=1)


def _kinds(raster: EmbeddingRaster, centres: NDArray[np.float32]) -> NDArray[np.intp]:
    """The nearest kind of each pixel, int (H, W)."""
    kinds = np.zeros(raster.shape, np.intp)
    squares = np.square(centres).sum(1)
    for rows, values in raster.blocks():
        kinds[rows] = (squares - 2 * np.nan_to_num(values) @ centres.T).argmin(-1)
    return kinds
